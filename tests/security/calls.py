"""System calls that a container must not get through with, made for real.

Comes in:  nothing.
Goes out:  CALLS: name -> the calls of one attempt; ``refused`` judges what the last of them returned.
Not here:  running them (``table``).

Arguments are such that nothing happens should a call be let through: pointers and descriptors lead nowhere,
magic numbers are wrong. An error that is not a refusal then tells that the call came too far.
Source: moby, profiles/seccomp/default.json; arch/x86/entry/syscalls.
"""

from __future__ import annotations

import errno
import struct
from collections.abc import Mapping, Sequence

from tests.security.machine_code import UNTOUCHED, Call, Result

_BAD, _FD = 1, 9999  # an address and a descriptor that are none
_REFUSED = {errno.EPERM, errno.EACCES, errno.ENOSYS}
_CHILD = 17  # SIGCHLD, what clone(2) sends
_SPACES = {
    "mount": 0x20000,
    "cgroup": 0x2000000,
    "uts": 0x4000000,
    "ipc": 0x8000000,
    "user": 0x10000000,
    "pid": 0x20000000,
    "network": 0x40000000,
    "time": 0x80,
}

_NUMBERS = {  # native number, arguments
    "add_key": (248, (b"user\0", b"x\0", b"x", 1, -3)),
    "request_key": (249, (b"user\0", b"x\0", 0, -3)),
    "keyctl get_keyring_ID": (250, (0, -3, 0)),
    "keyctl join_session_keyring": (250, (1, 0)),
    "bpf": (321, (0, _BAD, 0)),
    "perf_event_open": (298, (_BAD, 0, -1, -1, 0)),
    "userfaultfd": (323, (0,)),
    "open_by_handle_at CVE-2014-3519 (shocker)": (304, (_FD, _BAD, 0)),
    "mount": (165, (_BAD, _BAD, _BAD, 0, 0)),
    "umount2": (166, (_BAD, 0)),
    "pivot_root": (155, (_BAD, _BAD)),
    "setns": (308, (_FD, 0)),
    "fsopen": (430, (_BAD, 0)),
    "fsconfig": (431, (_FD, 0, 0, 0, 0)),
    "fsmount": (432, (_FD, 0, 0)),
    "fspick": (433, (_FD, _BAD, 0)),
    "open_tree": (428, (_FD, _BAD, 0)),
    "open_tree_attr": (467, (_FD, _BAD, 0, 0, 0)),
    "move_mount": (429, (_FD, _BAD, _FD, _BAD, 0)),
    "mount_setattr": (442, (_FD, _BAD, 0, 0, 0)),
    "kcmp": (312, (1, 1, 0, 0, 0)),
    "pidfd_getfd": (438, (_FD, 0, 0)),
    "process_madvise": (440, (_FD, _BAD, 1, 4, 0)),
    "io_uring_setup": (425, (1, _BAD)),
    "io_uring_enter": (426, (_FD, 0, 0, 0, 0)),
    "io_uring_register": (427, (_FD, 0, 0, 0)),
    "personality ADDR_NO_RANDOMIZE": (135, (0x40000,)),
    "personality READ_IMPLIES_EXEC": (135, (0x400000,)),
    "personality ADDR_COMPAT_LAYOUT": (135, (0x200000,)),
    "kexec_load": (246, (0, 0, 0, -1)),
    "kexec_file_load": (320, (_FD, _FD, 0, 0, -1)),
    "create_module": (174, (_BAD, 0)),
    "init_module": (175, (_BAD, 0, _BAD)),
    "delete_module": (176, (_BAD, 0)),
    "get_kernel_syms": (177, (_BAD,)),
    "query_module": (178, (_BAD, 0, 0, 0, 0)),
    "finit_module": (313, (_FD, _BAD, 0)),
    "reboot": (169, (1, 2, 3, 0)),
    "swapon": (167, (_BAD, 0)),
    "swapoff": (168, (_BAD,)),
    "acct": (163, (_BAD,)),
    "quotactl": (179, (0xFFFFFF, _BAD, 0, 0)),
    "quotactl_fd": (443, (_FD, 0xFFFFFF, 0, 0)),
    "syslog read": (103, (3, _BAD, 1)),
    "syslog clear": (103, (99, _BAD, 1)),
    "iopl": (172, (9,)),
    "ioperm": (173, (0x70000, 1, 1)),
    "settimeofday": (164, (_BAD, 0)),
    "clock_settime": (227, (0, _BAD)),
    "adjtimex": (159, (bytes((1,)) + bytes(207),)),
    "clock_adjtime": (305, (0, bytes((1,)) + bytes(207))),
    "uselib": (134, (_BAD,)),
    "ustat": (136, (0, _BAD)),
    "sysfs": (139, (99, 0, 0)),
    "vhangup": (153, ()),
    "lookup_dcookie": (212, (0, _BAD, 0)),
    "fanotify_init": (300, (-1, -1)),
    "mbind": (237, (_BAD, 1, 99, 0, 0, 0)),
    "set_mempolicy": (238, (99, 0, 0)),
    "get_mempolicy": (239, (_BAD, 0, 0, 0, 0)),
    "migrate_pages": (256, (0, 0, 0, 0)),
    "move_pages": (279, (0, 0, 0, 0, 0, 0)),
    "set_mempolicy_home_node": (450, (0, 0, 0, 0)),
    "sethostname": (170, (_BAD, 1)),
    "setdomainname": (171, (_BAD, 1)),
    "_sysctl": (156, (_BAD,)),
    "nfsservctl": (180, (0, 0, 0)),
    "getpmsg": (181, ()),
    "putpmsg": (182, ()),
    "afs_syscall": (183, ()),
    "tuxcall": (184, ()),
    "security": (185, ()),
    "epoll_ctl_old": (214, ()),
    "epoll_wait_old": (215, ()),
    "vserver": (236, ()),
    "clone3 (the filter cannot see its flags)": (435, (_BAD, 0)),
    "socket AF_VSOCK": (41, (40, 1, 0)),
    "socket AF_VSOCK below other bits": (41, (1 << 32 | 40, 1, 0)),
    "socket AF_ALG": (41, (38, 5, 0)),
    "socket AF_ALG below other bits": (41, (1 << 32 | 38, 5, 0)),
    "lsm_set_self_attr": (460, (0, _BAD, 0, 0)),
    "sched_setattr deadline": (314, (0, struct.pack("<IIQiIQQQ", 48, 6, 0, 0, 0, 10**7, 10**8, 10**8), 0)),
    "setpriority above": (141, (0, 0, -20)),
    "sched_setscheduler real time": (144, (0, 1, bytes((1, 0, 0, 0)))),
    "mlock of more than the limit": (149, (0x30000000, 1 << 40)),
    "prlimit of a higher hard limit": (302, (0, 7, b"\xff" * 7 + b"\x7f" + b"\xff" * 7 + b"\x7f", 0)),
}

