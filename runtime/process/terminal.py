"""Pseudo terminals of a container, made in its own devpts.

Comes in:  a process inside the container's mount namespace and a session of its own.
Goes out:  the master; the slave is the controlling terminal and standard input, output and error.
Not here:  who reads the master (``monitor``, ``enter``).
Source: pts(4), ioctl_tty(2).
"""

from __future__ import annotations

import fcntl
import os
import struct
import termios

from runtime.rootfs.apply import bind_file

_TIOCSPTLCK, _TIOCGPTN = 0x40045431, 0x80045430


def open_terminal(*, console: bool = False) -> int:
    """Make a pty and take it over. Returns its master. ``console`` also shows it as /dev/console."""
    master = os.open("/dev/pts/ptmx", os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
    fcntl.ioctl(master, _TIOCSPTLCK, struct.pack("i", 0))
    number = struct.unpack("i", fcntl.ioctl(master, _TIOCGPTN, b"\0" * 4))[0]
    name = f"/dev/pts/{number}"
    if console:
        bind_file(name, "/dev/console")
    slave = os.open(name, os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
    fcntl.ioctl(slave, termios.TIOCSCTTY, 0)
    for target in range(3):
        os.dup2(slave, target)
    os.close(slave)
    return master
