"""Copy a container's output into its log so that a kill -9 of the copier neither loses nor doubles a line.

Comes in:  named pipes (or a pty's master), the log's path, a small shared record.
Goes out:  lines "<time> <stream> <F|P> <text>", one timestamp per chunk read.
Not here:  when to read (``monitor``).

A chunk goes through four steps: tee(2) shows it without consuming, it is appended to the log, the
record says so (log size, bytes logged, checksum), splice(2) consumes it, the record says so too. After
a kill between any two steps the record and the head of the pipe tell which were done. Only a kill
between the last two, with a next chunk equal byte for byte to the last, cannot be told apart.
"""

from __future__ import annotations

import contextlib
import fcntl
import mmap
import os
import struct
import time
import zlib
from pathlib import Path

from runtime.kernel.processes import tee

CHUNK = 262144  # also the size of the pipes; 64 KiB gave less than half of the throughput
_HEAD = struct.Struct("<Q")  # size of the log
_STREAM = struct.Struct("<QQIII")  # logged, consumed, size and checksum of the last chunk, whether P
_TIOCGPTPEER = 0x5441  # ioctl_tty(2): open the slave without its path
STREAMS = ("stdout", "stderr")


def stamp(now: int) -> bytes:
    """RFC 3339, UTC, nine digits: ``now`` is nanoseconds since the epoch."""
    seconds, nanos = divmod(now, 1_000_000_000)
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)).encode() + b".%09dZ" % nanos


def lines(data: bytes, stream: str, now: int) -> bytes:
    """Turn a chunk into records: full lines tagged F, an unfinished last one tagged P. Empty for no data."""
    head = stamp(now) + b" " + stream.encode()
    full, _, rest = data.rpartition(b"\n")
    out = b""
    if len(data) > len(rest):
        prefix = head + b" F "
        out = prefix + full.replace(b"\n", b"\n" + prefix) + b"\n"
    if rest:
        out += head + b" P " + rest + b"\n"
    return out


def closing(stream: str, now: int) -> bytes:
    """The record that ends a line which was left partial: F without text."""
    return stamp(now) + b" " + stream.encode() + b" F \n"


class Log:
    """An append-only file with rotation by size.

    limit: bytes, 0 for none; files: how many there are in all, ``path``, ``path.1``, ...
    """

    def __init__(self, path: str, limit: int, files: int) -> None:
        self.path = path or "/dev/null"
        self.limit = limit if path else 0
        self.files = max(1, files)
        try:
            self._open()
        except FileNotFoundError:
            Path(self.path).parent.mkdir(parents=True, exist_ok=True)
            self._open()

    def _open(self) -> None:
        self.fd = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o640)
        self.size = os.fstat(self.fd).st_size

    def cut(self, size: int) -> None:
        """Forget what was appended after ``size`` bytes."""
        if size < self.size:
            os.ftruncate(self.fd, size)
            self.size = size

    def fits(self, size: int) -> bool:
        """Whether ``size`` more bytes stay within the limit; an empty file takes anything."""
        return not self.limit or not self.size or self.size + size <= self.limit

    def append(self, data: bytes) -> None:
        """Append all of ``data``."""
        view = memoryview(data)
        while view:
            view = view[os.write(self.fd, view) :]
        self.size += len(data)

    def close(self) -> None:
        """Close the file."""
        os.close(self.fd)

    def rotate(self) -> None:
        """Begin a new file; the oldest of ``files`` goes."""
        os.close(self.fd)
        names = [self.path, *(f"{self.path}.{n}" for n in range(1, self.files))]
        for older, newer in zip(reversed(names), list(reversed(names))[1:], strict=False):
            with contextlib.suppress(FileNotFoundError):
                Path(newer).replace(older)
        if self.files == 1:
            Path(self.path).unlink(missing_ok=True)
        self._open()


