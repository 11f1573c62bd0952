"""Run a command in a running container for a person at a terminal: ``exec``.

Comes in:  the container's spec and state, an ExecSpec; standard streams of this process.
Goes out:  the command's exit code.
Not here:  finding the container (``runtime.state``), probes (``capture``).
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import signal
import termios
import tty
from collections.abc import Iterator
from pathlib import Path

from runtime.cgroup.layout import find, group
from runtime.process.entry import Entered, code_of, fork_into
from runtime.spec import ContainerSpec, ContainerState, ExecSpec

_PASSED_ON = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2)


def enter(spec: ContainerSpec, state: ContainerState, exec: ExecSpec, *, run: Path) -> int:
    """Run ``exec`` in the container and return its code, 128 + n for signal n.

    run: RUN/<project>. Without a tty the streams of this process are the command's own; with one they
    are relayed, the terminal in raw mode. Raises NotExecutable (126), CommandNotFound (127),
    RuntimeFailure.
    """
    own = group(find(), run.name, spec.id, spec.limits.parent)
    stdio = () if exec.tty else (0, 1, 2)
    entered = fork_into(spec, state, exec, own, run / "containers" / spec.id, stdio)
    if exec.tty:
        return _relay(entered)
    with _signals_to(entered.pid):
        return code_of(os.waitpid(entered.pid, 0)[1])


@contextlib.contextmanager
def _signals_to(pid: int) -> Iterator[None]:
    """What this process is asked by signal is passed on; waitpid(2) is taken up again by Python."""

    def pass_on(number: int, _frame: object) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)

    before = {number: signal.signal(number, pass_on) for number in _PASSED_ON}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _relay(entered: Entered) -> int:
    """Copy between this terminal and the container's until the command ends."""
    master, pid = entered.master, entered.pid
    _resize(master)
    before = signal.signal(signal.SIGWINCH, lambda *_: _resize(master))
    try:
        with _raw(), _signals_to(pid):
            _copy(master, pid)
    finally:
        signal.signal(signal.SIGWINCH, before)
        os.close(master)
    return code_of(os.waitpid(pid, 0)[1])


@contextlib.contextmanager
def _raw() -> Iterator[None]:
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


def _resize(master: int) -> None:
    """Give the container's terminal the size of ours."""
    for fd in (0, 1, 2):
        with contextlib.suppress(OSError):
            fcntl.ioctl(master, termios.TIOCSWINSZ, fcntl.ioctl(fd, termios.TIOCGWINSZ, b"\0" * 8))
            return


def _copy(master: int, pid: int) -> None:
    """Until the command has ended and its output is read; end of our input is passed on as ^D."""
    pidfd = os.pidfd_open(pid)
    poll = select.poll()
    for fd in (0, master, pidfd):
        poll.register(fd, select.POLLIN)
    try:
        while True:
            ready = dict(poll.poll())
            if master in ready:
                data = _read(master)
                _write(1, data)
                if not data:
                    poll.unregister(master)
            if 0 in ready:
                data = _read(0)
                _write(master, data or b"\x04")
                if not data:
                    poll.unregister(0)
            if pidfd in ready and master not in ready:
                return
            if pidfd in ready:
                os.set_blocking(master, False)
                while data := _read(master):
                    _write(1, data)
                return
    finally:
        os.close(pidfd)


def _read(fd: int) -> bytes:
    try:
        return os.read(fd, 65536)
    except OSError:  # EIO: no process has the slave open any more
        return b""


def _write(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]
