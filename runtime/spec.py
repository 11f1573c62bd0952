"""The words in which a container is asked for and answered: frozen, JSON-able values.

Comes in:  nothing.
Goes out:  ContainerSpec and its parts (asked), ContainerState and ExitRecord (answered).
Not here:  any decision or effect. ``compose.plan.translate`` makes the first from a service.
Durations are float seconds and sizes are bytes here, because these values travel as JSON.
"""

from __future__ import annotations

import types
import typing
from collections.abc import Mapping
from typing import Any, TypeVar

from schemas.frozen import dataclass, described, field

NOTHING: Mapping[str, str] = types.MappingProxyType({})
DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True, slots=True, kw_only=True)
class Mount:
    """One mount inside the container, made after the root, /proc, /dev and /sys, the outer ones first.

    type:        "bind", "tmpfs" or "image".
    source:      host path of a bind (exists already), name of an image; "" for tmpfs.
    target:      absolute path in the container; made when missing, its symlinks resolved inside the root.
    options:     tmpfs data ("size=64m,mode=1777"), the id of an image, "" for bind.
    propagation: "", "private", "rprivate", "shared", "rshared", "slave", "rslave"; "" is rprivate.
    recursive:   bind with MS_REC.
    seed:        ``source`` is a fresh named volume: when it is empty, content, mode and owner of
                 ``target`` in the image are copied into it first.
    subpath:     what of ``source`` is mounted, a relative path; resolved inside it when it is mounted.
    layers:      host directories of an image, lowest first.
    """

    type: str
    target: str
    source: str = ""
    read_only: bool = False
    options: str = ""
    propagation: str = ""
    recursive: bool = True
    seed: bool = False
    subpath: str = ""
    layers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Ulimit:
    """One resource limit, name as in ``ulimits:`` ("nofile"); -1 means unlimited (prlimit(2))."""

    name: str
    soft: int
    hard: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """A device node of the host made visible; ``access`` is a subset of "rwm"."""

    source: str
    target: str
    access: str = "rwm"


