"""Resolved models on disk, found again by everything that went into them.

Comes in:  a LoadRequest; after a full load, its Entry.
Goes out:  the Entry of an earlier load whose files and variables are all as they were, or None.
Not here:  making one (``resolve``).

The file is named by the request (flags, directory); inside stand the SHA-256 of every file that was
read, the names of files that were looked for and not there, and a keyed hash of every variable that
was used. Values of secrets may be in the model: directory 0700, files 0600. A broken file is a miss.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from compose.load.request import LoadRequest, Reader, digest
from schemas.frozen import dataclass

VERSION = 1
# variables that steer discovery, whether a file mentions them or not
ALWAYS = (
    "COMPOSE_FILE", "COMPOSE_PATH_SEPARATOR", "COMPOSE_PROJECT_NAME", "COMPOSE_PROFILES",
    "COMPOSE_ENV_FILES", "COMPOSE_DISABLE_ENV_FILE", "HOME",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One resolved model and what it depends on; all of it JSON-able.

    order:     the start order, {} as long as nobody asked for it.
    files:     absolute path -> SHA-256, or None for a file that was missing.
    variables: name -> fingerprint of its value, or None when it was not set.
    """

    canonical: dict[str, Any]
    order: dict[str, Any]
    warnings: list[str]
    files: dict[str, str | None]
    variables: dict[str, str | None]


def directory(environment: Mapping[str, str]) -> Path:
    """Where models are cached: under PYCOMPOSE_DATA for root, else in the user's cache directory."""
    if data := environment.get("PYCOMPOSE_DATA"):
        return Path(data, "cache", "models")
    if os.geteuid() == 0:
        return Path("/var/lib/pycompose/cache/models")
    cache = environment.get("XDG_CACHE_HOME") or str(Path(environment.get("HOME") or "/", ".cache"))
    return Path(cache, "pycompose", "models")


def fingerprint(value: str | None) -> str | None:
    """A hash of a variable's value; None stays None."""
    return None if value is None else digest(b"variable\0" + os.fsencode(value))


def find(store: Path, request: LoadRequest, reader: Reader) -> Entry | None:
    """The cached result of ``request`` if nothing it depends on has changed."""
    try:
        content = json.loads((store / _name(request)).read_bytes())
        entry = Entry(**content["entry"])
        if content["version"] != VERSION or not _variables_hold(entry, request):
            return None
        return entry if all(_file_holds(p, known, reader) for p, known in entry.files.items()) else None
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def keep(store: Path, request: LoadRequest, entry: Entry) -> None:
    """Write ``entry`` for the next time; a directory that cannot be written is no error."""
    fields = vars(entry)
    text = json.dumps({"version": VERSION, "entry": fields})
    with contextlib.suppress(OSError):
        store.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = store / _name(request)
        temporary = path.with_suffix(f".{os.getpid()}")
        try:
            flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW
            with open(os.open(temporary, flags, 0o600), "w") as file:
                file.write(text)
            temporary.replace(path)
        except OSError:
            temporary.unlink(missing_ok=True)
            raise


def _name(request: LoadRequest) -> str:
    parts = [
        VERSION, _edition(), request.files, request.project_name, request.project_directory,
        request.env_files, request.profiles, request.cwd, sorted(request.services), request.omit,
    ]  # fmt: skip
    return digest(json.dumps(parts).encode("utf-8", "surrogatepass")) + ".json"


def _edition() -> int:
    """When the youngest source of the loader was installed: other code, other models."""
    with os.scandir(Path(__file__).parent) as sources:
        return max((one.stat().st_mtime_ns for one in sources if one.name.endswith(".py")), default=0)


def _variables_hold(entry: Entry, request: LoadRequest) -> bool:
    current = request.environment
    return all(fingerprint(current.get(name)) == known for name, known in entry.variables.items())


def _file_holds(path: str, known: str | None, reader: Reader) -> bool:
    if path == "-":
        return digest(reader.read("-", "<stdin>")) == known
    if known is None:
        return not reader.exists(path)
    return digest(Path(path).read_bytes()) == known
