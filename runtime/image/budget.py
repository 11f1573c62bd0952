"""How much disk caches may take, as the owner of this machine wants it.

Comes in:  the environment; the files that ``settings`` reads.
Goes out:  Budget, in bytes.
Not here:  making room (garbage, assemble.fetch).

    [cache]
    build = "20GB"          # steps of builds that no image needs any more; PYCOMPOSE_BUILD_CACHE
    packages = "1GB"        # Debian packages for assembled images; PYCOMPOSE_PACKAGE_CACHE
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from runtime.errors import ImageError
from runtime.image import settings
from schemas.frozen import dataclass

BUILD, PACKAGES = "PYCOMPOSE_BUILD_CACHE", "PYCOMPOSE_PACKAGE_CACHE"
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([kmgt]?)(i?b)?", re.I)
_POWER = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4}


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """Bytes. build: what only steps of builds keep alive. packages: downloaded packages."""

    build: int = 10 << 30
    packages: int = 1 << 30


def read(environment: Mapping[str, str]) -> Budget:
    """The files' table ``[cache]``, and over it the variables. Raises ImageError for what is no size."""
    found: dict[str, int] = {}
    for path in settings.files(environment):
        for name, value in _table(path).items():
            found[name] = size(str(value), f"{path}: cache.{name}")
    for name, variable in (("build", BUILD), ("packages", PACKAGES)):
        if environment.get(variable):
            found[name] = size(environment[variable], variable)
    usual = Budget()
    return Budget(build=found.get("build", usual.build), packages=found.get("packages", usual.packages))


def read_environment() -> Budget:
    """``read`` for the environment of this process."""
    return read(os.environ)


def size(text: str, where: str) -> int:
    """Bytes of ``10GB``, ``500m``, ``0``; units are powers of 1024. Raises ImageError naming ``where``."""
    match = _SIZE.fullmatch(text.strip())
    if not match:
        raise ImageError(f"{where}: '{text}' is no size", hint="such as 500MB or 20GB")
    return int(float(match[1]) * 1024 ** _POWER[match[2].lower()])


def _table(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    import tomllib

    try:
        value = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeError, tomllib.TOMLDecodeError) as error:
        raise ImageError(f"{path} cannot be read: {error}") from error
    table = value.get("cache", {})
    known = table.keys() <= {"build", "packages"} if isinstance(table, dict) else False
    if not known:
        raise ImageError(f"{path}: [cache] has the keys build and packages")
    return dict(table)
