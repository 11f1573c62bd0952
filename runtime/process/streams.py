"""Standard input, output and error of a process in a container.

Comes in:  three descriptors, or NULL; the caller has the container's root.
Goes out:  descriptors 0, 1 and 2, and no other one but what is kept.
Not here:  terminals (``terminal``), copying (``relay``).
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Sequence

from runtime.inside import own
from runtime.kernel.libc import close_range

NULL = -1  # stands for the container's own /dev/null


def take(stdio: Sequence[int], *kept: int) -> None:
    """Make ``stdio`` the descriptors 0, 1 and 2; every other one but those ``kept`` is closed.

    A null device that came from the host is exchanged for the container's own. With () (a terminal is made
    later) the three are the container's null device until then.
    """
    wanted = [NULL if fd >= 0 and own.is_null(fd) else fd for fd in stdio or (NULL,) * 3]
    found = [fd if fd >= 0 else own.null() for fd in wanted]
    high = [os.dup(fd) if fd < 3 else fd for fd in found]  # none of them lies where another one goes
    for target, fd in enumerate(high):
        os.dup2(fd, target)
    first = 3
    for fd in sorted(kept):
        if fd > first:
            close_range(first, fd - 1)
        first = fd + 1
    close_range(first)


def give(uid: int) -> None:
    """Let the process open /dev/stdout again: pipes and terminal, all made by us, become its user's."""
    for fd in range(3):
        info = os.fstat(fd)
        if uid and info.st_uid != uid and (stat.S_ISFIFO(info.st_mode) or os.isatty(fd)):
            with contextlib.suppress(OSError):
                os.fchown(fd, uid, -1)
