"""seccomp(2): load a filter into the calling thread.

Comes in:  a classic BPF program as bytes, 8 per instruction.
Goes out:  nothing; the thread is confined from here on.
Not here:  making the program (``runtime.policy.seccomp``).
"""

from __future__ import annotations

import ctypes

from runtime.kernel.libc import syscall


class _Program(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("filter", ctypes.c_char_p)]


def load(program: bytes) -> None:
    """seccomp(2), SECCOMP_SET_MODE_FILTER: confine this thread and what it will execute.

    program: struct sock_filter[], at most 4096 of them.
    EACCES: neither no_new_privs nor CAP_SYS_ADMIN. EINVAL: the program is malformed.
    """
    head = _Program(len(program) // 8, program)
    syscall("seccomp", 1, 0, ctypes.byref(head))
