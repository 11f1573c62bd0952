"""A tiny init: pid 1 that starts the program, passes signals on to it and reaps what is left over.

Comes in:  the container's pid 1, everything but the program set up.
Goes out:  the child returns and becomes the program; pid 1 ends with the program's exit code.
Not here:  the identity of the program (``identity.execute``).
Source: signal(7), wait(2), setpgid(2).
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import signal
import socket
import termios
from collections.abc import Callable, Sequence
from pathlib import Path

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


def fork_program(channel: socket.socket, confine: Callable[[], None], argv: Sequence[str]) -> None:
    """Fork; the child returns, pid 1 stays here and exits with the child's code.

    channel: is closed in pid 1, so that its end means execve(2) also with an init.
    confine: gives up in pid 1 what the program may not have either: it may trace its init. The child
             returns after that. argv: the program's, shown in pid 1 behind a name of our own.
    """
    reader, writer = os.pipe2(os.O_CLOEXEC)
    signal.pthread_sigmask(signal.SIG_BLOCK, _FORWARDED | {signal.SIGCHLD})
    child = os.fork()
    if child == 0:
        os.close(writer)
        os.read(reader, 1)
        os.close(reader)
        _foreground()
        return
    code = 125
    try:
        with contextlib.suppress(OSError):  # no /proc in this container
            _show(["/sbin/pycompose-init", "--", *argv])
        confine()
        channel.close()
        close_range(3)
        code = _serve(child)
    finally:
        os._exit(code)


def _show(words: Sequence[str]) -> None:
    """Let /proc/1/cmdline say ``words``: what it says now are paths of the host, and so does environ.

    Both are memory of this process; proc(5) tells where (arg_start, arg_end, env_start, env_end).
    """
    fields = Path("/proc/self/stat").read_text(errors="replace").rpartition(")")[2].split()
    start, end, env_start, env_end = (int(word) for word in fields[45:49])
    text = b"\0".join(os.fsencode(word) for word in words)[: max(0, end - start - 1)]
    if start:
        ctypes.memmove(start, text.ljust(end - start, b"\0"), end - start)
        ctypes.memset(env_start, 0, env_end - env_start)


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
