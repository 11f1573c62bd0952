"""Fork a child that lives in a control group.

Comes in:  a Group whose directories exist.
Goes out:  a child in it.
Not here:  making the group and its limits (``apply``). Light: ``exec`` uses this alone.

A process that joins a group waits for a grace period of the kernel, 7 ms and more; under load, joins wait for
each other. A child that is born in its v2 group, and a single thread that moves itself in v1, do not.
"""

from __future__ import annotations

import os

from runtime.cgroup.layout import Group
from runtime.kernel.fork import fork_into


def fork(group: Group) -> tuple[int, bool]:
    """Fork; returns (0, born) in the child, which calls ``settle``, and (pid, born) in the parent.

    born: whether the child is in its v2 group already. The caller must be single-threaded.
    """
    unified = group.layout.unified
    if unified is not None:
        try:
            directory = os.open(unified / group.name, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError:
            return os.fork(), False
        try:
            return fork_into(directory), True
        except OSError:  # an old kernel, or a group that takes no process: settle says what is wrong
            pass
        finally:
            os.close(directory)
    return os.fork(), False


def settle(group: Group, *, born: bool) -> None:
    """Move the calling process, which has one thread, to where it was not ``born``."""
    for root in group.layout.roots():
        if root != group.layout.unified:
            _put(f"{root}/{group.name}/tasks")
        elif not born:
            _put(f"{root}/{group.name}/cgroup.procs")


def _put(path: str) -> None:
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        os.write(fd, b"0")
    finally:
        os.close(fd)
