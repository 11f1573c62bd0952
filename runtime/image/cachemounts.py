"""The directories of ``RUN --mount=type=cache``: how much they take and when they were used last.

Comes in:  the store, in whose ``cache`` they lie, one directory each.
Goes out:  sizes by last use, for the budget of the build cache.
Not here:  making and mounting them (runtime.build.mounts), removing them (garbage, while no build runs).

When a cache was used is the time of a file beside it, since its own times are the program's to see. A size
is taken again only after a use, since a cache may hold ten thousands of files.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from schemas.frozen import dataclass


@dataclass(frozen=True, slots=True)
class CacheMount:
    """One directory. used: seconds since the epoch; size: bytes on disk."""

    path: Path
    used: float
    size: int


def note_use(home: Path) -> None:
    """A build uses the cache ``home`` now."""
    with suppress(OSError):
        _mark(home).touch()


def _mark(home: Path) -> Path:
    return home.with_name(f"{home.name}.used")


def _used(home: Path) -> float:
    try:
        return _mark(home).stat().st_mtime
    except FileNotFoundError:
        return home.stat().st_mtime


def every(root: Path) -> list[CacheMount]:
    """The caches below ``root``, the store's ``cache``. Remembers sizes there, if it may write."""
    from runtime.inside.walk import usage  # brings ctypes, which most commands do without

    known, found, fresh = _read(root), [], {}
    for home in _homes(root):
        with suppress(FileNotFoundError):
            used = _used(home)
            measured, size = known.get(home.name, (0.0, 0))
            if measured <= used:
                measured, size = time.time(), usage(home)
            fresh[home.name] = (measured, size)
            found.append(CacheMount(home, used, size))
    if fresh != known:
        _write(root, fresh)
    return found


def _homes(root: Path) -> Iterator[Path]:
    with suppress(FileNotFoundError):
        yield from (path for path in root.iterdir() if path.is_dir())


def _read(root: Path) -> dict[str, tuple[float, int]]:
    try:
        value = json.loads((root / "sizes.json").read_bytes())
        return {str(name): (float(at), int(size)) for name, (at, size) in value.items()}
    except (OSError, ValueError, AttributeError, TypeError):
        return {}  # not there, or damaged: measured again


def _write(root: Path, sizes: dict[str, tuple[float, int]]) -> None:
    with suppress(OSError):  # a full disk, or somebody who may only read: measured again next time
        part = root / f".sizes.{os.getpid()}"
        part.write_text(json.dumps(sizes))
        part.rename(root / "sizes.json")