_OLD = {  # the same by int 0x80, numbers of the 32-bit table
    "mount": (21, (_BAD, _BAD, _BAD, 0, 0)),
    "umount": (22, (_BAD,)),
    "umount2": (52, (_BAD, 0)),
    "stime": (25, (_BAD,)),
    "acct": (51, (_BAD,)),
    "sethostname": (74, (_BAD, 1)),
    "settimeofday": (79, (_BAD, 0)),
    "uselib": (86, (_BAD,)),
    "swapon": (87, (_BAD, 0)),
    "reboot": (88, (1, 2, 3, 0)),
    "ioperm": (101, (0x70000, 1, 1)),
    "syslog": (103, (99, _BAD, 1)),
    "iopl": (110, (9,)),
    "vm86old": (113, (_BAD,)),
    "swapoff": (115, (_BAD,)),
    "create_module": (127, (_BAD, 0)),
    "init_module": (128, (_BAD, 0, _BAD)),
    "delete_module": (129, (_BAD, 0)),
    "quotactl": (131, (0xFFFFFF, _BAD, 0, 0)),
    "bdflush": (134, (0, 0)),
    "sysfs": (135, (99, 0, 0)),
    "_sysctl": (149, (_BAD,)),
    "vm86": (166, (99, _BAD)),
    "nfsservctl": (169, (0, 0, 0)),
    "pivot_root": (217, (_BAD, _BAD)),
    "clock_settime": (264, (0, _BAD)),
    "kexec_load": (283, (0, 0, 0, -1)),
    "add_key": (286, (_BAD, _BAD, 0, 0, -3)),
    "request_key": (287, (_BAD, _BAD, 0, -3)),
    "keyctl": (288, (0, -3, 0)),
    "unshare user": (310, (_SPACES["user"],)),
    "perf_event_open": (336, (_BAD, 0, -1, -1, 0)),
    "fanotify_init": (338, (-1, -1)),
    "open_by_handle_at": (342, (_FD, _BAD, 0)),
    "setns": (346, (_FD, 0)),
    "kcmp": (349, (1, 1, 0, 0, 0)),
    "finit_module": (350, (_FD, _BAD, 0)),
    "bpf": (357, (0, _BAD, 0)),
    "userfaultfd": (374, (0,)),
    "clock_settime64": (404, (0, _BAD)),
    "io_uring_setup": (425, (1, _BAD)),
    "open_tree": (428, (_FD, _BAD, 0)),
    "move_mount": (429, (_FD, _BAD, _FD, _BAD, 0)),
    "fsopen": (430, (_BAD, 0)),
    "clone3": (435, (_BAD, 0)),
    "socket AF_VSOCK": (359, (40, 1, 0)),
    "socket AF_ALG": (359, (38, 5, 0)),
}
# By the x32 table, whose numbers are the native ones.
_X32 = "mount umount2 bpf keyctl add_key userfaultfd setns unshare open_tree fsopen reboot"