class Record:
    """The shared memory in a file that outlives its writer."""

    def __init__(self, path: Path | str) -> None:
        size = _HEAD.size + len(STREAMS) * _STREAM.size
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            os.ftruncate(fd, size)
            self._map = mmap.mmap(fd, size)
        finally:
            os.close(fd)
        self.log_size = _HEAD.unpack_from(self._map)[0]
        self.streams = [list(_STREAM.unpack_from(self._map, self._at(n))) for n in range(len(STREAMS))]

    def _at(self, stream: int) -> int:
        return _HEAD.size + stream * _STREAM.size

    def begin(self, log_size: int) -> None:
        """A new container: nothing of it is logged, the log has what others left in it."""
        self.streams = [[0, 0, 0, 0, 0] for _ in STREAMS]
        self.log_size = log_size
        self._map[:] = _HEAD.pack(log_size) + bytes(len(STREAMS) * _STREAM.size)

    def logged(self, stream: int, data: bytes, log_size: int) -> None:
        """``data`` of ``stream`` is in the log, which has ``log_size`` bytes now. Copied at one go."""
        now = self.streams[stream]
        now[0], now[2], now[3] = now[0] + len(data), len(data), zlib.crc32(data)
        now[4] = 0 if data.endswith(b"\n") else 1
        self._set(log_size)

    def ended(self, stream: int, log_size: int) -> None:
        """The unfinished line of ``stream`` was closed."""
        self.streams[stream][4] = 0
        self._set(log_size)

    def _set(self, log_size: int) -> None:
        self.log_size = log_size
        rows = b"".join(_STREAM.pack(*row) for row in self.streams)
        self._map[:] = _HEAD.pack(log_size) + rows

    def moved(self) -> None:
        """The log was rotated: whatever is in the new file before the next ``logged`` does not count."""
        self.log_size = 0
        _HEAD.pack_into(self._map, 0, 0)

    def consumed(self, stream: int) -> None:
        """What was logged of ``stream`` has left the pipe."""
        now = self.streams[stream]
        now[1] = now[0]
        _STREAM.pack_into(self._map, self._at(stream), *now)

    def close(self) -> None:
        """Let go of the memory."""
        self._map.close()


class PipeSource:
    """One named pipe, copied losslessly."""

    def __init__(self, fd: int, stream: int, log: Log, record: Record) -> None:
        self.fd, self._stream, self._log, self._record = fd, stream, log, record
        self._show, self._peek = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        for pipe in (fd, self._peek):
            with contextlib.suppress(OSError):  # EPERM: the user's share of pipe memory is used up
                fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, CHUNK)
        self._null = os.open("/dev/null", os.O_WRONLY | os.O_CLOEXEC)
        self._resume()

    def _resume(self) -> None:
        """Skip what a predecessor logged and did not consume any more."""
        logged, consumed, size, checksum, _ = self._record.streams[self._stream]
        if logged == consumed:
            return
        head = self._look(size)
        if len(head) == size and zlib.crc32(head) == checksum:
            self._consume(size)
        self._record.consumed(self._stream)

    def copy(self) -> bool:
        """Move one chunk to the log. Returns whether there was any."""
        data = self._look(CHUNK)
        if not data:
            return False
        data = data[: data.rfind(b"\n") + 1] or data  # the rest of a line may come in a moment
        out = lines(data, STREAMS[self._stream], time.time_ns())
        while self._log.limit and len(out) > self._log.limit and len(data) > 1:
            data = data[: len(data) // 2]
            data = data[: data.rfind(b"\n") + 1] or data
            out = lines(data, STREAMS[self._stream], time.time_ns())
        self._append(out)
        self._record.logged(self._stream, data, self._log.size)
        self._consume(len(data))
        self._record.consumed(self._stream)
        return True

    def end(self) -> None:
        """Close a line that was left unfinished, so that no later one is joined to it."""
        if self._record.streams[self._stream][4]:
            self._append(closing(STREAMS[self._stream], time.time_ns()))
            self._record.ended(self._stream, self._log.size)

    def _append(self, out: bytes) -> None:
        if not self._log.fits(len(out)):
            self._log.rotate()
            self._record.moved()
        self._log.append(out)

    def _look(self, size: int) -> bytes:
        try:
            have = tee(self.fd, self._peek, size)
        except BlockingIOError:
            return b""
        data = os.read(self._show, have) if have else b""
        return data

    def _consume(self, size: int) -> None:
        while size:
            size -= os.splice(self.fd, self._null, size)

    def close(self) -> None:
        """Close the pipe and the private one."""
        for fd in (self.fd, self._show, self._peek, self._null):
            os.close(fd)


class TerminalSource:
    """A pty's master: read and logged as standard output. What was read when the copier dies is lost.

    The slave is held open here too: without anybody at it, reading fails and poll(2) never rests.
    """

    def __init__(self, fd: int, log: Log) -> None:
        self.fd, self._log = fd, log
        self._partial = False
        os.set_blocking(fd, False)
        self._slave = fcntl.ioctl(fd, _TIOCGPTPEER, os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)

    def copy(self) -> bool:
        """Move one chunk to the log. Returns whether there was any."""
        try:
            data = os.read(self.fd, CHUNK)
        except BlockingIOError:
            return False
        self._append(lines(data, STREAMS[0], time.time_ns()))
        self._partial = not data.endswith(b"\n") if data else self._partial
        return bool(data)

    def end(self) -> None:
        """Close a line that was left unfinished."""
        if self._partial:
            self._append(closing(STREAMS[0], time.time_ns()))
            self._partial = False

    def _append(self, out: bytes) -> None:
        if not self._log.fits(len(out)):
            self._log.rotate()
        self._log.append(out)

    def close(self) -> None:
        """Close both ends; a terminal without a master hangs up."""
        os.close(self._slave)
        os.close(self.fd)
