"""Do a list of MountOp: from an empty staging directory to the root of this mount namespace.

Comes in:  MountOps and the staging directory; the caller is in a mount namespace of its own, and in the
           pid, network, IPC and cgroup namespaces that /proc, /sys, mqueue and cgroup are to show.
Goes out:  the mounts; after ``enter_root`` nothing of the host's tree can be reached.
Not here:  the list (``runtime.rootfs.decide``).
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterable
from pathlib import Path

from runtime.kernel.mounts import Mount, Resolve, mount, mount_setattr, openat2, pivot_root, umount2
from runtime.kernel.namespaces import Clone, setns
from runtime.kernel.trees import clone_tree, move_tree
from runtime.rootfs.decide import MountOp
from runtime.rootfs.inside import exists, make_directory, make_file, opened, place
from runtime.rootfs.overlay import mount_overlay
from runtime.rootfs.seed import seed

_PROPAGATION = {"private": Mount.PRIVATE, "shared": Mount.SHARED, "slave": Mount.SLAVE}
_KEPT = {  # statvfs(3) flag: mount flag that a remount must not lose
    os.ST_NOSUID: Mount.NOSUID,
    os.ST_NODEV: Mount.NODEV,
    os.ST_NOEXEC: Mount.NOEXEC,
    os.ST_NOATIME: Mount.NOATIME,
    os.ST_NODIRATIME: Mount.NODIRATIME,
    os.ST_RELATIME: Mount.RELATIME,
}


def detach(propagation: Mount, staging: Path) -> None:
    """Cut this mount namespace off from the host's: what is mounted from here on stays here."""
    if propagation:
        mount("", "/", "", propagation)
        return
    # pivot_root(2) wants the mount above the new root private; the rest stays shared, as was asked.
    above = staging
    while not os.path.ismount(above):
        above = above.parent
    mount("", above, "", Mount.PRIVATE)