def _all() -> dict[str, tuple[Call, ...]]:
    found = {name: (Call(number, words),) for name, (number, words) in _NUMBERS.items()}
    found |= {f"unshare {kind}": (Call(272, (flag,)),) for kind, flag in _SPACES.items()}
    found |= {
        f"clone {kind}": (Call(56, (flag | _CHILD, 0, 0, 0, 0)),)
        for kind, flag in _SPACES.items()
        if kind != "time"  # CLONE_NEWTIME is a signal number to clone(2)
    }
    found |= {f"int 0x80 {name}": (Call(number, words, "32"),) for name, (number, words) in _OLD.items()}
    for name in _X32.split():
        full = next((one for one in _NUMBERS if one.split()[0] == name), "")
        number, words = _NUMBERS[full] if full else (272, (_SPACES["user"],))
        found[f"x32 {name}"] = (Call(number, words, "x32"),)
    found["TIOCSTI on the own terminal"] = (Call(16, (0, 0x5412, b"x")),)
    found["open_by_handle_at of the root CVE-2014-3519"] = (
        Call(257, (-100, b"/\0", 0x10000, 0)),
        Call(304, (Result(0), bytes((8, 0, 0, 0, 1, 0, 0, 0, 2)) + bytes(7), 0)),
    )
    return found


CALLS: Mapping[str, Sequence[Call]] = _all()
# What else counts as refused, by name: the call goes by nothing that only rights give.
_ALSO = {
    "TIOCSTI on the own terminal": {errno.ENOTTY, errno.EIO},
    "mlock of more than the limit": {errno.ENOMEM},
    "prlimit of a higher hard limit": {errno.EINVAL},
    "lsm_set_self_attr": {errno.EOPNOTSUPP, errno.EINVAL, errno.EFAULT},
    "quotactl_fd": {errno.EBADF},
}


def refused(name: str, result: int) -> bool:
    """Whether the kernel or the filter refused; a killed process counts."""
    return result == UNTOUCHED or -result in _REFUSED | _ALSO.get(name, set())


def word(result: int) -> str:
    """A result as the table shows it."""
    if result == UNTOUCHED:
        return "killed"
    return errno.errorcode.get(-result, str(result)) if result < 0 else f"returned {result}"
