"""Pseudo terminals of a container, made in its own devpts.

Comes in:  a process inside the container's mount namespace and a session of its own.
Goes out:  the master; the slave is the controlling terminal and standard input, output and error.
Not here:  who reads the master (``monitor``, ``relay``).
Source: pts(4), ioctl_tty(2): TIOCGPTPEER opens the slave without looking its name up.
"""

from __future__ import annotations

import fcntl
import os
import struct
import termios
from collections.abc import Sequence

from runtime.inside import own
from runtime.inside.paths import place
from runtime.rootfs.apply import bind_file

_TIOCSPTLCK, _TIOCGPTPEER = 0x40045431, 0x5441


def open_terminal(*, console: bool = False, window: Sequence[int] = ()) -> int:
    """Make a pty and take it over. Returns its master. ``console`` also shows it as /dev/console.

    window: rows and columns, () for an unknown size.
    Raises OSError ENODEV when the container's /dev/pts/ptmx is something else.
    """
    master = own.multiplexer()
    fcntl.ioctl(master, _TIOCSPTLCK, struct.pack("i", 0))
    slave = fcntl.ioctl(master, _TIOCGPTPEER, os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
    if window:
        fcntl.ioctl(master, termios.TIOCSWINSZ, struct.pack("HHHH", *window[:2], 0, 0))
    if console:
        bind_file(place(slave), "/dev/console")
    fcntl.ioctl(slave, termios.TIOCSCTTY, 0)
    for target in range(3):
        os.dup2(slave, target)
    os.close(slave)
    return master
