"""``init: true``: pid 1 is a tiny program that passes signals on to the container's own and reaps.

Comes in:  the container's first process, everything but the program set up.
Goes out:  the child returns and becomes the program; pid 1 becomes the init.
Not here:  the init itself (``init_image``), the identity of the program (``identity.execute``).
Source: signal(7), setpgid(2), memfd_create(2), execveat(2).
"""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import socket
import termios
from collections.abc import Callable, Sequence

from runtime.errors import RuntimeFailure
from runtime.process.init_image import FORWARDED, image
from runtime.process.messages import tell

NAME = "/sbin/pycompose-init"
_MFD_EXEC = 0x10  # since Linux 6.3
_SEALS = fcntl.F_SEAL_WRITE | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_SEAL


def fork_program(channel: socket.socket, confine: Callable[[], None], argv: Sequence[str]) -> None:
    """Fork; the child returns once the caller has become the init, and takes on the container's program.

    channel: its end means execve(2), also with an init: the caller's copy closes when it executes.
    confine: gives up in pid 1 what the program may not have either, which may trace its init.
    argv:    the program's, shown in pid 1 behind NAME.
    """
    reader, writer = os.pipe2(os.O_CLOEXEC)
    signal.pthread_sigmask(signal.SIG_BLOCK, FORWARDED | {signal.SIGCHLD})
    child = os.fork()
    if child == 0:
        os.close(writer)
        failed = os.read(reader, 1)
        os.close(reader)
        if failed:
            os._exit(125)
        _foreground()
        return
    os.close(reader)
    try:
        program = sealed(image(os.uname().machine, child))
        confine()
        os.execve(program, [NAME, "--", *argv], {})
    except KeyError:
        tell(channel, RuntimeFailure(f"'init: true' is not available on {os.uname().machine}"))
    except RuntimeFailure as error:
        tell(channel, error)
    except OSError as error:
        why = "the sysctl vm.memfd_noexec forbids it" if error.errno == errno.EACCES else error.strerror
        tell(channel, RuntimeFailure(f"the init of the container cannot be executed: {why}"))
    finally:
        os.write(writer, b"x")
        os._exit(125)


def sealed(content: bytes) -> int:
    """A file in memory that holds ``content`` and cannot be changed. Returns its descriptor."""
    flags = os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING
    try:
        fd = os.memfd_create("pycompose-init", flags | _MFD_EXEC)
    except OSError:  # EINVAL: an older kernel, where every such file can be executed
        fd = os.memfd_create("pycompose-init", flags)
    os.write(fd, content)
    fcntl.fcntl(fd, fcntl.F_ADD_SEALS, _SEALS)
    return fd


def _foreground() -> None:
    """Give the program a process group of its own, in the foreground of the terminal if there is one."""
    os.setpgid(0, 0)
    if os.isatty(0):
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTTOU})
        fcntl.ioctl(0, termios.TIOCSPGRP, os.getpgrp().to_bytes(4, "little"))
