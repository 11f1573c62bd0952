"""Join this terminal with the master of a container's pseudo terminal.

Comes in:  the master's descriptor, a further descriptor that tells when to look up.
Goes out:  bytes in both directions, the window's size; the terminal is as before afterwards.
Source: pts(4), ioctl_tty(2), termios(3).
"""

import contextlib
import fcntl
import os
import select
import signal
import termios
import tty
from collections.abc import Callable, Iterator

CHUNK = 1 << 16


@contextlib.contextmanager
def raw() -> Iterator[None]:
    """Standard input in raw mode until the block ends, however it ends."""
    before = termios.tcgetattr(0)
    tty.setraw(0, termios.TCSANOW)
    try:
        yield
    finally:
        termios.tcsetattr(0, termios.TCSADRAIN, before)


def resize(master: int) -> None:
    """Give the container's terminal the size of ours."""
    with contextlib.suppress(OSError):
        fcntl.ioctl(master, termios.TIOCSWINSZ, fcntl.ioctl(0, termios.TIOCGWINSZ, b"\0" * 8))


def relay(master: int, other: int, ended: Callable[[], bool]) -> None:
    """Copy both ways until ``ended`` says so; it is asked whenever ``other`` is readable."""
    resize(master)
    before = signal.signal(signal.SIGWINCH, lambda *_: resize(master))
    poller = select.poll()
    for descriptor in (0, master, other):
        poller.register(descriptor, select.POLLIN)
    try:
        with raw():
            while True:
                ready = {descriptor for descriptor, _ in poller.poll()}
                if 0 in ready and not _copy(0, master):
                    poller.unregister(0)
                if master in ready and not _copy(master, 1):
                    poller.unregister(master)
                if other in ready and master not in ready and ended():
                    return
    finally:
        signal.signal(signal.SIGWINCH, before)


def _copy(source: int, target: int) -> bool:
    """Pass one chunk on; False at the end. A terminal that nobody holds any more reads as EIO."""
    try:
        data = os.read(source, CHUNK)
        view = memoryview(data)
        while view:
            view = view[os.write(target, view) :]
    except OSError:
        return False
    return bool(data)
