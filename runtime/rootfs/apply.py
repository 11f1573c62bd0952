"""Do a list of MountOp: from an empty staging directory to the root of this mount namespace.

Comes in:  MountOps and the staging directory; the caller is in a mount namespace of its own, and in the
           pid, network, IPC and cgroup namespaces that /proc, /sys, mqueue and cgroup are to show.
Goes out:  the mounts; after ``enter_root`` nothing of the host's tree can be reached.
Not here:  the list (``runtime.rootfs.decide``), paths inside the tree (``runtime.inside``).
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Callable, Iterable
from pathlib import Path

from runtime.errors import RuntimeFailure
from runtime.inside import attach
from runtime.inside.fill import fill
from runtime.inside.nodes import make_link, make_node
from runtime.inside.paths import PLAIN, directory, enter, exists, opened, own_directory, place
from runtime.kernel.mounts import Mount, mount, mount_setattr, pivot_root, umount2
from runtime.kernel.namespaces import Clone, setns
from runtime.kernel.trees import clone_tree, move_tree
from runtime.rootfs.decide import MountOp
from runtime.rootfs.overlay import make_upper, mount_layers, mount_overlay

_SHARED = ("shared", "rshared")
_NULL = os.makedev(1, 3)


class Tree:
    """The root file system in the making.

    root: descriptor of its root. null: of its own /dev/null, once there is one. clones: what is bound as a
    shared mount, cloned while the host's mounts still share.
    """

    def __init__(self, staging: Path) -> None:
        self.staging = staging
        self.null = -1
        self.root = self._open()
        self.clones: dict[MountOp, int] = {}

    def _open(self) -> int:
        return os.open(self.staging, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)

    def again(self) -> None:
        """Something has been mounted at the staging directory: that is the root now."""
        os.close(self.root)
        self.root = self._open()

    def close(self) -> None:
        """Close every descriptor."""
        for fd in (self.root, self.null, *self.clones.values()):
            if fd >= 0:
                os.close(fd)


def detach(propagation: Mount, staging: Path) -> None:
    """Cut this mount namespace off from the host's: what is mounted from here on stays here.

    With Mount.NONE ``apply`` does the rest, after it has cloned what is to stay shared.
    """
    if propagation:
        mount("", "/", "", propagation)


def apply(ops: Iterable[MountOp], staging: Path) -> None:
    """Do ``ops`` in order below ``staging``.

    Raises RuntimeFailure for a mount that is refused, OSError naming the container's path that failed.
    """
    ops = tuple(ops)
    tree = Tree(staging)
    try:
        _clone_shared(ops, tree)
        for op in ops:
            try:
                _DO[op.kind](op, tree)
            except OSError as error:
                text = error.strerror or os.strerror(error.errno or 0)
                about = f"{op.source} at {op.target}" if op.source else op.target
                raise OSError(error.errno, f"{op.kind}: {text}", about) from error
    finally:
        tree.close()


def _clone_shared(ops: tuple[MountOp, ...], tree: Tree) -> None:
    """Clone the sources of shared binds, then cut the mount above the staging directory off from the host's.

    pivot_root(2) wants it private, and once it is, a source on that same mount would not be shared any more.
    """
    shared = [op for op in ops if op.propagation in _SHARED]
    for op in shared:
        source = _source(op)
        try:
            if attach.propagates(source) != "shared":
                raise _not_propagating(op, "shared")
            tree.clones[op] = clone_tree(source, recursive=bool(op.flags & Mount.REC))
        finally:
            os.close(source)
    if shared:
        above = tree.staging
        while not os.path.ismount(above):
            above = above.parent
        mount("", above, "", Mount.PRIVATE)


def enter_root(staging: Path) -> None:
    """Make ``staging`` the root and drop the old one, so that no path leads back."""
    old = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    os.chdir(staging)
    pivot_root(".", ".")
    # The old root lies on top of the new one; as a slave its unmounting does not reach the host.
    os.fchdir(old)
    mount("", ".", "", Mount.SLAVE | Mount.REC)
    umount2(".", detach=True)
    os.close(old)
    os.chdir("/")


def bind_file(source: str, target: str) -> None:
    """Bind the file ``source`` over ``target`` (made when missing), both as this process sees them now."""
    root = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        point = attach.mount_point(root, target, is_directory=False)
        try:
            mount(source, place(point), "", Mount.BIND)
        finally:
            os.close(point)
    finally:
        os.close(root)


def _overlay(op: MountOp, tree: Tree) -> None:
    make_upper(op.source)
    mount_overlay(op.layers, op.source, op.data, tree.staging)
    tree.again()


def _bind_root(op: MountOp, tree: Tree) -> None:
    mount(op.source, tree.staging, "", Mount.BIND | Mount.REC)
    tree.again()


def _mount(op: MountOp, tree: Tree) -> None:
    in_root = op.target.count("/") == 1
    fd = own_directory(tree.root, op.target) if in_root else directory(tree.root, op.target)
    try:
        mount(op.fstype, place(fd), op.fstype, op.flags, op.data)
    finally:
        os.close(fd)


def _tmpfs(op: MountOp, tree: Tree) -> None:
    """A new directory is open to all, as /tmp is; one that the image has keeps its mode and its owner."""
    point = attach.mount_point(tree.root, op.target, is_directory=True, mode=0o1777)
    try:
        info = os.fstat(point)
        said = {word.partition("=")[0] for word in op.data.split(",")}
        kept = {"mode": f"{stat.S_IMODE(info.st_mode):o}", "uid": str(info.st_uid), "gid": str(info.st_gid)}
        words = [op.data] if op.data else []
        words += [f"{key}={value}" for key, value in kept.items() if key not in said]
        mount("tmpfs", place(point), "tmpfs", op.flags, ",".join(words))
    finally:
        os.close(point)


def _source(op: MountOp) -> int:
    """Open what a bind shows."""
    source = attach.enter_source(op.source)
    if not op.subpath:
        return source
    try:
        return attach.subpath(source, op.subpath, "the volume")
    finally:
        os.close(source)


def _bind(op: MountOp, tree: Tree) -> None:
    source = _source(op)
    point = clone = -1
    try:
        is_directory = stat.S_ISDIR(os.fstat(source).st_mode)
        point = attach.mount_point(tree.root, op.target, is_directory=is_directory)
        recursive = bool(op.flags & Mount.REC)
        clone = tree.clones.pop(op, -1)
        if clone < 0:
            if op.propagation in ("slave", "rslave") and attach.propagates(source) == "private":
                raise _not_propagating(op, "shared or slave")
            clone = clone_tree(source, recursive=recursive)
        attach.bind(
            clone,
            point,
            read_only=bool(op.flags & Mount.RDONLY),
            recursive=recursive,
            propagation=op.propagation or "rprivate",
        )
    finally:
        for fd in (source, point, clone):
            if fd >= 0:
                os.close(fd)


def _not_propagating(op: MountOp, wanted: str) -> RuntimeFailure:
    return RuntimeFailure(
        f"propagation '{op.propagation}' of '{op.target}': {op.source} lies on a mount that is not {wanted}",
        hint=f"make it so on the host (mount --make-{op.propagation.removeprefix('r')} ...)",
    )


def _image(op: MountOp, tree: Tree) -> None:
    """Show an image, or what ``subpath`` is in it: put together on top of the staging directory, cloned
    from there, and taken off again."""
    mount_layers(op.layers, tree.staging)
    try:
        whole = os.open(tree.staging, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            part = attach.subpath(whole, op.subpath, f"image '{op.source}'") if op.subpath else os.dup(whole)
        finally:
            os.close(whole)
        try:
            is_directory = stat.S_ISDIR(os.fstat(part).st_mode)
            point = attach.mount_point(tree.root, op.target, is_directory=is_directory)
            try:
                attach.bind_descriptor(part, point, read_only=True)
            finally:
                os.close(point)
        finally:
            os.close(part)
    finally:
        umount2(tree.staging, detach=True)


def _fill(op: MountOp, tree: Tree) -> None:
    try:
        source = enter(tree.root, op.target, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
            return  # no such directory in the image; a target that is wrong is refused when it is mounted
        raise
    try:
        fill(source, op.source)
    finally:
        os.close(source)


def _node(op: MountOp, tree: Tree) -> None:
    name = op.target.rpartition("/")[2]
    number = os.makedev(*op.number)
    make_node(tree.root, op.target, stat.S_IFCHR | 0o666, number, f"/dev/{name}")
    if name == "null":
        tree.null = enter(tree.root, op.target, resolve=PLAIN)


def _device(op: MountOp, tree: Tree) -> None:
    info = os.stat(op.source)
    if stat.S_ISDIR(info.st_mode):
        _host_nodes(op.source, op.target, tree.root)
        return
    if not (stat.S_ISCHR(info.st_mode) or stat.S_ISBLK(info.st_mode)):
        raise RuntimeFailure(f"'{op.source}' is not a device node", hint="see 'devices:' of the service")
    owner = (info.st_uid, info.st_gid)
    make_node(tree.root, op.target, info.st_mode, info.st_rdev, op.source, owner=owner)


def _devices(op: MountOp, tree: Tree) -> None:
    _host_nodes(op.source, op.target, tree.root)


def _host_nodes(source: str, target: str, root: int) -> None:
    """Make every device node below ``source`` again below ``target``."""
    for entry in sorted(os.scandir(source), key=lambda entry: entry.name):
        aim = f"{target}/{entry.name}"
        if entry.name in ("pts", "shm", "mqueue", "console", "fd", ".udev") or entry.is_symlink():
            continue
        info = entry.stat(follow_symlinks=False)
        if stat.S_ISDIR(info.st_mode):
            _host_nodes(entry.path, aim, root)
        elif (stat.S_ISCHR(info.st_mode) or stat.S_ISBLK(info.st_mode)) and not exists(root, aim):
            owner = (info.st_uid, info.st_gid)
            make_node(root, aim, info.st_mode, info.st_rdev, entry.path, owner=owner)


def _link(op: MountOp, tree: Tree) -> None:
    make_link(tree.root, op.target, op.source)


def _shm(op: MountOp, tree: Tree) -> None:
    """Show another container's /dev/shm: cloned inside its mount namespace, attached in ours."""
    ours = os.open("/proc/self/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
    theirs = os.open(op.source, os.O_RDONLY | os.O_CLOEXEC)
    here = os.open(".", os.O_PATH | os.O_CLOEXEC)
    point = directory(tree.root, op.target)
    try:
        setns(theirs, Clone.NEWNS)
        try:
            clone = _cloned_in_root("/dev/shm")
        finally:
            setns(ours, Clone.NEWNS)
            os.fchdir(here)
        move_tree(clone, point)
        os.close(clone)
    finally:
        for fd in (ours, theirs, here, point):
            os.close(fd)


def _cloned_in_root(path: str) -> int:
    """A detached clone of the mount at ``path`` of the mount namespace that this process is in now."""
    root = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with opened(root, path, os.O_PATH | os.O_DIRECTORY) as fd:
            return clone_tree(fd)
    finally:
        os.close(root)


def _mask(op: MountOp, tree: Tree) -> None:
    fd = _there(op, tree)
    if fd < 0:
        return
    try:
        if stat.S_ISDIR(os.fstat(fd).st_mode):
            mount("tmpfs", place(fd), "tmpfs", Mount.RDONLY, "size=4k,nr_inodes=1")
        else:  # the container's own node: the mode of the host's must not be theirs to change
            mount(place(_null(tree)), place(fd), "", Mount.BIND)
    finally:
        os.close(fd)


def _null(tree: Tree) -> int:
    """The /dev/null that was made here: what lies at that path by now may be the container's."""
    if tree.null < 0 or os.fstat(tree.null).st_rdev != _NULL:
        raise RuntimeFailure("/dev/null of the container is none, so that nothing can be masked with it")
    return tree.null


def _there(op: MountOp, tree: Tree) -> int:
    """Open a path of ours in /proc or /sys; -1 when it is not there, or a link of a mount led elsewhere."""
    try:
        return enter(tree.root, op.target, resolve=PLAIN)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
            return -1
        raise


def _readonly(op: MountOp, tree: Tree) -> None:
    fd = _there(op, tree)
    if fd < 0:
        return
    try:
        attach.bind_descriptor(fd, fd, read_only=True, recursive=True)
    finally:
        os.close(fd)


def _lock(op: MountOp, tree: Tree) -> None:
    with opened(tree.root, op.target, resolve=PLAIN) as fd:
        mount_setattr(fd, read_only=True)


def _workdir(op: MountOp, tree: Tree) -> None:
    with contextlib.suppress(OSError):  # chdir(2) will say what is wrong with it
        os.close(directory(tree.root, op.target))


def _seal(_op: MountOp, tree: Tree) -> None:
    mount_setattr(tree.root, read_only=True)


_DO: dict[str, Callable[[MountOp, Tree], None]] = {
    "overlay": _overlay,
    "root": _bind_root,
    "fill": _fill,
    "mount": _mount,
    "bind": _bind,
    "tmpfs": _tmpfs,
    "image": _image,
    "node": _node,
    "device": _device,
    "devices": _devices,
    "link": _link,
    "shm": _shm,
    "mask": _mask,
    "readonly": _readonly,
    "lock": _lock,
    "workdir": _workdir,
    "seal": _seal,
}
