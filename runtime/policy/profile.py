"""The default seccomp profile, and profiles in Docker's JSON format: which system calls a container may make.

Comes in:  "default" or the text of a profile; capabilities; the machine.
Goes out:  Rules, those that do not apply left out.
Not here:  making a program of them (``runtime.policy.seccomp``).
The default allows what Docker's does: everything but calls that reach beyond the container or into
parts of the kernel with a history, some of them given back with the capability that governs them.
Source: https://docs.docker.com/engine/security/seccomp/; seccomp(2).
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from typing import Any, NamedTuple

ERRNO, ALLOW = 0x00050000, 0x7FFF0000
EPERM, ENOSYS = 1, 38
_ACTIONS = {
    "SCMP_ACT_KILL": 0x00000000,
    "SCMP_ACT_KILL_THREAD": 0x00000000,
    "SCMP_ACT_KILL_PROCESS": 0x80000000,
    "SCMP_ACT_TRAP": 0x00030000,
    "SCMP_ACT_ERRNO": ERRNO,
    "SCMP_ACT_TRACE": 0x7FF00000,
    "SCMP_ACT_LOG": 0x7FFC0000,
    "SCMP_ACT_ALLOW": ALLOW,
}
_OPERATORS = ("NE", "LT", "LE", "EQ", "GE", "GT", "MASKED_EQ")
_GO_NAMES = {"x86_64": "amd64", "i386": "x86", "i686": "x86", "aarch64": "arm64"}


class Argument(NamedTuple):
    """A condition on argument ``position``; MASKED_EQ: argument & value == other; LT32, GT32: of an int."""

    position: int
    operator: str
    value: int
    other: int = 0


class Rule(NamedTuple):
    """``names`` give ``action`` (a SECCOMP_RET_* with its data) when all ``arguments`` hold."""

    names: tuple[str, ...]
    action: int = ALLOW
    arguments: tuple[Argument, ...] = ()


class Profile(NamedTuple):
    """Rules, and the action for calls that no rule names. ``every_arch``: sub-architectures are let in."""

    rules: tuple[Rule, ...]
    default: int = ERRNO | EPERM
    every_arch: bool = True


_ALWAYS = """
accept accept4 access adjtimex alarm bind brk cachestat capget capset chdir chmod chown chown32
clock_adjtime clock_adjtime64 clock_getres clock_getres_time64 clock_gettime clock_gettime64
clock_nanosleep clock_nanosleep_time64 close close_range connect copy_file_range creat dup dup2 dup3
epoll_create epoll_create1 epoll_ctl epoll_ctl_old epoll_pwait epoll_pwait2 epoll_wait epoll_wait_old
eventfd eventfd2 execve execveat exit exit_group faccessat faccessat2 fadvise64 fadvise64_64 fallocate
fanotify_mark fchdir fchmod fchmodat fchmodat2 fchown fchown32 fchownat fcntl fcntl64 fdatasync
fgetxattr flistxattr flock fork fremovexattr fsetxattr fstat fstat64 fstatat64 fstatfs fstatfs64 fsync
ftruncate ftruncate64 futex futex_requeue futex_time64 futex_wait futex_waitv futex_wake futimesat
get_robust_list get_thread_area getcpu getcwd getdents getdents64 getegid getegid32 geteuid geteuid32
getgid getgid32 getgroups getgroups32 getitimer getpeername getpgid getpgrp getpid getppid getpriority
getrandom getresgid getresgid32 getresuid getresuid32 getrlimit getrusage getsid getsockname getsockopt
gettid gettimeofday getuid getuid32 getxattr getxattrat inotify_add_watch inotify_init inotify_init1
inotify_rm_watch io_cancel io_destroy io_getevents io_pgetevents io_pgetevents_time64 io_setup io_submit
ioctl ioprio_get ioprio_set ipc kill landlock_add_rule landlock_create_ruleset landlock_restrict_self
lchown lchown32 lgetxattr link linkat listen listmount listxattr listxattrat llistxattr _llseek
lremovexattr lseek lsetxattr lstat lstat64 madvise map_shadow_stack membarrier memfd_create memfd_secret
mincore mkdir mkdirat mknod mknodat mlock mlock2 mlockall mmap mmap2 mprotect mq_getsetattr mq_notify
mq_open mq_timedreceive mq_timedreceive_time64 mq_timedsend mq_timedsend_time64 mq_unlink mremap mseal
msgctl msgget msgrcv msgsnd msync munlock munlockall munmap name_to_handle_at nanosleep newfstatat
_newselect open openat openat2 pause pidfd_open pidfd_send_signal pipe pipe2 pkey_alloc pkey_free
pkey_mprotect poll ppoll ppoll_time64 prctl pread64 preadv preadv2 prlimit64 process_mrelease pselect6
pselect6_time64 pwrite64 pwritev pwritev2 read readahead readlink readlinkat readv recv recvfrom
recvmmsg recvmmsg_time64 recvmsg remap_file_pages removexattr removexattrat rename renameat renameat2
restart_syscall riscv_hwprobe rmdir rseq rt_sigaction rt_sigpending rt_sigprocmask rt_sigqueueinfo
rt_sigreturn rt_sigsuspend rt_sigtimedwait rt_sigtimedwait_time64 rt_tgsigqueueinfo
sched_get_priority_max sched_get_priority_min sched_getaffinity sched_getattr sched_getparam
sched_getscheduler sched_rr_get_interval sched_rr_get_interval_time64 sched_setaffinity sched_setattr
sched_setparam sched_setscheduler sched_yield seccomp select semctl semget semop semtimedop
semtimedop_time64 send sendfile sendfile64 sendmmsg sendmsg sendto set_robust_list set_thread_area
set_tid_address setfsgid setfsgid32 setfsuid setfsuid32 setgid setgid32 setgroups setgroups32 setitimer
setpgid setpriority setregid setregid32 setresgid setresgid32 setresuid setresuid32 setreuid setreuid32
setrlimit setsid setsockopt setuid setuid32 setxattr setxattrat shmat shmctl shmdt shmget shutdown
sigaltstack signalfd signalfd4 sigprocmask sigreturn socketcall socketpair splice stat stat64 statfs
statfs64 statmount statx symlink symlinkat sync sync_file_range syncfs sysinfo tee tgkill time
timer_create timer_delete timer_getoverrun timer_gettime timer_gettime64 timer_settime timer_settime64
timerfd_create timerfd_gettime timerfd_gettime64 timerfd_settime timerfd_settime64 times tkill truncate
truncate64 ugetrlimit umask uname unlink unlinkat uretprobe utime utimensat utimensat_time64 utimes
vfork vmsplice wait4 waitid waitpid write writev
process_vm_readv process_vm_writev ptrace
"""

# Given with a capability. CAP_SYS_ADMIN's calls make and change namespaces and mounts.
_WITH = {
    "BPF": "bpf",
    "DAC_READ_SEARCH": "open_by_handle_at",
    "PERFMON": "perf_event_open",
    "SYSLOG": "syslog",
    "SYS_ADMIN": "bpf clone clone3 fanotify_init fsconfig fsmount fsopen fspick lookup_dcookie "
    "lsm_get_self_attr lsm_list_modules lsm_set_self_attr mount mount_setattr move_mount open_tree "
    "perf_event_open quotactl quotactl_fd setdomainname sethostname setns syslog umount umount2 unshare",
    "SYS_BOOT": "reboot",
    "SYS_CHROOT": "chroot",
    "SYS_MODULE": "delete_module finit_module init_module",
    "SYS_NICE": "get_mempolicy mbind set_mempolicy set_mempolicy_home_node",
    "SYS_PACCT": "acct",
    "SYS_PTRACE": "kcmp pidfd_getfd process_madvise process_vm_readv process_vm_writev ptrace",
    "SYS_RAWIO": "ioperm iopl",
    "SYS_TIME": "clock_settime clock_settime64 settimeofday stime",
    "SYS_TTY_CONFIG": "vhangup",
}
_ON = {
    "x86_64": "arch_prctl modify_ldt",
    "aarch64": "arm_fadvise64_64 arm_sync_file_range breakpoint cacheflush set_tls sync_file_range2",
}
_PERSONALITIES = (0x0, 0x8, 0x20000, 0x20008, 0xFFFFFFFF)  # Linux, UNAME26 and both with LINUX32, "ask"
_NEW_NAMESPACES = 0x7E020000  # every CLONE_NEW* of clone(2)
_VSOCK = 40  # AF_VSOCK and its neighbour AF_ALG (38) reach the host


def default(capabilities: Collection[str], machine: str) -> Profile:
    """The default profile for a container with ``capabilities`` on ``machine`` (uname -m)."""
    rules = [Rule(tuple(_ALWAYS.split())), *_conditional(capabilities)]
    rules += [Rule(tuple(names.split())) for cap, names in _WITH.items() if cap in capabilities]
    if machine in _ON:
        rules.append(Rule(tuple(_ON[machine].split())))
    return Profile(tuple(rules))


def _conditional(capabilities: Collection[str]) -> Iterator[Rule]:
    """Calls allowed for some arguments only. clone3 hides its flags: ENOSYS makes libc fall back to clone."""
    # The family is an int: the kernel does not look at the upper half of the register.
    yield Rule(("socket",), arguments=(Argument(0, "LT32", 38),))
    yield Rule(("socket",), arguments=(Argument(0, "MASKED_EQ", 0xFFFFFFFF, 39),))
    yield Rule(("socket",), arguments=(Argument(0, "GT32", _VSOCK),))
    for value in _PERSONALITIES:
        yield Rule(("personality",), arguments=(Argument(0, "EQ", value),))
    if "SYS_ADMIN" not in capabilities:
        yield Rule(("clone",), arguments=(Argument(0, "MASKED_EQ", _NEW_NAMESPACES),))
        yield Rule(("clone3",), ERRNO | ENOSYS)


def parse(text: str, capabilities: Collection[str], machine: str) -> Profile:
    """Read a profile in Docker's JSON format. Raises ValueError saying what is wrong with it."""
    try:
        data = json.loads(text)
        rules = [
            rule for entry in data.get("syscalls") or () for rule in _entry(entry, capabilities, machine)
        ]
        action = _action(data["defaultAction"], data.get("defaultErrnoRet"))
        every = (
            any(row.get("subArchitectures") for row in data.get("archMap") or ()) or "architectures" in data
        )
        return Profile(tuple(rules), action, every)
    except (KeyError, TypeError, AttributeError, json.JSONDecodeError) as error:
        raise ValueError(f"not a seccomp profile: {type(error).__name__}: {error}") from None


