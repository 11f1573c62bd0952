"""A tiny init: pid 1 that starts the program, passes signals on to it and reaps what is left over.

Comes in:  the container's pid 1, everything but the program set up.
Goes out:  the child returns and becomes the program; pid 1 ends with the program's exit code.
Not here:  the identity of the program (``identity.execute``).
Source: signal(7), wait(2), setpgid(2).
"""

from __future__ import annotations

import fcntl
import os
import signal
import socket
import termios
from collections.abc import Callable

from runtime.kernel.libc import close_range

_FORWARDED = set(signal.Signals) - {
    signal.SIGKILL,
    signal.SIGSTOP,
    signal.SIGCHLD,
    signal.SIGSEGV,
    signal.SIGBUS,
    signal.SIGFPE,
    signal.SIGILL,
    signal.SIGTRAP,
    signal.SIGABRT,
    signal.SIGSYS,
    signal.SIGTTIN,
    signal.SIGTTOU,
}


def fork_program(channel: socket.socket, confine: Callable[[], None]) -> None:
    """Fork; the child returns, pid 1 stays here and exits with the child's code.

    channel: is closed in pid 1, so that its end means execve(2) also with an init.
    confine: gives up in pid 1 what the program may not have either: it may trace its init.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, _FORWARDED | {signal.SIGCHLD})
    child = os.fork()
    if child == 0:
        _foreground()
        return
    channel.close()
    close_range(3)
    code = 125
    try:
        confine()
        code = _serve(child)
    finally:
        os._exit(code)


def _foreground() -> None:
    """Give the program a process group of its own, in the foreground of the terminal if there is one."""
    os.setpgid(0, 0)
    if os.isatty(0):
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTTOU})
        with open("/dev/tty", "rb", buffering=0, closefd=True) as terminal:
            fcntl.ioctl(terminal, termios.TIOCSPGRP, os.getpgrp().to_bytes(4, "little"))


def _serve(child: int) -> int:
    """Pass signals on and reap until ``child`` has ended. Returns its code, 128 + n for signal n."""
    while True:
        number = signal.sigwait(_FORWARDED | {signal.SIGCHLD})
        if number != signal.SIGCHLD:
            try:
                os.kill(child, number)
            except ProcessLookupError:
                pass
            continue
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                break
            if pid == child:
                code = os.waitstatus_to_exitcode(status)
                return code if code >= 0 else 128 - code
            if pid == 0:
                break
