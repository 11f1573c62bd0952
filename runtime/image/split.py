"""The tar stream of a layer without the content of its files: enough to give the very same bytes again.

Comes in:  what passes while a layer is unpacked: raw bytes (headers, padding, what lies behind the end), and
           the paths of the files whose content was written to disk.
Goes out:  a small file beside the unpacked layer; later, with the layer's directory, the stream as it came.
Not here:  packing a directory that was made here (layer).

Other tools order and pad the entries of a layer in other ways than we do. A layer is known by the digest of
its stream, so the stream that goes out (save, push) has to be the one that came in. Source of the idea:
vbatts/tar-split. One record: bytes of raw data (u32), bytes of content (u64), bytes of path (u16), then raw
data, then path.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from runtime.image.compress import CHUNK, decompress, gzip_machine
from runtime.image.errors import InvalidImage
from runtime.inside.walk import open_below

_RECORD = struct.Struct("<IQH")


class Recorder:
    """Writes the record to ``path``; ``close`` ends it, ``discard`` gives it up."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._out = path.open("wb")
        self._machine = gzip_machine(1)
        self._pending = bytearray()  # whole records, to be compressed together
        self._raw = bytearray()

    def raw(self, data: bytes | memoryview) -> None:
        """Bytes that are no file's content."""
        self._raw += data
        if len(self._raw) > CHUNK:
            self._record(0, b"")

    def file(self, path: bytes, size: int) -> None:
        """``size`` bytes of content follow here, which lie in the layer at ``path``."""
        self._record(size, path)

    def _record(self, size: int, path: bytes) -> None:
        self._pending += _RECORD.pack(len(self._raw), size, len(path))
        self._pending += self._raw
        self._pending += path
        self._raw.clear()
        if len(self._pending) > CHUNK:
            self._out.write(self._machine.compress(bytes(self._pending)))
            self._pending.clear()

    def close(self) -> None:
        """Write the rest."""
        self._record(0, b"")
        self._out.write(self._machine.compress(bytes(self._pending)))
        self._out.write(self._machine.flush())
        self._out.close()

    def discard(self) -> None:
        """Nothing is kept."""
        self.abandon()
        self._path.unlink(missing_ok=True)

    def abandon(self) -> None:
        """Close the file, whatever is in it."""
        self._out.close()


def replay(record: Path, directory: Path) -> Iterator[bytes]:
    """The stream that was unpacked into ``directory``. Raises InvalidImage when a file of it has changed."""
    root = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for raw, path, size in _records(record):
            if raw:
                yield raw
            if size:
                fd = open_below(root, path)
                try:
                    yield from content(fd, size, path)
                finally:
                    os.close(fd)
    finally:
        os.close(root)


def length(record: Path) -> int:
    """Bytes of that stream."""
    return sum(len(raw) + size for raw, _, size in _records(record))


def content(fd: int, size: int, path: bytes, *, padded: bool = False) -> Iterator[bytes]:
    """Exactly ``size`` bytes of the open file ``fd``, which errors call ``path``.

    padded: zeros stand for what is missing; else InvalidImage is raised when it has become shorter.
    """
    left = size
    while left:
        chunk = os.read(fd, min(CHUNK, left))
        if not chunk and not padded:
            raise InvalidImage(f"{os.fsdecode(path)!r} became shorter while it was read")
        chunk = chunk or bytes(min(CHUNK, left))
        left -= len(chunk)
        yield chunk


def _records(record: Path) -> Iterator[tuple[bytes, bytes, int]]:
    """(raw bytes, path, size) in order."""
    with record.open("rb") as packed:
        reader = _Plain(packed)
        while head := reader.take(_RECORD.size):
            raw, size, path = _RECORD.unpack(head)
            yield reader.take(raw), reader.take(path), size


class _Plain:
    """Exact counts of bytes out of a compressed file."""

    def __init__(self, packed: BinaryIO) -> None:
        self._chunks = decompress(iter(lambda: packed.read(CHUNK), b""))
        self._buffer = b""
        self._at = 0

    def take(self, count: int) -> bytes:
        """``count`` bytes; nothing at the end."""
        while len(self._buffer) - self._at < count:
            more = next(self._chunks, None)
            if more is None:
                if self._at < len(self._buffer):
                    raise InvalidImage("the record of a layer is damaged")
                return b""
            self._buffer = self._buffer[self._at :] + more
            self._at = 0
        self._at += count
        return self._buffer[self._at - count : self._at]
