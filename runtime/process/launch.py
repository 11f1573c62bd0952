"""Make a container's pid 1: namespaces, control group, root file system, a gate, then its program.

Comes in:  what makes an Order, called by pid 1; the caller becomes its parent.
Goes out:  a Launched, whose pid 1 waits at the gate; ``go`` opens it.
Not here:  who the process becomes (``identity``), what happens to its output (``monitor``, ``oneshot``).
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import signal
import socket
import struct
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from runtime.cgroup import apply as cgroup
from runtime.cgroup import birth, devices
from runtime.cgroup.layout import Group
from runtime.cgroup.writes import writes
from runtime.errors import RuntimeFailure
from runtime.kernel import processes
from runtime.kernel.keys import join_session_keyring
from runtime.kernel.namespaces import Clone, setdomainname, sethostname, setns, unshare
from runtime.kernel.processes import prctl
from runtime.policy.sysctls import own_sysctl
from runtime.process import identity, imports, init, streams
from runtime.process.messages import receive, receive_text, revive, send, tell
from runtime.process.terminal import open_terminal
from runtime.rootfs import apply as rootfs
from runtime.rootfs.decide import CgroupMount, decide, propagation
from runtime.spec import ContainerSpec
from schemas.frozen import dataclass, field

KINDS = {  # field of Namespaces: (flag, file below /proc/PID/ns)
    "network": (Clone.NEWNET, "net"),
    "ipc": (Clone.NEWIPC, "ipc"),
    "uts": (Clone.NEWUTS, "uts"),
    "cgroup": (Clone.NEWCGROUP, "cgroup"),
    "pid": (Clone.NEWPID, "pid"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """Everything ``launch`` needs.

    upper, work, staging: the overlay's directories and an empty mount point.
    stdio:    three descriptors for the process, streams.NULL for its own /dev/null; () with a tty.
    joins:    kind ("network", "pid", ...) -> path of the namespace to join instead of a new one.
    filter:   seccomp program or b"".
    deathsig: the container dies with its parent.
    made:     warnings from making the control group, None when that is still to be done.
    introduce: called while the host's files are in sight; its answer goes with the first message.
    """

    spec: ContainerSpec
    group: Group
    upper: Path
    work: Path
    staging: Path
    stdio: tuple[int, ...] = ()
    joins: Mapping[str, str] = field(default_factory=dict)
    filter: bytes = b""
    deathsig: bool = False
    made: Sequence[str] | None = None
    introduce: Callable[[], dict[str, Any]] = dict


class Launched:
    """A pid 1 at its gate; ``pid`` as the caller's pid namespace counts."""

    def __init__(self, pid: int, channel: socket.socket) -> None:
        self.pid = pid
        self.channel = channel

    def ready(self) -> tuple[list[str], int | None]:
        """Wait for the gate. Returns warnings and, with a tty, the master. Raises what went wrong."""
        message, fds = receive(self.channel)
        if message is None:
            raise RuntimeFailure("the container's first process died while it was being set up")
        if "error" in message:
            raise revive(message["error"])
        return message["warnings"], fds[0] if fds else None

    def go(self) -> None:
        """Open the gate and wait until execve(2) has worked. Raises what went wrong."""
        text = self.open_gate()
        if text:
            raise revive(json.loads(text)["error"])

    def open_gate(self) -> bytes:
        """Open the gate and wait until execve(2) has worked. Returns b"", or the error as it came."""
        try:
            self.channel.send(b"go")
            return receive_text(self.channel)[0]
        except (BrokenPipeError, ConnectionResetError):
            raise RuntimeFailure("the container's first process died at its gate") from None
        finally:
            self.channel.close()

    def abort(self) -> None:
        """Kill what waits at the gate and reap it."""
        self.channel.close()
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)


def launch(order: Order) -> Launched:
    """Fork pid 1, which sets itself up in parallel, into ``order.group`` if that is made; returns at once."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    pid_namespace = order.joins.get("pid", order.spec.namespaces.pid)
    born = order.group if order.made is not None else None
    pid = fork_first(lambda: order, pid_namespace, theirs, ours, born)
    theirs.close()
    return Launched(pid, ours)


def fork_first(
    make: Callable[[], Order],
    pid_namespace: str,
    channel: socket.socket,
    other: socket.socket | None = None,
    group: Group | None = None,
) -> int:
    """Fork pid 1 with its end of a pair, the ``other`` is closed there. Returns its pid.

    group: its control group if that has been made already, to be born in.

    pid_namespace: "private", "host", or the path of the one to join. Only the child leaves namespaces: the
    pid namespace of the caller's children is put back.
    """
    back = os.open("/proc/self/ns/pid", os.O_RDONLY | os.O_CLOEXEC)
    try:
        if pid_namespace == "private":
            unshare(Clone.NEWPID)
        elif pid_namespace != "host":
            _join(pid_namespace, Clone.NEWPID)
        pid, born = birth.fork(group) if group else (os.fork(), False)
        if pid == 0:
            if other is not None:
                other.close()
            _child(make, channel, born=born)
    finally:
        setns(back, Clone.NEWPID)
        os.close(back)
    return pid


def _child(make: Callable[[], Order], channel: socket.socket, *, born: bool) -> None:
    """All of pid 1's life before its program; never returns."""
    code = 125
    try:
        order = make()
        answer, master = _set_up(order, channel, born=born)
        send(channel, answer, [master] if master is not None else [])
        if master is not None:
            os.close(master)
        if channel.recv(16) == b"go":
            _become(order, channel)
    except RuntimeFailure as error:
        code = error.exit_code
        tell(channel, error)
    except OSError as error:
        about = f" ({error.filename})" if error.filename else ""
        tell(channel, RuntimeFailure(f"cannot set up the container: {error.strerror}{about}"))
    except BaseException as error:  # the last frame of a forked process: it must not run its parent's code
        tell(channel, RuntimeFailure(f"cannot set up the container: {type(error).__name__}: {error}"))
    finally:
        os._exit(code)


