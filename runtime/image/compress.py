"""Undo and do the compressions that layers come in: gzip, zstd or none, told by their first bytes.

Comes in:  chunks of bytes. Goes out: chunks of plain bytes, decompressed in a thread of their own.
Not here:  tar (tar), digests (layer).

isal's inflate is twice as fast as zlib's where its wheel exists; zstd is in the standard library from 3.14.
"""

from __future__ import annotations

import bz2
import contextlib
import importlib
import itertools
import lzma
import os
import queue
import sys
import threading
import zlib
from collections.abc import Callable, Generator, Iterable, Iterator
from typing import Any, TypeVar

from runtime.image.errors import InvalidImage

_fast_zlib: Any = zlib
with contextlib.suppress(ImportError):  # no wheel for this machine
    from isal import isal_zlib as _fast_zlib

CHUNK = 1 << 20
_XZ_MEMORY = 160 << 20  # xz -9 needs 65 MiB; a header can ask for 4 GiB
GZIP, ZSTD, BZIP2, XZ = b"\x1f\x8b", b"\x28\xb5\x2f\xfd", b"BZh", b"\xfd7zXZ\x00"
Item = TypeVar("Item")


def decompress(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Plain bytes of ``chunks``, whatever they are compressed with; several members in a row are one stream.

    Raises InvalidImage for damaged or truncated input.
    """
    source = iter(chunks)
    first = b""
    for chunk in source:
        first += chunk
        if len(first) >= 6:
            break
    maker = _decoder(first)
    if maker is None:
        yield first
        yield from source
        return
    try:
        yield from _decode(maker, first, source)
    except (zlib.error, lzma.LZMAError, OSError, EOFError, ValueError) as error:
        raise InvalidImage(f"compressed data is damaged: {error}") from error
    except Exception as error:  # isal and zstd have error classes of their own, which may not be importable
        if type(error).__name__ not in ("IsalError", "ZstdError"):
            raise
        raise InvalidImage(f"compressed data is damaged: {error}") from error


def is_compressed(first: bytes) -> bool:
    """Whether data beginning with ``first`` (six bytes) is in one of the known compressions."""
    return _decoder(first) is not None


def _decoder(first: bytes) -> Callable[[], Any] | None:
    if first.startswith(GZIP):
        return lambda: _fast_zlib.decompressobj(31)
    if first.startswith(ZSTD):
        return lambda: _zstd().ZstdDecompressor()
    if first.startswith(BZIP2):
        return bz2.BZ2Decompressor
    if first.startswith(XZ):
        return lambda: lzma.LZMADecompressor(memlimit=_XZ_MEMORY)
    return None


def _zstd() -> Any:
    name = "compression.zstd" if sys.version_info >= (3, 14) else "backports.zstd"
    return importlib.import_module(name)


def _decode(maker: Callable[[], Any], first: bytes, source: Iterator[bytes]) -> Iterator[bytes]:
    machine, between = maker(), False
    for data in itertools.chain((first,), source):
        while data:
            if machine.eof:
                machine, between = maker(), True
            if between and not (data := data.lstrip(b"\0")):
                break
            between = False
            yield from _feed(machine, data)
            data = machine.unused_data if machine.eof else b""
    if not machine.eof and not between:
        raise InvalidImage("compressed data ends too early")


def _feed(machine: Any, data: bytes) -> Iterator[bytes]:
    """Bounded output per call, so that a bomb cannot fill the memory."""
    out = machine.decompress(data, 4 * CHUNK)
    if out:
        yield out
    while not machine.eof:
        tail = getattr(machine, "unconsumed_tail", None)
        if tail is None and machine.needs_input:
            return
        if tail is not None and not tail:
            return
        out = machine.decompress(tail or b"", 4 * CHUNK)
        if out:
            yield out


def gzip_machine(level: int) -> Any:
    """A compressor of one gzip member with no name and no time. level: 1 is quick, 2 smaller.

    isal has the levels 0 to 3 and is several times as quick; without it zlib's 1 and 6 come closest.
    """
    if _fast_zlib is zlib:
        return zlib.compressobj(1 if level < 2 else 6, zlib.DEFLATED, 31)
    return _fast_zlib.compressobj(level, zlib.DEFLATED, 31)


def gzip(chunks: Iterable[bytes], level: int = 2) -> Iterator[bytes]:
    """Compress as one gzip member; equal input gives equal output on one machine."""
    machine = gzip_machine(level)
    for chunk in chunks:
        if out := machine.compress(chunk):
            yield out
    yield machine.flush()


LIMIT = "PYCOMPOSE_LAYER_LIMIT"
RATIO, FREE = 200, 1 << 30


def allowance(compressed: int) -> int:
    """Bytes that ``compressed`` bytes may become before they count as a bomb.

    PYCOMPOSE_LAYER_LIMIT raises it, for layers that hold huge files of nothing: "20GB". Raises ImageError.
    """
    usual = compressed * RATIO + FREE
    if not (named := os.environ.get(LIMIT)):
        return usual
    from runtime.image.budget import size

    return max(usual, size(named, LIMIT))


def limited(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Like ``decompress``, but give up when more came out than what went in so far may become.

    For a stream whose length is not known before. Raises InvalidImage.
    """
    taken = given = 0

    def counted() -> Iterator[bytes]:
        nonlocal taken
        for chunk in chunks:
            taken += len(chunk)
            yield chunk

    for plain in decompress(counted()):
        given += len(plain)
        if given > allowance(taken):
            raise InvalidImage(
                f"{taken >> 20} MiB of the archive decompress to more than {given >> 20} MiB",
                hint=f"it looks like a decompression bomb; if not, {LIMIT}=20GB lets it in",
            )
        yield plain


def ahead(items: Iterable[Item], depth: int = 8) -> Generator[Item, None, None]:
    """Iterate in a thread, at most ``depth`` items ahead; an exception there is raised here.

    Close the generator (or run it to its end) to end the thread.
    """
    line: queue.Queue[tuple[bool, Any]] = queue.Queue(depth)
    stop = threading.Event()

    def put(entry: tuple[bool, Any]) -> bool:
        while not stop.is_set():
            with contextlib.suppress(queue.Full):
                line.put(entry, timeout=0.1)
                return True
        return False

    def work() -> None:
        try:
            for item in items:
                if not put((True, item)):
                    return
            put((False, None))
        except BaseException as error:  # handed over, raised by the reader
            put((False, error))

    thread = threading.Thread(target=work, name="decompress", daemon=True)
    thread.start()
    try:
        while True:
            good, item = line.get()
            if good:
                yield item
            elif item is None:
                return
            else:
                raise item
    finally:
        stop.set()
        thread.join()