@dataclass(frozen=True, slots=True, kw_only=True)
class Throttle:
    """A block-device limit; ``kind`` is read_bps, write_bps, read_iops, write_iops or weight."""

    kind: str
    path: str
    rate: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What the container's cgroup is told; None or 0 means no limit of ours.

    memory, memory_swap (memory plus swap, -1 unlimited), memory_reservation: bytes.
    cpus: fraction of processors; cpu_period and cpu_quota: microseconds; cpu_shares: v1 weight 2..262144.
    pids: highest number of tasks, -1 unlimited. blkio_weight: 10..1000.
    device_rules: lines of the v1 devices controller, such as "c 1:3 rwm", added to the default set.
    """

    memory: int | None = None
    memory_swap: int | None = None
    memory_reservation: int | None = None
    memory_swappiness: int | None = None
    oom_kill_disable: bool = False
    cpus: float | None = None
    cpu_period: int | None = None
    cpu_quota: int | None = None
    cpu_shares: int | None = None
    cpu_rt_period: int | None = None
    cpu_rt_runtime: int | None = None
    cpuset_cpus: str = ""
    cpuset_mems: str = ""
    pids: int | None = None
    blkio_weight: int | None = None
    throttles: tuple[Throttle, ...] = ()
    device_rules: tuple[str, ...] = ()
    parent: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Namespaces:
    """Which namespaces the container has: "private", "host", "none", "container:<id>" or "path:<path>".

    network: "private" gets an empty namespace that ``netns`` plugs into; "none" the same with loopback only.
    user:    "host" for root, as Docker's default.
    """

    pid: str = "private"
    ipc: str = "private"
    uts: str = "private"
    network: str = "private"
    cgroup: str = "private"
    user: str = "host"


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerSpec:
    """Everything needed to make and run one container.

    id:          64 lower-case hex digits; the first 12 are the short id.
    layers:      host directories of the image, lowest first, in overlayfs whiteout form.
    upper:       host directory of the writable layer; "" means the container's own.
    argv:        as execve(2) takes it, entrypoint and command joined; never empty.
    env:         "NAME=value" texts; PATH, HOSTNAME, HOME and TERM are added when missing.
    user:        "", "name", "uid", "name:group" ...; names are looked up in the root's /etc/passwd.
    stop_signal: number of the signal that asks the process to end; stop_grace: seconds until SIGKILL.
    stdio:       "log" (pipes or pty into the log), "pass" (the caller's three descriptors, or with
                 tty the pty's master is handed back to the caller).
    log:         host path of the log file; log_size bytes and log_files for rotation, 0 for none.
    capabilities: the final set, names without CAP_, sorted.
    seccomp:     "default", "unconfined", or the text of a profile in Docker's JSON format.
    masked, readonly_paths: absolute paths, empty when privileged.
    etc:         host directory whose ``hosts``, ``hostname`` and ``resolv.conf`` are bound into /etc;
                 "" means none of them.
    labels:      kept, never interpreted here.
    """

    id: str
    name: str
    argv: tuple[str, ...]
    layers: tuple[str, ...]
    upper: str = ""
    env: tuple[str, ...] = ()
    working_dir: str = "/"
    user: str = ""
    groups: tuple[str, ...] = ()
    hostname: str = ""
    domainname: str = ""
    mounts: tuple[Mount, ...] = ()
    read_only: bool = False
    tty: bool = False
    stdin_open: bool = False
    stdio: str = "log"
    log: str = ""
    log_size: int = 0
    log_files: int = 1
    init: bool = False
    privileged: bool = False
    capabilities: tuple[str, ...] = ()
    no_new_privileges: bool = False
    seccomp: str = "default"
    masked: tuple[str, ...] = ()
    readonly_paths: tuple[str, ...] = ()
    namespaces: Namespaces = field(default_factory=Namespaces)
    limits: Limits = field(default_factory=Limits)
    ulimits: tuple[Ulimit, ...] = ()
    devices: tuple[Device, ...] = ()
    sysctls: Mapping[str, str] = field(default_factory=lambda: NOTHING)
    oom_score_adj: int | None = None
    shm_size: int = 64 * 1024 * 1024
    stop_signal: int = 15
    stop_grace: float = 10.0
    etc: str = ""
    labels: Mapping[str, str] = field(default_factory=lambda: NOTHING)
    annotations: Mapping[str, str] = field(default_factory=lambda: NOTHING)


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecSpec:
    """A further process in a running container (setns(2) into all of its namespaces).

    env is added to the container's own; user and working_dir "" mean the container's.
    timeout: seconds until it is killed, None for never. privileged: all capabilities, no seccomp.
    window: rows and columns of its terminal, () for an unknown size.
    """

    argv: tuple[str, ...]
    env: tuple[str, ...] = ()
    user: str = ""
    working_dir: str = ""
    tty: bool = False
    window: tuple[int, ...] = ()
    privileged: bool = False
    timeout: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecResult:
    """How an exec ended: ``code`` as a shell gives it (128 + signal); ``output`` at most 4096 bytes."""

    code: int
    output: str = ""
    timed_out: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ExitRecord:
    """How pid 1 ended, written once by rename.

    code:    0..255, 128 + n for signal n; None when nobody could learn it.
    oom:     the kernel killed a process of this container for its memory limit.
    reason:  one sentence when there is more to say than the code, such as "memory limit of 64 MiB reached".
    at:      seconds since the epoch.
    """

    code: int | None
    signal: int = 0
    oom: bool = False
    reason: str = ""
    at: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerState:
    """What is true of a container now.

    status:     "created" (never started), "running", "paused", "exited".
    pid:        of its pid 1 on the host, 0 unless running; start_time: field 22 of /proc/PID/stat.
    monitor:    pid of its monitor, 0 when there is none.
    """

    id: str
    name: str
    status: str
    pid: int = 0
    start_time: int = 0
    monitor: int = 0
    created_at: float = 0.0
    started_at: float = 0.0
    exit: ExitRecord | None = None


Value = TypeVar("Value")


def to_json(value: Any) -> Any:
    """Turn a frozen value of this module (or of ``netns.spec``) into plain JSON data, defaults left out."""
    fields = described(type(value))
    if fields is not None:
        items = ((name, getattr(value, name), one.default) for name, one in fields.items())
        return {name: to_json(item) for name, item, default in items if item != default}
    if isinstance(value, Mapping):
        return {key: to_json(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [to_json(item) for item in value]
    return value


_hints: dict[type, dict[str, Any]] = {}


def from_json(kind: type[Value], data: Any) -> Value:
    """Build a value of ``kind`` from what ``to_json`` gave. Raises TypeError for an unknown field."""
    return typing.cast(Value, _build(kind, data))


def _build(kind: Any, data: Any) -> Any:
    if isinstance(kind, type) and described(kind) is not None:
        hints = _hints.get(kind)
        if hints is None:
            hints = _hints[kind] = typing.get_type_hints(kind)
        return kind(**{name: _build(hints[name], item) for name, item in data.items()})
    origin = typing.get_origin(kind)
    if origin is tuple:
        return tuple(_build(typing.get_args(kind)[0], item) for item in data)
    if origin is types.UnionType:
        if data is None:
            return None
        return _build(next(a for a in typing.get_args(kind) if a is not type(None)), data)
    return data
