"""Namespaces: leaving, joining, naming.

Comes in:  kinds of namespace and descriptors.
Goes out:  nothing; the calling process has changed.
Not here:  which namespaces a container gets (``runtime.process.launch``).
"""

from __future__ import annotations

import ctypes
from enum import IntFlag

from runtime.kernel.libc import LIBC, failure


class Clone(IntFlag):
    """CLONE_NEW* of include/uapi/linux/sched.h."""

    NONE = 0
    NEWNS = 0x00020000
    NEWCGROUP = 0x02000000
    NEWUTS = 0x04000000
    NEWIPC = 0x08000000
    NEWUSER = 0x10000000
    NEWPID = 0x20000000
    NEWNET = 0x40000000


def unshare(flags: Clone) -> None:
    """unshare(2): give the caller namespaces of its own; NEWPID concerns its next children only."""
    if LIBC.unshare(ctypes.c_int(int(flags))) == -1:
        raise failure("unshare")


def setns(fd: int, flags: Clone = Clone.NONE) -> None:
    """setns(2): join the namespace of ``fd``; with a pidfd all kinds of ``flags`` at once (Linux 5.8)."""
    if LIBC.setns(ctypes.c_int(fd), ctypes.c_int(int(flags))) == -1:
        raise failure("setns")


def sethostname(name: str) -> None:
    """sethostname(2): at most 64 bytes, in this process's UTS namespace."""
    raw = name.encode()
    if LIBC.sethostname(raw, ctypes.c_size_t(len(raw))) == -1:
        raise failure("sethostname", name)


def setdomainname(name: str) -> None:
    """setdomainname(2): the NIS domain of this process's UTS namespace, at most 64 bytes."""
    raw = name.encode()
    if LIBC.setdomainname(raw, ctypes.c_size_t(len(raw))) == -1:
        raise failure("setdomainname", name)
