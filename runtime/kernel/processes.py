"""Processes: prctl(2), pidfd queries, pipes duplicated without reading.

Comes in:  process ids and descriptors.
Goes out:  numbers, or nothing.
Not here:  capabilities and seccomp, which have modules of their own.
"""

from __future__ import annotations

import ctypes
import fcntl
import struct

from runtime.kernel.libc import LIBC, failure, syscall

# include/uapi/linux/prctl.h
PR_SET_PDEATHSIG = 1
PR_SET_DUMPABLE = 4
PR_SET_KEEPCAPS = 8
PR_SET_NAME = 15
PR_CAPBSET_READ = 23
PR_CAPBSET_DROP = 24
PR_SET_CHILD_SUBREAPER = 36
PR_SET_NO_NEW_PRIVS = 38
PR_CAP_AMBIENT = 47
PR_CAP_AMBIENT_CLEAR_ALL = 4

_GET_INFO = 0xC000FF0B  # _IOWR(0xFF, 11, struct pidfd_info of 64 bytes) with the size set below
_INFO_SIZE = 64
_INFO_EXIT = 1 << 3


def prctl(option: int, first: int = 0, second: int = 0) -> int:
    """prctl(2) with up to two numbers after ``option``. Returns what the call returns."""
    words = [ctypes.c_ulong(word) for word in (first, second, 0, 0)]
    result: int = LIBC.prctl(ctypes.c_int(option), *words)
    if result == -1:
        raise failure("prctl")
    return result


def set_subreaper(on: bool) -> None:
    """prctl(2), PR_SET_CHILD_SUBREAPER: whether orphans below us become our children."""
    if LIBC.prctl(PR_SET_CHILD_SUBREAPER, int(on), 0, 0, 0) == -1:
        raise failure("prctl")


def set_name(name: str) -> None:
    """prctl(2), PR_SET_NAME: the 15 bytes that ps shows as the command's name."""
    if LIBC.prctl(ctypes.c_int(PR_SET_NAME), ctypes.c_char_p(name.encode()[:15]), 0, 0, 0) == -1:
        raise failure("prctl")


def pidfd_exit_status(pidfd: int) -> int | None:
    """ioctl(2), PIDFD_GET_INFO: the wait status of a process that is gone, whoever its parent was.

    ``pidfd`` must have been opened before the process was reaped. None before Linux 6.15, or
    while it has not been reaped. Source: include/uapi/linux/pidfd.h.
    """
    info = bytearray(_INFO_SIZE)
    struct.pack_into("<Q", info, 0, _INFO_EXIT)
    try:
        fcntl.ioctl(pidfd, _GET_INFO | _INFO_SIZE << 16, info)
    except OSError:
        return None
    mask, status = struct.unpack_from("<Q", info, 0)[0], struct.unpack_from("<i", info, 60)[0]
    return status if mask & _INFO_EXIT else None


def tee(source: int, target: int, size: int) -> int:
    """tee(2): duplicate up to ``size`` bytes of one pipe into another without consuming them.

    Never blocks (SPLICE_F_NONBLOCK): BlockingIOError when the source is empty or the target full.
    """
    return syscall("tee", source, target, size, 2)
