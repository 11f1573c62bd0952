"""What a container would see in a stack of layers, without mounting anything.

Comes in:  directories in overlayfs form, lowest first, and a path.
Goes out:  where that path really lies, symbolic links followed inside the stack.
Not here:  mounting (runtime.rootfs). Source: kernel overlayfs.rst, sections Directories, whiteouts and
           opaque directories.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path

from runtime.errors import ImageError
from runtime.image.layer import is_opaque
from schemas.frozen import dataclass

_LINKS = 40


@dataclass(frozen=True, slots=True)
class Found:
    """One file.

    path: as the container resolves it ("/usr/bin/x"). places: where it lies on the host, several for a merged
    directory, the uppermost first. info: lstat of the uppermost.
    """

    path: str
    places: tuple[Path, ...]
    info: os.stat_result

    @property
    def host(self) -> Path:
        """The uppermost place."""
        return self.places[0]

    def is_dir(self) -> bool:
        """Whether it is a directory."""
        return stat.S_ISDIR(self.info.st_mode)


class View:
    """A merged look at ``layers``."""

    def __init__(self, layers: Sequence[Path]) -> None:
        self._roots = tuple(reversed(layers))

    def find(self, path: str, *, follow: bool = True) -> Found | None:
        """The file at ``path``; None when there is none. follow: also the last component if it is a link.

        Raises ImageError when links go in a circle.
        """
        return self._walk(path, follow)[0]

    def resolve(self, path: str) -> str:
        """``path`` with every link in its existing part followed; what does not exist stays as it is."""
        found, rest = self._walk(path, True)
        base = found.path if found else rest[0]
        return base if found else "/" + "/".join(part for part in (*base.split("/"), *rest[1:]) if part)

    def entries(self, directory: Found) -> Iterator[tuple[str, Found]]:
        """What is in a directory, sorted by name."""
        seen: set[str] = set()
        for place in directory.places:
            seen.update(item.name for item in place.iterdir())
        for name in sorted(seen):
            found = _child(directory, name)
            if found is not None:
                yield name, found

    def _root(self) -> Found:
        if not self._roots:
            raise ImageError("an image without layers has no files")
        return Found("/", self._roots, os.lstat(self._roots[0]))

    def _walk(self, path: str, follow: bool) -> tuple[Found | None, tuple[str, ...]]:
        """The file, or None with (the last directory that exists, the components behind it)."""
        parts = [part for part in path.split("/") if part not in ("", ".")]
        if not self._roots:
            return None, ("/", *parts)
        trail, links = [self._root()], 0
        while parts:
            name = parts.pop(0)
            if name == "..":
                trail = trail[:-1] or trail
                continue
            found = _child(trail[-1], name) if trail[-1].is_dir() else None
            if found is None:
                return None, (trail[-1].path, name, *parts)
            if stat.S_ISLNK(found.info.st_mode) and (parts or follow):
                links += 1
                if links > _LINKS:
                    raise ImageError(f"symbolic links in a circle at '{path}'")
                target = os.fspath(found.host.readlink())
                parts = [part for part in target.split("/") if part not in ("", ".")] + parts
                trail = trail[:1] if target.startswith("/") else trail
                continue
            trail.append(found)
        return trail[-1], ()


def _child(directory: Found, name: str) -> Found | None:
    places: list[Path] = []
    first: os.stat_result | None = None
    for place in directory.places:
        path = place / name
        try:
            info = os.lstat(path)
        except (FileNotFoundError, NotADirectoryError):
            continue
        if stat.S_ISCHR(info.st_mode) and info.st_rdev == 0:
            break
        if not stat.S_ISDIR(info.st_mode):
            if first is None:
                first = info
                places.append(path)
            break
        first = first or info
        places.append(path)
        if is_opaque(path):
            break
    if first is None:
        return None
    return Found(directory.path.rstrip("/") + "/" + name, tuple(places), first)