def _set_up(order: Order, channel: socket.socket, *, born: bool) -> tuple[dict[str, Any], int | None]:
    """From the fork to the gate. Returns the first message and the master of a pty, or None."""
    spec = order.spec
    os.setsid()
    os.umask(0o022)
    prctl(processes.PR_SET_DUMPABLE, 0)  # nothing in the container may look into this interpreter
    processes.set_name("pycompose-init")
    join_session_keyring()
    warnings = _control_group(order, born=born)
    shown = _cgroup_mounts(order.group)
    _namespaces(order)
    _names(order)
    warnings += _sysctls(spec)
    warnings += identity.oom_score(spec.oom_score_adj)
    answer = order.introduce()
    rootfs.detach(propagation(spec), order.staging)
    ipc = order.joins.get("ipc", "")
    ops = decide(
        spec,
        upper=str(order.upper),
        work=str(order.work),
        cgroups=shown,
        ipc_mounts=ipc.removesuffix("ipc") + "mnt" if ipc else "",
    )
    rootfs.apply(ops, order.staging)
    imports.close()
    rootfs.enter_root(order.staging)
    streams.take(order.stdio, channel.fileno())
    if spec.namespaces.network in ("private", "none") and "network" not in order.joins:
        _loopback_up()
    warnings += [] if spec.privileged else identity.missing_capabilities(identity.of_container(spec, b""))
    master = open_terminal(console=True) if spec.tty else None
    warnings += identity.limits(identity.of_container(spec, b""))
    return {**answer, "warnings": warnings}, master


def _become(order: Order, channel: socket.socket) -> None:
    """Behind the gate: rights, user, program."""
    own = identity.of_container(order.spec, order.filter)
    identity.give_up(own)
    user = identity.find_user(own)
    streams.give(user.uid)
    if order.spec.init:
        confine = partial(identity.confine, own, user, deathsig=order.deathsig)
        init.fork_program(channel, confine, order.spec.argv)
    identity.execute(own, user, deathsig=order.deathsig)


def _control_group(order: Order, *, born: bool) -> list[str]:
    """Made and joined by the child itself: joining can stall on a semaphore, and so stalls nobody else."""
    spec, group = order.spec, order.group
    rules: tuple[str, ...] = devices.DEFAULT
    rules += tuple(_device_rule(device.source, device.access) for device in spec.devices)
    rules = () if spec.privileged else (*filter(None, rules), *spec.limits.device_rules)
    wanted = writes(spec.limits, group.layout.version, _block_number, rules)
    made = cgroup.make(group) if order.made is None else order.made
    warnings = [*made, *cgroup.limit(group, wanted, rules)]
    birth.settle(group, born=born)
    return warnings


def _device_rule(path: str, access: str) -> str:
    info = os.stat(path)
    if not info.st_rdev:
        return ""
    kind = "b" if info.st_mode & 0o170000 == 0o060000 else "c"
    return f"{kind} {os.major(info.st_rdev)}:{os.minor(info.st_rdev)} {access}"


def _block_number(path: str) -> str:
    device = os.stat(path).st_rdev
    return f"{os.major(device)}:{os.minor(device)}"


def _cgroup_mounts(group: Group) -> tuple[CgroupMount, ...]:
    layout = group.layout
    if layout.version == 2:
        return (CgroupMount(name="", fstype="cgroup2"),) if layout.unified else ()
    out = []
    for root in dict.fromkeys(layout.controllers.values()):
        shared = sorted(name for name, path in layout.controllers.items() if path == root)
        out.append(CgroupMount(name=root.name, fstype="cgroup", data=",".join(shared)))
    return tuple(out)


def _namespaces(order: Order) -> None:
    """Join what is shared first, while the host's /proc is there, then leave the rest at one go."""
    new = Clone.NEWNS
    for kind, (flag, _) in KINDS.items():
        if kind == "pid":
            continue
        if kind in order.joins:
            _join(order.joins[kind], flag)
        elif getattr(order.spec.namespaces, kind) != "host":
            new |= flag
    unshare(new)


def _join(path: str, flag: Clone) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        setns(fd, flag)
    finally:
        os.close(fd)


def _names(order: Order) -> None:
    if order.spec.namespaces.uts == "host" or "uts" in order.joins:
        return
    sethostname(order.spec.hostname or order.spec.id[:12])
    if order.spec.domainname:
        setdomainname(order.spec.domainname)


def _sysctls(spec: ContainerSpec) -> list[str]:
    """Write them through the host's /proc, which shows this process its own namespaces."""
    for name, value in spec.sysctls.items():
        spaces = spec.namespaces
        if not own_sysctl(name, network=spaces.network, ipc=spaces.ipc, uts=spaces.uts):
            text = f"sysctl '{name}' would change the host, not the container"
            raise RuntimeFailure(
                text, hint="only net.*, fs.mqueue.*, kernel.msg*, kernel.shm* and kernel.sem are its own"
            )
        path = Path("/proc/sys", *name.split("."))
        try:
            path.write_text(value)
        except OSError as error:
            text = f"sysctl '{name}' cannot be set to '{value}': {error.strerror}"
            raise RuntimeFailure(
                text, hint="only namespaced ones exist per container (net.*, kernel.shm*, ...)"
            ) from None
    return []


def _loopback_up() -> None:
    """netdevice(7): set IFF_UP on ``lo``."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        fcntl.ioctl(any_socket, 0x8914, struct.pack("16sh22x", b"lo", 1))  # SIOCSIFFLAGS
