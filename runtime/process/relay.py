"""Copy between a person's standard streams and pipes or a terminal of a container's process.

Comes in:  descriptors 0, 1 and 2 of this process; a descriptor that tells when to look up.
Goes out:  bytes both ways. The container's process never holds a descriptor of the person's.
Not here:  making the process (``enter``, ``compose.cli.oneoff``).
Source: splice(2), pipe(7), pts(4), ioctl_tty(2), termios(3).
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import select
import signal
import struct
import termios
import tty
from collections.abc import Callable, Iterator

from runtime.process.detach import Detach

_CHUNK = 1 << 16
_SPLICED = 1 << 20


class Streams:
    """Three pipes. ``theirs`` are handed to the process; ``ours`` are not blocking.

    interactive: whether standard input is copied; otherwise the process gets the null device. Where standard
    output and error are one file here they are one pipe there, so that lines keep their order.
    """

    def __init__(self, *, interactive: bool = True) -> None:
        self.input = -1
        self._pending = b""
        self._end = False
        if interactive:
            reader, self.input = os.pipe2(os.O_CLOEXEC)
        else:
            reader = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
        source, output = os.pipe2(os.O_CLOEXEC)
        self.outputs = {source: 1}  # ours -> where it goes
        error = output
        if not _same_file(1, 2):
            source, error = os.pipe2(os.O_CLOEXEC)
            self.outputs[source] = 2
        self.theirs: tuple[int, ...] = (reader, output, error)
        for fd in self.ours:
            os.set_blocking(fd, False)

    @property
    def ours(self) -> tuple[int, ...]:
        """Our ends. A process forked from this one must close them, or the container never sees an end."""
        return (*((self.input,) if self.input >= 0 else ()), *self.outputs)

    def hand_over(self) -> None:
        """Close our copies of ``theirs``; the process has them by now. Idempotent."""
        theirs, self.theirs = self.theirs, ()
        for fd in {*theirs}:
            os.close(fd)

    def close(self) -> None:
        """Close everything."""
        self.hand_over()
        self._close_input()
        for source in list(self.outputs):
            self._drop(source)

    def run(self, other: int, ended: Callable[[], bool]) -> None:
        """Copy until ``ended`` says so; it is asked whenever ``other`` is readable. Then the rest is read."""
        poll = select.poll()
        poll.register(other, select.POLLIN)
        for source in self.outputs:
            poll.register(source, select.POLLIN)
        reading = writing = False
        while True:
            open_ = self.input >= 0 and not self._end
            reading = _watch(poll, 0, select.POLLIN, reading, open_ and not self._pending)
            writing = _watch(poll, self.input, select.POLLOUT, writing, bool(self._pending))
            ready = {fd for fd, _ in poll.poll()}
            for source in ready & self.outputs.keys():
                if not self._pump(source):
                    poll.unregister(source)
                    self._drop(source)
            if reading and 0 in ready:
                self._read()
            if self.input in ready and writing:
                self._write()
            if self._end and not self._pending:
                writing = _watch(poll, self.input, select.POLLOUT, writing, False)
                self._close_input()
            if other in ready and ended():
                break
        self.drain()

    def drain(self) -> None:
        """Pass on what is left in the pipes, without waiting for more."""
        for source in list(self.outputs):
            while self._pump(source, last=True):
                pass

    def _read(self) -> None:
        try:
            self._pending = os.read(0, _CHUNK)
        except BlockingIOError:
            return
        except OSError:  # EIO: this job has lost its terminal; EBADF: it never had a standard input
            self._pending = b""
        self._end = not self._pending

    def _write(self) -> None:
        try:
            done = os.write(self.input, self._pending)
            self._pending = self._pending[done:]
        except BlockingIOError:
            return
        except BrokenPipeError:  # nobody in the container reads any more
            self._pending, self._end = b"", True

    def _close_input(self) -> None:
        if self.input >= 0:
            os.close(self.input)
            self.input = -1

    def _drop(self, source: int) -> None:
        del self.outputs[source]
        os.close(source)

    def _pump(self, source: int, *, last: bool = False) -> bool:
        """Pass a chunk on. False when the stream or its reader has ended; with ``last`` when it is empty."""
        target = self.outputs[source]
        try:
            return _spliced(source, target) > 0
        except BlockingIOError:
            return not last
        except BrokenPipeError:
            return False
        except OSError as error:
            if error.errno != errno.EINVAL:
                return False
        try:
            data = os.read(source, _CHUNK)
            write_all(target, data)
        except BlockingIOError:
            return not last
        except OSError:
            return False
        return bool(data)


def _same_file(one: int, other: int) -> bool:
    try:
        return os.path.samestat(os.fstat(one), os.fstat(other))
    except OSError:
        return False


def _watch(poll: select.poll, fd: int, event: int, now: bool, wanted: bool) -> bool:
    """Register or unregister ``fd``. Returns ``wanted``."""
    if wanted and not now:
        poll.register(fd, event)
    elif now and not wanted and fd >= 0:
        poll.unregister(fd)
    return wanted


def _spliced(source: int, target: int) -> int:
    """splice(2) a pipe into ``target`` without copying. EINVAL: ``target`` takes none (O_APPEND)."""
    return os.splice(source, target, _SPLICED)


def write_all(fd: int, data: bytes) -> None:
    """Write all of ``data``."""
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


def terminal(master: int, other: int, ended: Callable[[], bool], wanted: bytes = b"") -> bool:
    """Join this terminal with the ``master`` of a container's, in raw mode, until ``ended`` says so.

    ``ended`` is asked whenever ``other`` is readable; then what is left of the output is read. The window
    follows ours. End of our input is passed on as ^D. wanted: the keys that leave; True when they have come.
    """
    resize(master)
    before = signal.signal(signal.SIGWINCH, lambda *_: resize(master))
    try:
        with raw():
            return _join(master, other, ended, Detach(wanted))
    finally:
        signal.signal(signal.SIGWINCH, before)


def _join(master: int, other: int, ended: Callable[[], bool], keys: Detach) -> bool:
    poll = select.poll()
    for fd in (0, master, other):
        poll.register(fd, select.POLLIN)
    while True:
        ready = {fd for fd, _ in poll.poll()}
        if master in ready:
            data = _received(master)
            write_all(1, data)
            if not data:
                poll.unregister(master)
        if 0 in ready:
            typed = _received(0)
            data, left = keys.feed(typed)
            with contextlib.suppress(OSError):  # EIO: nobody has the container's terminal open any more
                write_all(master, data if typed else b"\x04")
            if left:
                return True
            if not typed:
                poll.unregister(0)
        if other in ready and ended():
            break
    os.set_blocking(master, False)
    while data := _received(master):
        write_all(1, data)
    return False


def window() -> tuple[int, ...]:
    """Rows and columns of our terminal, () without one."""
    for fd in (0, 1, 2):
        with contextlib.suppress(OSError):
            return struct.unpack("HHHH", fcntl.ioctl(fd, termios.TIOCGWINSZ, b"\0" * 8))[:2]
    return ()


def resize(master: int) -> None:
    """Give the container's terminal the size of ours."""
    for fd in (0, 1, 2):
        with contextlib.suppress(OSError):
            fcntl.ioctl(master, termios.TIOCSWINSZ, fcntl.ioctl(fd, termios.TIOCGWINSZ, b"\0" * 8))
            return


@contextlib.contextmanager
def raw() -> Iterator[None]:
    """The terminal of this process in raw mode; nothing when standard input is none."""
    if not os.isatty(0):
        yield
        return
    before = termios.tcgetattr(0)
    tty.setraw(0, termios.TCSANOW)
    try:
        yield
    finally:
        termios.tcsetattr(0, termios.TCSADRAIN, before)


def _received(fd: int) -> bytes:
    try:
        return os.read(fd, _CHUNK)
    except OSError:  # EIO: no process has the slave open any more; EAGAIN: nothing is left
        return b""
