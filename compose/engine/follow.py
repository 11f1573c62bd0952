"""Wait for more in the log files, and for containers that come and go, without polling: inotify(7).

Comes in:  the directory of the log files and further directories to watch.
Goes out:  new Lines, and the word that something changed in the other directories.
Not here:  the format of a line (``logs``), what a change means (the caller).
"""

from __future__ import annotations

import ctypes
import os
import select
import struct
from collections.abc import Callable, Iterator
from enum import IntFlag
from pathlib import Path
from typing import IO

from compose.engine.logs import BLOCK, Joiner, Line

_libc = ctypes.CDLL(None, use_errno=True)
_libc.inotify_init1.argtypes = [ctypes.c_int]
_libc.inotify_add_watch.argtypes = [ctypes.c_int, ctypes.c_char_p, ctypes.c_uint32]


class Mask(IntFlag):
    """What to be told of a directory. Source: include/uapi/linux/inotify.h."""

    MODIFY = 0x2
    MOVED_TO = 0x80
    CREATE = 0x100
    DELETE = 0x200
    ONLYDIR = 0x01000000


def inotify_init() -> int:
    """inotify_init1(2): a descriptor that reads events, close-on-exec and non-blocking."""
    descriptor: int = _libc.inotify_init1(os.O_CLOEXEC | os.O_NONBLOCK)
    if descriptor == -1:
        number = ctypes.get_errno()
        raise OSError(number, f"inotify_init1(2): {os.strerror(number)}")
    return descriptor


def inotify_add_watch(descriptor: int, path: Path, mask: Mask) -> int:
    """inotify_add_watch(2): tell ``descriptor`` of what happens in ``path``; the same path keeps its number.

    Raises OSError naming the path; ENOENT when it does not exist, ENOSPC at fs.inotify.max_user_watches.
    """
    number: int = _libc.inotify_add_watch(descriptor, os.fsencode(path), mask)
    if number == -1:
        code = ctypes.get_errno()
        raise OSError(code, f"inotify_add_watch(2): {os.strerror(code)}", str(path))
    return number


class Tail:
    """One file that grows: what was read stays read when it is rotated or made anew."""

    def __init__(self, path: Path, name: str, *, at_end: bool) -> None:
        self.path = path
        self.joiner = Joiner(name)
        self.file: IO[bytes] | None = None
        if at_end and self._open():
            assert self.file is not None
            self.file.seek(0, os.SEEK_END)

    def _open(self) -> bool:
        try:
            self.file = self.path.open("rb", buffering=0)
        except FileNotFoundError:
            return False
        return True

    def _moved(self) -> bool:
        """Whether the path now names another file, or none, or a shorter one."""
        assert self.file is not None
        here = os.fstat(self.file.fileno())
        try:
            there = self.path.stat()
        except FileNotFoundError:
            return True
        return (here.st_dev, here.st_ino) != (there.st_dev, there.st_ino) or there.st_size < self.file.tell()

    def new(self) -> Iterator[Line]:
        """Lines written since the last call."""
        for block in self.blocks():
            yield from self.joiner.feed(block)

    def blocks(self) -> Iterator[bytes]:
        """Everything written since the last call."""
        while self.file is not None or self._open():
            assert self.file is not None
            moved = self._moved()  # asked before the last read, so that nothing written before it is missed
            while block := self.file.read(BLOCK):
                yield block
            if not moved:
                return
            self.close()

    def close(self) -> None:
        """Let the file go."""
        if self.file is not None:
            self.file.close()
            self.file = None


class Follower:
    """New lines of a project's containers.

    wanted:  whether the container of that name is followed; asked once per name.
    at_end:  of files that exist now, only what comes later.
    """

    def __init__(self, logs: Path, *, wanted: Callable[[str], bool], at_end: bool = True) -> None:
        self.logs = logs
        self.wanted = wanted
        self._files: dict[str, Tail] = {}
        logs.mkdir(parents=True, exist_ok=True)
        self._inotify = inotify_init()
        self._own = inotify_add_watch(
            self._inotify, logs, Mask.MODIFY | Mask.MOVED_TO | Mask.CREATE | Mask.ONLYDIR
        )
        self._find(at_end=at_end)

    def _find(self, *, at_end: bool = False) -> None:
        for entry in os.scandir(self.logs):
            name, suffix = os.path.splitext(entry.name)  # noqa: PTH122  a name, not a path
            if suffix == ".log" and name not in self._files and self.wanted(name):
                self._files[name] = Tail(self.logs / entry.name, name, at_end=at_end)

    def watch(self, directory: Path, *, written: bool = False) -> bool:
        """Wake up as well when a file or directory appears in ``directory`` or goes; again is harmless.

        written: also when a file in it grows.

        Gives False when there is no such directory.
        """
        try:
            mask = Mask.MOVED_TO | Mask.CREATE | Mask.DELETE | Mask.ONLYDIR
            inotify_add_watch(self._inotify, directory, mask | Mask.MODIFY if written else mask)
        except FileNotFoundError:
            return False
        return True

    def wait(self, *others: int, timeout: float | None = None) -> bool:
        """Sleep until something happened, one of ``others`` is readable, or ``timeout`` seconds passed.

        Gives whether something changed in a directory that ``watch`` was told of.
        """
        poller = select.poll()
        for descriptor in (self._inotify, *others):
            poller.register(descriptor, select.POLLIN)
        poller.poll(None if timeout is None else timeout * 1000)
        changed = False
        try:
            while data := os.read(self._inotify, BLOCK):
                changed |= any(number != self._own for number in _watches(data))
        except BlockingIOError:
            pass
        return changed

    def lines(self) -> list[Line]:
        """Everything new, merged by time."""
        self._find()
        found = [line for file in self._files.values() for line in file.new()]
        found.sort(key=lambda line: line.time)
        return found

    def last_words(self, name: str) -> list[Line]:
        """Lines of ``name`` that have no end and will get none, because the container is gone."""
        file = self._files.get(name)
        return list(file.joiner.flush()) if file else []

    def close(self) -> None:
        """Close every descriptor."""
        for file in self._files.values():
            file.close()
        os.close(self._inotify)

    def __enter__(self) -> Follower:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


_HEADER = struct.Struct("iIII")  # wd, mask, cookie, length of the name: inotify(7)


def _watches(data: bytes) -> Iterator[int]:
    """The watch descriptor of every event in what was read from inotify."""
    at = 0
    while at < len(data):
        number, _, _, length = _HEADER.unpack_from(data, at)
        yield number
        at += _HEADER.size + length
