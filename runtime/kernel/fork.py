"""fork(2) into a control group.

Comes in:  the descriptor of a cgroup v2 directory.
Goes out:  a child, whose interpreter is as after ``os.fork``.
Not here:  which group (``runtime.cgroup.birth``).
"""

from __future__ import annotations

import ctypes
import signal
import struct

from runtime.kernel.libc import failure

_CLONE3 = 435  # the same on every architecture
_INTO_CGROUP = 0x200000000
# PyDLL keeps the interpreter's lock during the call, as os.fork does.
_SYSCALL = ctypes.PyDLL(None, use_errno=True).syscall
_SYSCALL.restype = ctypes.c_long


def fork_into(cgroup: int) -> int:
    """clone3(2), CLONE_INTO_CGROUP: a child that begins in ``cgroup``; 0 in the child. Linux 5.7.

    Joining later takes a lock that waits for an RCU grace period, about 7 ms; this does not.
    Only for single-threaded processes: C library's handlers of fork do not run, Python's do.
    Raises OSError: ENOSYS, EOPNOTSUPP (threaded group), EBUSY (an inner node), EPERM, EACCES.
    """
    words = [0] * 11
    words[0], words[4], words[10] = _INTO_CGROUP, signal.SIGCHLD, cgroup
    arguments = ctypes.create_string_buffer(struct.pack("=11Q", *words), 88)
    call = (ctypes.c_long(_CLONE3), ctypes.byref(arguments), ctypes.c_size_t(88))
    ctypes.pythonapi.PyOS_BeforeFork()
    pid: int = _SYSCALL(*call)
    if pid == 0:
        ctypes.pythonapi.PyOS_AfterFork_Child()
        return 0
    error = failure("clone3") if pid < 0 else None
    ctypes.pythonapi.PyOS_AfterFork_Parent()
    if error is not None:
        raise error
    return pid
