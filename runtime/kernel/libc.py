"""The C library as this process has it: raw system calls and how they fail.

Comes in:  a call and its words.
Goes out:  its result, or an OSError naming the call.
Not here:  the calls themselves; see the sibling modules.
"""

from __future__ import annotations

import ctypes
import os
from pathlib import Path

LIBC = ctypes.CDLL(None, use_errno=True)
LIBC.syscall.restype = ctypes.c_long

# Source: arch/x86/entry/syscalls/syscall_64.tbl, include/uapi/asm-generic/unistd.h.
_X86_64 = {
    "pivot_root": 155,
    "capget": 125,
    "capset": 126,
    "seccomp": 317,
    "bpf": 321,
    "tee": 276,
    "keyctl": 250,
    "renameat2": 316,
}
_GENERIC = {
    "pivot_root": 41,
    "capget": 90,
    "capset": 91,
    "seccomp": 277,
    "bpf": 280,
    "tee": 77,
    "keyctl": 219,
    "renameat2": 276,
}
# Numbers from 424 on are the same on every architecture.
_COMMON = {"open_tree": 428, "move_mount": 429, "close_range": 436, "openat2": 437, "mount_setattr": 442}
NUMBERS = {**(_X86_64 if os.uname().machine == "x86_64" else _GENERIC), **_COMMON}


def failure(call: str, path: str | Path | int = "") -> OSError:
    """Make the OSError for ``call`` from this thread's errno; ``path`` is what it was about."""
    number = ctypes.get_errno()
    text = f"{call}(2): {os.strerror(number)}"
    return OSError(number, text, str(path)) if path != "" else OSError(number, text)


def syscall(name: str, *words: object, about: str | Path | int = "") -> int:
    """syscall(2): run ``name`` with ``words`` (ints as long, None as NULL, ctypes values as they are).

    Raises OSError naming the call and ``about``. KeyError for a name that NUMBERS does not have.
    """
    longs = [ctypes.c_long(word) if isinstance(word, int) else word for word in words]
    result: int = LIBC.syscall(ctypes.c_long(NUMBERS[name]), *longs)
    if result == -1:
        raise failure(name, about)
    return result


def close_range(first: int, last: int = 0xFFFFFFFF, *, cloexec: bool = False) -> None:
    """close_range(2): close (or mark close-on-exec) every descriptor from ``first`` to ``last``."""
    syscall("close_range", first, last, 4 if cloexec else 0)
