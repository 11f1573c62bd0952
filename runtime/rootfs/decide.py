"""Say which mounts, nodes and links make the file system of a container, in order.

Comes in:  a ContainerSpec, where its writable layer lies, which cgroup mounts it may see.
Goes out:  a tuple of MountOp; nothing has happened yet.
Not here:  doing it (``runtime.rootfs.apply``), masks of Docker (``runtime.policy.paths``).
Source: OCI runtime specification, config-linux (default filesystems and devices).
"""

from __future__ import annotations

from collections.abc import Iterator

from runtime.kernel.mounts import Mount
from runtime.spec import ContainerSpec
from runtime.spec import Mount as Asked
from schemas.frozen import dataclass

SAFE = Mount.NOSUID | Mount.NODEV | Mount.NOEXEC
DEVICES = {  # name: (major, minor), Documentation/admin-guide/devices.txt
    "null": (1, 3),
    "zero": (1, 5),
    "full": (1, 7),
    "random": (1, 8),
    "urandom": (1, 9),
    "tty": (5, 0),
}
LINKS = {
    "fd": "/proc/self/fd",
    "stdin": "/proc/self/fd/0",
    "stdout": "/proc/self/fd/1",
    "stderr": "/proc/self/fd/2",
    "core": "/proc/kcore",
    "ptmx": "pts/ptmx",
}
_FLAGS = {
    "ro": Mount.RDONLY,
    "nosuid": Mount.NOSUID,
    "nodev": Mount.NODEV,
    "noexec": Mount.NOEXEC,
    "noatime": Mount.NOATIME,
    "nodiratime": Mount.NODIRATIME,
    "relatime": Mount.RELATIME,
    "strictatime": Mount.STRICTATIME,
}
_CLEARED = {"rw": Mount.RDONLY, "suid": Mount.NOSUID, "dev": Mount.NODEV, "exec": Mount.NOEXEC}


@dataclass(frozen=True, slots=True, kw_only=True)
class CgroupMount:
    """One cgroup file system to show: ``name`` below /sys/fs/cgroup ("" is that directory itself)."""

    name: str
    fstype: str
    data: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class MountOp:
    """One step. ``target`` is absolute inside the container; which other fields count depends on ``kind``.

    overlay:   ``layers`` lowest first, ``source`` upper, ``data`` work directory; at the root itself.
    root:      bind of ``source`` as the root (a tree without layers).
    fill:      copy ``target`` of the image into the empty volume ``source``.
    mount:     a new ``fstype`` with ``flags`` and ``data``; one directly in the root replaces a link there.
    bind:      ``source`` of the host, or ``subpath`` inside it, with ``propagation``.
    image:     ``layers`` as one read-only tree, or ``subpath`` inside it; ``source`` names the image.
    tmpfs:     as asked for, with ``flags`` and ``data``; what is not said is taken from the directory.
    node:      a character device ``number``; device: the same node as ``source`` of the host; devices: all.
    link:      a symbolic link with text ``source``.
    shm:       the /dev/shm of the mount namespace ``source`` (a path under /proc).
    mask, readonly: hide, or remount read-only, what is there; nothing when it is not.
    lock:      the mount at ``target`` becomes read-only, those below it do not.
    workdir:   the working directory, made when missing.
    seal:      the root mount becomes read-only.
    """

    kind: str
    target: str = "/"
    source: str = ""
    fstype: str = ""
    flags: Mount = Mount.NONE
    data: str = ""
    layers: tuple[str, ...] = ()
    propagation: str = ""
    number: tuple[int, int] = (0, 0)
    subpath: str = ""


def decide(
    spec: ContainerSpec, *, upper: str, work: str, cgroups: tuple[CgroupMount, ...] = (), ipc_mounts: str = ""
) -> tuple[MountOp, ...]:
    """List every step from an empty staging directory to the finished tree of ``spec``.

    upper, work: host directories of the overlay; work is unused when ``spec`` has no layers.
    cgroups:     what /sys/fs/cgroup shows. ipc_mounts: mount namespace whose /dev/shm is shared, or "".
    """
    mounts = sorted(spec.mounts, key=lambda asked: depth(asked.target))
    return (
        *_root(spec, upper, work),
        *(op for asked in mounts for op in _filled(asked)),  # from the image: nothing lies over it yet
        *_kernel(spec, cgroups),
        *_dev(spec, ipc_mounts),
        *(_asked(asked) for asked in mounts),
        *_etc(spec),
        *(MountOp(kind="mask", target=path) for path in spec.masked),
        *(MountOp(kind="readonly", target=path) for path in spec.readonly_paths),
        MountOp(kind="workdir", target=spec.working_dir or "/"),
        *((MountOp(kind="seal"),) if spec.read_only else ()),
    )


def depth(target: str) -> int:
    """How many names ``target`` has: what lies above is mounted first, whatever the order of the file."""
    return sum(part not in ("", ".") for part in target.split("/"))