def _entry(entry: Mapping[str, Any], capabilities: Collection[str], machine: str) -> Iterator[Rule]:
    includes, excludes = entry.get("includes") or {}, entry.get("excludes") or {}
    held = {f"CAP_{name}" for name in capabilities}
    arch = _GO_NAMES.get(machine, machine)
    if not held.issuperset(includes.get("caps") or ()) or held.intersection(excludes.get("caps") or ()):
        return
    if (includes.get("arches") and arch not in includes["arches"]) or arch in (excludes.get("arches") or ()):
        return
    names = tuple(entry.get("names") or [entry["name"]])
    arguments = tuple(_argument(row) for row in entry.get("args") or ())
    yield Rule(names, _action(entry["action"], entry.get("errnoRet")), arguments)


def _argument(row: Mapping[str, Any]) -> Argument:
    operator = str(row["op"]).removeprefix("SCMP_CMP_")
    if operator not in _OPERATORS:
        raise ValueError(f"'{row['op']}' is no operator of a seccomp profile")
    return Argument(int(row["index"]), operator, int(row["value"]), int(row.get("valueTwo") or 0))


def _action(name: str, errno: int | None) -> int:
    if name not in _ACTIONS:
        raise ValueError(f"'{name}' is no action of a seccomp profile")
    action = _ACTIONS[name]
    if action in (ERRNO, _ACTIONS["SCMP_ACT_TRACE"]):
        return action | (EPERM if errno is None else errno)
    return action