def apply(ops: Iterable[MountOp], staging: Path) -> None:
    """Do ``ops`` in order below ``staging``. Raises OSError naming the container's path that failed."""
    root = os.open(staging, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for op in ops:
            try:
                _DO[op.kind](op, root, staging)
            except OSError as error:
                text = error.strerror or os.strerror(error.errno or 0)
                about = f"{op.source} at {op.target}" if op.source else op.target
                raise OSError(error.errno, f"{op.kind}: {text}", about) from error
            if op.kind in ("overlay", "root"):
                os.close(root)
                root = os.open(staging, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    finally:
        os.close(root)


def enter_root(staging: Path) -> None:
    """Make ``staging`` the root and drop the old one, so that no path leads back."""
    os.chdir(staging)
    pivot_root(".", ".")
    # The old root lies on top of "." now; as a slave its unmounting does not reach the host.
    mount("", ".", "", Mount.SLAVE | Mount.REC)
    umount2(".", detach=True)
    os.chdir("/")


def read_only(target: Path, *, recursive: bool) -> None:
    """Make the mount at ``target`` read-only and keep every other flag it has."""
    try:
        mount_setattr(target, read_only=True, recursive=recursive)
    except OSError:  # before Linux 5.12; then only the topmost mount
        have = os.statvfs(target).f_flag
        kept = Mount.NONE
        for word, flag in _KEPT.items():
            kept |= flag if have & word else Mount.NONE
        mount("", target, "", Mount.REMOUNT | Mount.BIND | Mount.RDONLY | kept)


def bind_file(source: str, target: str) -> None:
    """Bind the file ``source`` over ``target`` (made when missing), both as this process sees them now."""
    Path(target).touch()
    mount(source, target, "", Mount.BIND)


def _overlay(op: MountOp, _root: int, staging: Path) -> None:
    mount_overlay(op.layers, op.source, op.data, staging)


def _bind_root(op: MountOp, _root: int, staging: Path) -> None:
    mount(op.source, staging, "", Mount.BIND | Mount.REC)


def _mount(op: MountOp, root: int, _staging: Path) -> None:
    make_directory(root, op.target)
    with opened(root, op.target) as fd:
        mount(op.fstype, place(fd), op.fstype, op.flags, op.data)


def _bind(op: MountOp, root: int, _staging: Path) -> None:
    if Path(op.source).is_dir():
        make_directory(root, op.target)
    else:
        make_file(root, op.target)
    with opened(root, op.target) as fd:
        mount(op.source, place(fd), "", Mount.BIND | op.flags & Mount.REC)
    with opened(root, op.target) as fd:
        if op.propagation:
            recursive = Mount.REC if op.propagation.startswith("r") else Mount.NONE
            mount("", place(fd), "", _PROPAGATION[op.propagation.removeprefix("r")] | recursive)
        if op.flags & Mount.RDONLY:
            read_only(place(fd), recursive=bool(op.flags & Mount.REC))


def _seed(op: MountOp, root: int, _staging: Path) -> None:
    try:
        flags = os.O_RDONLY | os.O_DIRECTORY
        source = openat2(root, op.target.lstrip("/"), flags, resolve=Resolve.IN_ROOT)
    except (FileNotFoundError, NotADirectoryError):
        return
    target = os.open(op.source, flags | os.O_CLOEXEC)
    try:
        seed(source, target)
    finally:
        os.close(source)
        os.close(target)


def _node(op: MountOp, root: int, _staging: Path) -> None:
    mode = stat.S_IFCHR | 0o666
    _make_node(root, op.target, mode, os.makedev(*op.number), Path("/dev") / Path(op.target).name)


def _device(op: MountOp, root: int, _staging: Path) -> None:
    source = Path(op.source)
    if source.is_dir():
        _host_nodes(source, op.target, root)
        return
    info = source.stat()
    _make_node(root, op.target, info.st_mode, info.st_rdev, source, owner=(info.st_uid, info.st_gid))


def _devices(op: MountOp, root: int, _staging: Path) -> None:
    _host_nodes(Path(op.source), op.target, root)


def _host_nodes(source: Path, target: str, root: int) -> None:
    """Make every device node below ``source`` again below ``target``."""
    for entry in sorted(os.scandir(source), key=lambda entry: entry.name):
        aim = f"{target}/{entry.name}"
        if entry.name in ("pts", "shm", "mqueue", "console", "fd", ".udev") or entry.is_symlink():
            continue
        info = entry.stat(follow_symlinks=False)
        if stat.S_ISDIR(info.st_mode):
            _host_nodes(Path(entry.path), aim, root)
        elif stat.S_ISCHR(info.st_mode) or stat.S_ISBLK(info.st_mode):
            _copy_node(Path(entry.path), info, aim, root)


def _copy_node(source: Path, info: os.stat_result, target: str, root: int) -> None:
    if not exists(root, target):
        _make_node(root, target, info.st_mode, info.st_rdev, source, owner=(info.st_uid, info.st_gid))


def _make_node(
    root: int, target: str, mode: int, number: int, source: Path, *, owner: tuple[int, int] = (0, 0)
) -> None:
    """mknod(2) inside ``root``; where that is not allowed, the host's own node is bound there."""
    parent, _, name = target.rpartition("/")
    make_directory(root, parent)
    try:
        with opened(root, parent, os.O_PATH | os.O_DIRECTORY) as above:
            try:
                os.mknod(name, mode, number, dir_fd=above)
            except FileExistsError:
                os.unlink(name, dir_fd=above)
                os.mknod(name, mode, number, dir_fd=above)
            os.chown(name, *owner, dir_fd=above)
            (place(above) / name).chmod(stat.S_IMODE(mode))
    except PermissionError:
        make_file(root, target)
        with opened(root, target) as fd:
            mount(str(source), place(fd), "", Mount.BIND)


def _link(op: MountOp, root: int, _staging: Path) -> None:
    parent, _, name = op.target.rpartition("/")
    with opened(root, parent, os.O_PATH | os.O_DIRECTORY) as above:
        os.symlink(op.source, name, dir_fd=above)


def _shm(op: MountOp, root: int, _staging: Path) -> None:
    """Show another container's /dev/shm: cloned inside its mount namespace, attached in ours."""
    ours = os.open("/proc/self/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
    theirs = os.open(op.source, os.O_RDONLY | os.O_CLOEXEC)
    make_directory(root, op.target)
    try:
        with opened(root, op.target) as target:
            here = os.open(".", os.O_PATH | os.O_CLOEXEC)
            setns(theirs, Clone.NEWNS)
            try:
                tree = clone_tree("/dev/shm")
            finally:
                setns(ours, Clone.NEWNS)
                os.fchdir(here)
                os.close(here)
            move_tree(tree, target)
    finally:
        os.close(ours)
        os.close(theirs)


def _mask(op: MountOp, root: int, _staging: Path) -> None:
    if not exists(root, op.target):
        return
    with opened(root, op.target) as fd:
        if stat.S_ISDIR(os.fstat(fd).st_mode):
            mount("tmpfs", place(fd), "tmpfs", Mount.RDONLY, "size=4k,nr_inodes=1")
            return
        # The container's own node: the mode of the host's must not be theirs to change.
        with opened(root, "/dev/null") as null:
            mount(str(place(null)), place(fd), "", Mount.BIND)


def _readonly(op: MountOp, root: int, _staging: Path) -> None:
    if not exists(root, op.target):
        return
    with opened(root, op.target) as fd:
        mount(str(place(fd)), place(fd), "", Mount.BIND | Mount.REC)
    with opened(root, op.target) as fd:
        read_only(place(fd), recursive=True)


def _lock(op: MountOp, root: int, _staging: Path) -> None:
    with opened(root, op.target) as fd:
        read_only(place(fd), recursive=False)


def _seal(_op: MountOp, _root: int, staging: Path) -> None:
    read_only(staging, recursive=False)


_DO: dict[str, Callable[[MountOp, int, Path], None]] = {
    "overlay": _overlay,
    "root": _bind_root,
    "mount": _mount,
    "bind": _bind,
    "seed": _seed,
    "node": _node,
    "device": _device,
    "devices": _devices,
    "link": _link,
    "shm": _shm,
    "mask": _mask,
    "readonly": _readonly,
    "lock": _lock,
    "seal": _seal,
}