def propagation(spec: ContainerSpec) -> Mount:
    """What the whole tree is set to first: shared stays shared only when a mount of ``spec`` asks for it."""
    wanted = {asked.propagation.removeprefix("r") for asked in spec.mounts}
    if "shared" in wanted:
        return Mount.NONE
    return Mount.REC | (Mount.SLAVE if "slave" in wanted else Mount.PRIVATE)


def tmpfs_options(text: str) -> tuple[Mount, str]:
    """Split the options of a tmpfs into mount flags and data; nosuid, nodev and noexec unless unsaid."""
    flags, data = SAFE, []
    for word in filter(None, text.split(",")):
        if word in _CLEARED:
            flags &= ~_CLEARED[word]
        elif word in _FLAGS:
            flags |= _FLAGS[word]
        else:
            data.append(word)
    return flags, ",".join(data)


def _root(spec: ContainerSpec, upper: str, work: str) -> Iterator[MountOp]:
    if spec.layers:
        yield MountOp(kind="overlay", layers=spec.layers, source=upper, data=work)
    else:
        yield MountOp(kind="root", source=upper)


def _kernel(spec: ContainerSpec, cgroups: tuple[CgroupMount, ...]) -> Iterator[MountOp]:
    yield MountOp(kind="mount", target="/proc", fstype="proc", flags=SAFE)
    ro = Mount.NONE if spec.privileged else Mount.RDONLY
    yield MountOp(kind="mount", target="/sys", fstype="sysfs", flags=SAFE | ro)
    several = [group for group in cgroups if group.name]
    if several:
        yield MountOp(kind="mount", target="/sys/fs/cgroup", fstype="tmpfs", flags=SAFE, data="mode=755")
    for group in cgroups:
        target = f"/sys/fs/cgroup/{group.name}".rstrip("/")
        yield MountOp(kind="mount", target=target, fstype=group.fstype, flags=SAFE | ro, data=group.data)
    if several and ro:
        yield MountOp(kind="lock", target="/sys/fs/cgroup")


def _dev(spec: ContainerSpec, ipc_mounts: str) -> Iterator[MountOp]:
    flags = Mount.NOSUID | Mount.STRICTATIME
    yield MountOp(kind="mount", target="/dev", fstype="tmpfs", flags=flags, data="mode=755,size=65536k")
    for name, number in DEVICES.items():
        yield MountOp(kind="node", target=f"/dev/{name}", number=number)
    for name, text in LINKS.items():
        yield MountOp(kind="link", target=f"/dev/{name}", source=text)
    quiet = Mount.NOSUID | Mount.NOEXEC
    pty = "newinstance,ptmxmode=0666,mode=0620,gid=5"
    yield MountOp(kind="mount", target="/dev/pts", fstype="devpts", flags=quiet, data=pty)
    yield from _shared_memory(spec, ipc_mounts)
    if spec.privileged:
        yield MountOp(kind="devices", target="/dev", source="/dev")
    for device in spec.devices:
        yield MountOp(kind="device", target=device.target, source=device.source)


def _shared_memory(spec: ContainerSpec, ipc_mounts: str) -> Iterator[MountOp]:
    if spec.namespaces.ipc == "host":
        yield MountOp(kind="bind", target="/dev/shm", source="/dev/shm", flags=Mount.REC)
    elif ipc_mounts:
        yield MountOp(kind="shm", target="/dev/shm", source=ipc_mounts)
    elif spec.namespaces.ipc != "none":
        data = f"mode=1777,size={spec.shm_size}"
        yield MountOp(kind="mount", target="/dev/shm", fstype="tmpfs", flags=SAFE, data=data)
    yield MountOp(kind="mount", target="/dev/mqueue", fstype="mqueue", flags=SAFE)


def _etc(spec: ContainerSpec) -> Iterator[MountOp]:
    taken = {asked.target.rstrip("/") for asked in spec.mounts}
    flags = Mount.RDONLY if spec.read_only else Mount.NONE
    for name in ("hosts", "hostname", "resolv.conf") if spec.etc else ():
        if f"/etc/{name}" not in taken:
            yield MountOp(kind="bind", target=f"/etc/{name}", source=f"{spec.etc}/{name}", flags=flags)


def _filled(asked: Asked) -> Iterator[MountOp]:
    if asked.seed:
        yield MountOp(kind="fill", target=asked.target, source=asked.source)


def _asked(asked: Asked) -> MountOp:
    ro = Mount.RDONLY if asked.read_only else Mount.NONE
    if asked.type == "tmpfs":
        flags, data = tmpfs_options(asked.options)
        return MountOp(kind="tmpfs", target=asked.target, source="tmpfs", flags=flags | ro, data=data)
    if asked.type == "image":
        return MountOp(
            kind="image", target=asked.target, source=asked.source, layers=asked.layers, subpath=asked.subpath
        )
    rec = Mount.REC if asked.recursive else Mount.NONE
    return MountOp(
        kind="bind",
        target=asked.target,
        source=asked.source,
        flags=rec | ro,
        propagation=asked.propagation or "rprivate",
        subpath=asked.subpath,
    )
