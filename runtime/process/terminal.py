"""Pseudo terminals of a container, made in its own devpts.

Comes in:  a process inside the container's mount namespace and a session of its own.
Goes out:  the master; the slave is the controlling terminal and standard input, output and error.
Not here:  who reads the master (``monitor``, ``relay``).
Source: pts(4), ioctl_tty(2): TIOCGPTPEER opens the slave without looking its name up.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import struct
import termios

from runtime.kernel.mounts import Resolve, openat2
from runtime.process.inside import HERE
from runtime.rootfs.apply import bind_file

_TIOCSPTLCK, _TIOCGPTN, _TIOCGPTPEER = 0x40045431, 0x80045430, 0x5441
_PTMX = os.makedev(5, 2)


def open_terminal(*, console: bool = False) -> int:
    """Make a pty and take it over. Returns its master. ``console`` also shows it as /dev/console.

    Raises OSError ENODEV when the container's /dev/pts/ptmx is something else.
    """
    flags = os.O_RDWR | os.O_NOCTTY
    master = openat2(HERE, "/dev/pts/ptmx", flags | os.O_NONBLOCK, resolve=Resolve.NO_MAGICLINKS)
    info = os.fstat(master)
    if not stat.S_ISCHR(info.st_mode) or info.st_rdev != _PTMX:
        os.close(master)
        raise OSError(errno.ENODEV, "not a pseudo terminal multiplexer", "/dev/pts/ptmx")
    os.set_blocking(master, True)
    fcntl.ioctl(master, _TIOCSPTLCK, struct.pack("i", 0))
    number = struct.unpack("i", fcntl.ioctl(master, _TIOCGPTN, b"\0" * 4))[0]
    slave = fcntl.ioctl(master, _TIOCGPTPEER, flags | os.O_CLOEXEC)
    if console:
        bind_file(f"/dev/pts/{number}", "/dev/console")
    fcntl.ioctl(slave, termios.TIOCSCTTY, 0)
    for target in range(3):
        os.dup2(slave, target)
    os.close(slave)
    return master
