"""The files of an image archive by name, wherever the archive lies; nothing of it is ever written under its
own name.

Comes in:  a directory, a tar file, or a stream (plain or compressed) that is read once.
Goes out:  Members: the size and the content of each name.
Not here:  what the names mean (archive).

A plain tar file is read where it lies, by the offsets of its members; anything else becomes one first.
"""

from __future__ import annotations

import io
import os
import posixpath
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Protocol

from runtime.errors import ImageError
from runtime.image import tar
from runtime.image.compress import CHUNK, is_compressed, limited
from runtime.image.errors import InvalidImage
from runtime.image.view import View

_MEMBERS = 100_000
_LINKS = 10
_SMALL = 8 << 20


class Members(Protocol):
    """An archive. Names are relative, without a slash in front. Both raise InvalidImage for a missing one."""

    def size(self, name: str) -> int:
        """Bytes of the file ``name``."""

    def chunks(self, name: str) -> Iterator[bytes]:
        """Its content."""

    def has(self, name: str) -> bool:
        """Whether there is such a regular file."""


def small(members: Members, name: str) -> bytes:
    """A document of the archive. Raises InvalidImage for one of more than 8 MiB."""
    if members.size(name) > _SMALL:
        raise InvalidImage(f"'{name}' in the archive has {members.size(name)} bytes, which is too much")
    return b"".join(members.chunks(name))


@contextmanager
def opened(source: Path | BinaryIO, work: Path) -> Iterator[Members]:
    """The archive at ``source``. work: a directory of one's own for what cannot be read where it lies.

    Raises ImageError, InvalidImage (damaged, or a bomb), OSError.
    """
    if isinstance(source, Path):
        if not source.exists():
            raise ImageError(f"there is no archive {source}")
        if source.is_dir():
            yield InDirectory(source)
            return
        with source.open("rb") as stream, _plain(stream, work) as plain:
            yield InTar(plain)
    else:
        with _plain(source, work) as plain:
            yield InTar(plain)


@contextmanager
def _plain(stream: BinaryIO, work: Path) -> Iterator[BinaryIO]:
    """``stream`` itself when it is a plain tar file, else a plain copy of it, which has no name any more."""
    first = stream.read(tar.BLOCK)
    if _is_file(stream, len(first)) and not is_compressed(first):
        stream.seek(0)
        yield stream
        return
    path = work / "archive.tar"
    with path.open("w+b") as copy:
        path.unlink()
        for chunk in limited(_behind(first, stream)):
            copy.write(chunk)
        copy.seek(0)
        yield copy


def _is_file(stream: BinaryIO, position: int) -> bool:
    """Whether it is a regular file, read from its beginning."""
    try:
        return stat.S_ISREG(os.fstat(stream.fileno()).st_mode) and stream.tell() == position
    except (OSError, io.UnsupportedOperation):
        return False


def _behind(first: bytes, stream: BinaryIO) -> Iterator[bytes]:
    yield first
    yield from iter(lambda: stream.read(CHUNK), b"")


class InTar:
    """A plain tar file that can be sought in."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._places: dict[str, tuple[int, int]] = {}
        self._links: dict[str, str] = {}
        self._scan()

    def _scan(self) -> None:
        """Note where every member lies. Only headers are read."""
        file, end = self._file, self._file.seek(0, os.SEEK_END)
        file.seek(0)

        def jump(count: int) -> None:
            if file.seek(count, os.SEEK_CUR) > end:
                raise InvalidImage("the tar archive ends too early")

        reader = tar.Reader(iter(lambda: file.read(16 * tar.BLOCK), b""), jump=jump)
        for entry in reader:
            name = _name(entry.name)
            if entry.type == tar.FILE and not entry.pieces:
                self._places[name] = (file.tell() - reader.ahead, entry.size)
                self._links.pop(name, None)
            elif entry.type == tar.SYMLINK:
                self._links[name] = posixpath.join(posixpath.dirname(name), os.fsdecode(entry.link))
            elif entry.type == tar.HARDLINK:
                self._links[name] = os.fsdecode(entry.link)
            if len(self._places) + len(self._links) > _MEMBERS:
                raise InvalidImage(f"the archive has more than {_MEMBERS} members")

    def _find(self, name: str) -> tuple[int, int] | None:
        for _ in range(_LINKS):
            if name not in self._links:
                return self._places.get(name)
            name = _name(os.fsencode(self._links[name]))
        return None

    def has(self, name: str) -> bool:
        """See Members."""
        return self._find(name) is not None

    def size(self, name: str) -> int:
        """See Members."""
        return _present(self._find(name), name)[1]

    def chunks(self, name: str) -> Iterator[bytes]:
        """See Members."""
        at, left = _present(self._find(name), name)
        while left:
            self._file.seek(at)
            chunk = self._file.read(min(CHUNK, left))
            if not chunk:
                raise InvalidImage("the tar archive ends too early")
            at, left = at + len(chunk), left - len(chunk)
            yield chunk


def _name(raw: bytes) -> str:
    """A member's name from the root of the archive; what leads out of it is a name like any other, and never
    opened."""
    return posixpath.normpath("/" + os.fsdecode(raw)).lstrip("/")


def _present(found: tuple[int, int] | None, name: str) -> tuple[int, int]:
    if found is None:
        raise InvalidImage(f"the archive lacks '{name}'")
    return found


class InDirectory:
    """A directory; no name and no link in it leads out."""

    def __init__(self, home: Path) -> None:
        self._view = View([home])

    def _find(self, name: str) -> Path | None:
        found = self._view.find("/" + name)
        return found.host if found and stat.S_ISREG(found.info.st_mode) else None

    def has(self, name: str) -> bool:
        """See Members."""
        return self._find(name) is not None

    def size(self, name: str) -> int:
        """See Members."""
        return self._file(name).stat().st_size

    def chunks(self, name: str) -> Iterator[bytes]:
        """See Members."""
        with self._file(name).open("rb") as file:
            yield from iter(lambda: file.read(CHUNK), b"")

    def _file(self, name: str) -> Path:
        path = self._find(name)
        if path is None:
            raise InvalidImage(f"the archive lacks '{name}'")
        return path
