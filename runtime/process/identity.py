"""Become the process that a container asked for: user, limits, capabilities, seccomp, execve.

Comes in:  an Identity; the caller is inside the container's namespaces and root.
Goes out:  the program runs (``execute`` does not return), or a RuntimeFailure says why not.
The order: ``give_up`` what the program may not have, then look at the container's files (``find_user``), then
``execute``. Nothing inside decides about rights.
Not here:  namespaces and mounts (``runtime.process.launch``), exec's joining (``runtime.process.enter``).
"""

from __future__ import annotations

import errno
import os
import resource
import signal
import stat
from collections.abc import Mapping, Sequence
from pathlib import Path

from runtime.errors import CommandNotFound, NotExecutable, RuntimeFailure
from runtime.inside import own
from runtime.kernel import processes, seccomp
from runtime.kernel.capabilities import Capabilities, capget, capset
from runtime.kernel.libc import close_range
from runtime.kernel.processes import prctl
from runtime.policy.capabilities import NAMES, mask, named
from runtime.policy.users import UnknownUser, User, look_up
from runtime.spec import DEFAULT_PATH, ContainerSpec, ExecSpec, Ulimit
from schemas.frozen import dataclass

# Until the program runs: for the change of user and for loading the filter without no_new_privs.
_NEEDED = mask(("SETUID", "SETGID", "SETPCAP", "SYS_ADMIN"))
_MOST = 64  # capabilities that a set has room for
RLIMIT_LOCKS = 10  # resource(7) of Python has no name for it; asm-generic/resource.h
_RESET = (signal.SIGPIPE, signal.SIGXFSZ, signal.SIGINT, signal.SIGTERM, signal.SIGCHLD, signal.SIGHUP)


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """What of a spec matters from the gate to execve(2); ``filter`` is a seccomp program or b""."""

    argv: tuple[str, ...]
    env: tuple[str, ...]
    user: str
    groups: tuple[str, ...]
    working_dir: str
    capabilities: int
    filter: bytes
    no_new_privileges: bool
    ulimits: tuple[Ulimit, ...] = ()
    oom_score_adj: int | None = None
    tty: bool = False
    hostname: str = ""


def of_container(spec: ContainerSpec, filter: bytes) -> Identity:
    """The identity of pid 1."""
    return Identity(
        argv=spec.argv,
        env=spec.env,
        user=spec.user,
        groups=spec.groups,
        working_dir=spec.working_dir or "/",
        capabilities=mask(NAMES if spec.privileged else spec.capabilities),
        filter=filter,
        no_new_privileges=spec.no_new_privileges,
        ulimits=spec.ulimits,
        oom_score_adj=spec.oom_score_adj,
        tty=spec.tty,
        hostname=spec.hostname or spec.id[:12],
    )


def of_exec(spec: ContainerSpec, run: ExecSpec, filter: bytes) -> Identity:
    """The identity of a further process: the container's, changed by ``run``."""
    return Identity(
        argv=run.argv,
        env=(*spec.env, *run.env),
        user=run.user or spec.user,
        groups=spec.groups,
        working_dir=run.working_dir or spec.working_dir or "/",
        capabilities=mask(NAMES if run.privileged or spec.privileged else spec.capabilities),
        filter=filter,
        no_new_privileges=spec.no_new_privileges,
        ulimits=spec.ulimits,
        oom_score_adj=spec.oom_score_adj,
        tty=run.tty,
        hostname=spec.hostname or spec.id[:12],
    )


def find_user(identity: Identity) -> User:
    """Look the user up in this root's own files. Raises RuntimeFailure when it is not there."""
    try:
        passwd, group = own.text("/etc/passwd"), own.text("/etc/group")
        return look_up(identity.user, identity.groups, passwd, group)
    except UnknownUser as error:
        text = f"unable to find user: {error}"
        raise RuntimeFailure(text, hint="see 'user:' of the service", exit_code=1) from None


def environment(identity: Identity, user: User) -> dict[str, str]:
    """The variables of the process: what was asked for, and PATH, HOSTNAME, HOME, TERM when missing."""
    asked = dict(pair.partition("=")[::2] for pair in identity.env)
    missing = {"PATH": DEFAULT_PATH, "HOSTNAME": identity.hostname, "HOME": user.home or "/"}
    if identity.tty:
        missing["TERM"] = "xterm"
    return {**missing, **asked} if asked.get("HOME") else {**missing, **asked, "HOME": missing["HOME"]}


def limits(identity: Identity) -> list[str]:
    """Set rlimits. Returns warnings: raising needs CAP_SYS_RESOURCE."""
    warnings = []
    for limit in identity.ulimits:
        number = {"locks": RLIMIT_LOCKS}.get(limit.name) or getattr(
            resource, f"RLIMIT_{limit.name.upper()}", None
        )
        if number is None:
            raise RuntimeFailure(f"'{limit.name}' is no resource limit", hint="see 'ulimits:' of the service")
        warnings += _limit(limit, number)
    return warnings


def oom_score(score: int | None) -> list[str]:
    """Set oom_score_adj of this process through the host's /proc. Returns warnings."""
    if score is None:
        return []
    try:
        Path("/proc/self/oom_score_adj").write_text(str(score))
        return []
    except OSError:
        return [f"oom_score_adj {score} has no effect: lowering it needs CAP_SYS_RESOURCE"]


def give_up(identity: Identity) -> None:
    """Give up every capability that neither the program may have nor its start needs.

    How many there are is the kernel's to say (EINVAL), not a file's.
    """
    held = capget().permitted
    wanted = identity.capabilities & held
    for number in range(_MOST):
        if wanted >> number & 1:
            continue
        try:
            prctl(processes.PR_CAPBSET_DROP, number)
        except OSError as error:
            if error.errno != errno.EINVAL:
                raise
            break
    capset(Capabilities(wanted, held & (wanted | _NEEDED), 0))


def execute(identity: Identity, user: User, *, deathsig: bool = False) -> None:
    """Take on ``identity`` and run its program; returns only by raising RuntimeFailure.

    deathsig: die (SIGKILL) with the parent process. The order is the kernel's: the filter needs
    CAP_SYS_ADMIN (unless no_new_privs is set), so it is loaded before the capabilities go.
    """
    env = environment(identity, user)
    _change_directory(identity, last=False)
    wanted = _take_user(identity, user)
    program = search(identity.argv[0], env)
    _reset_signals()
    close_range(3, cloexec=True)
    _lock_in(identity, wanted, deathsig=deathsig)
    _change_directory(identity, last=True)
    program = program or search(identity.argv[0], env)
    _exec(program, identity.argv, env)


def confine(identity: Identity, user: User, *, deathsig: bool = False) -> None:
    """Keep running, as ``user`` and with no more rights than the program of ``identity`` gets."""
    _lock_in(identity, _take_user(identity, user), deathsig=deathsig)


def _take_user(identity: Identity, user: User) -> int:
    """Change user and groups after ``give_up``. Returns the final mask of capabilities."""
    held = capget().permitted
    capset(Capabilities(held, held, 0))
    prctl(processes.PR_SET_KEEPCAPS, 1)
    os.setgroups(user.groups)
    os.setresgid(user.gid, user.gid, user.gid)
    os.setresuid(user.uid, user.uid, user.uid)
    if identity.no_new_privileges:
        prctl(processes.PR_SET_NO_NEW_PRIVS, 1)
    capset(Capabilities(held, held, 0))
    return identity.capabilities & held if user.uid == 0 else 0


def _lock_in(identity: Identity, wanted: int, *, deathsig: bool) -> None:
    if deathsig:  # after setresuid(2), which clears it
        prctl(processes.PR_SET_PDEATHSIG, signal.SIGKILL)
    if identity.filter:
        seccomp.load(identity.filter)
    capset(Capabilities(wanted, wanted, 0))


def search(name: str, env: Mapping[str, str]) -> str:
    """Find ``name`` in PATH as execvp(3) does. Raises CommandNotFound or NotExecutable.

    With a slash in it the name is taken as it is, relative to the working directory.
    """
    if "/" in name:
        return name
    refused = ""
    for directory in env.get("PATH", DEFAULT_PATH).split(":"):
        path = f"{directory or '.'}/{name}"
        mode = own.mode(path)
        if stat.S_ISREG(mode) and mode & 0o111:
            return path
        refused = refused or (path if mode else "")
    if refused and not stat.S_ISDIR(own.mode(refused)):
        raise NotExecutable(f"exec: '{refused}': permission denied", hint="make it executable (chmod +x)")
    raise CommandNotFound(
        f"exec: '{name}': executable file not found in $PATH", hint="check the command, or give its full path"
    )


def _exec(program: str, argv: Sequence[str], env: Mapping[str, str]) -> None:
    try:
        os.execve(program, list(argv), dict(env))
    except OSError as error:
        why = (error.strerror or "").lower()
        if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
            there = bool(own.mode(program))
            hint = (
                "its interpreter (#! line or loader) is missing in the image" if there else "check the path"
            )
            raise CommandNotFound(f"exec: '{program}': {why}", hint=hint) from None
        hint = "no #! line, or built for another processor" if error.errno == errno.ENOEXEC else ""
        raise NotExecutable(f"exec: '{program}': {why}", hint=hint) from None


def _change_directory(identity: Identity, *, last: bool) -> None:
    """Before the user changes, for directories only root may reach; after it for the others (NFS, FUSE)."""
    path = identity.working_dir
    try:
        own.change_directory(path)
    except PermissionError as error:
        if last and Path.cwd() == Path(path):
            return
        if last:
            raise RuntimeFailure(f"working directory '{path}': {error.strerror}") from None
    except OSError as error:
        why = os.strerror(error.errno or 0).lower()
        if error.errno == errno.ELOOP:
            why = "it leads through a link of /proc, out of the container's root"
        text = f"working directory '{path}': {why}"
        raise RuntimeFailure(text, hint="see 'working_dir:'", exit_code=127) from None


def _limit(limit: Ulimit, number: int) -> list[str]:
    soft, hard = (resource.RLIM_INFINITY if n < 0 else n for n in (limit.soft, limit.hard))
    try:
        resource.setrlimit(number, (soft, hard))
        return []
    except (ValueError, OSError):
        most = resource.getrlimit(number)[1]
        least = most if soft == resource.RLIM_INFINITY else min(soft, most) if most >= 0 else soft
        resource.setrlimit(number, (least, most))
        shown = "unlimited" if most == resource.RLIM_INFINITY else most
        return [f"ulimit {limit.name}: cannot be raised above {shown} here (no CAP_SYS_RESOURCE)"]


def missing_capabilities(identity: Identity) -> list[str]:
    """Warnings for capabilities that were asked for and that we do not have ourselves."""
    lacking = identity.capabilities & ~capget().permitted
    return [f"capability {name} is not available here" for name in named(lacking)]


def _reset_signals() -> None:
    """Python ignores two signals and handles one; an ignored signal would stay so over execve(2)."""
    for number in _RESET:
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
