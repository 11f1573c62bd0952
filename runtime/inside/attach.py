"""Attach mounts inside a root: the target is a descriptor that has been looked at, never a name.

Comes in:  the descriptor of a root, targets as the container names them, descriptors of what is mounted.
Goes out:  mounts; RuntimeFailure for a target that nothing may be mounted on.
Not here:  which mounts there are (``runtime.rootfs.decide``).
Source: open_tree(2), move_mount(2), mount_setattr(2); runc, checkProcMount.
"""

from __future__ import annotations

import errno
import os
import stat

from runtime.errors import RuntimeFailure
from runtime.inside.paths import below, directory, file, name_of
from runtime.kernel.mounts import Mount, filesystem_type, mount_setattr
from runtime.kernel.trees import clone_tree, move_tree
from runtime.policy.paths import mountable

_PROC = 0x9FA0
_KERNEL = {  # include/uapi/linux/magic.h: file systems that are windows into the kernel
    _PROC,
    0x62656572,  # sysfs
    0x27E0EB,  # cgroup
    0x63677270,  # cgroup2
    0x64626720,  # debugfs
    0x74726163,  # tracefs
    0x73636673,  # securityfs
    0x62656570,  # configfs
    0xCAFE4A11,  # bpf
    0x6165676C,  # pstore
    0xDE5E81E4,  # efivarfs
    0x42494E4D,  # binfmt_misc
    0xF97CFF8C,  # selinuxfs
}
_PROPAGATION = {"private": Mount.PRIVATE, "shared": Mount.SHARED, "slave": Mount.SLAVE}
_HINT = "mount a directory on a directory and a file on a file; check source and target of the mount"
_IN_PROC = "nothing is mounted inside /proc"


def mount_point(root: int, target: str, *, is_directory: bool, mode: int = 0o755) -> int:
    """Open what ``target`` leads to in ``root``, made when missing, and make sure it may be mounted on.

    mode: of a directory that is made. Raises RuntimeFailure: the target is the root or lies in /proc, a link
    leads it into another file system of the kernel, or it is a file where a directory is needed, or the
    other way round.
    """
    if not mountable(target.rstrip("/")):
        raise RuntimeFailure(f"cannot mount on '{target}': {_IN_PROC}", hint="choose another target")
    try:
        fd = directory(root, target, mode=mode) if is_directory else file(root, target)
    except OSError as error:
        if error.errno not in (errno.ENOTDIR, errno.ELOOP):
            raise
        why = "a file is in the way" if error.errno == errno.ENOTDIR else "links in it go in a circle"
        raise RuntimeFailure(f"cannot mount on '{target}': {why} in the container", hint=_HINT) from None
    try:
        _may_be_covered(root, fd, target)
        if os.path.samestat(os.fstat(fd), os.fstat(root)):
            text = f"cannot mount on '{target}': it is the root of the container"
            raise RuntimeFailure(text, hint="choose another target")
        if not is_directory and stat.S_ISDIR(os.fstat(fd).st_mode):
            text = f"cannot mount a file on '{target}', which is a directory in the container"
            raise RuntimeFailure(text, hint=_HINT)
    except BaseException:
        os.close(fd)
        raise
    return fd


def _may_be_covered(root: int, fd: int, target: str) -> None:
    kind = filesystem_type(fd)
    if kind not in _KERNEL:
        return
    found = name_of(root, fd)
    is_file = not stat.S_ISDIR(os.fstat(fd).st_mode)
    if found == target.rstrip("/") and (kind != _PROC or (is_file and mountable(found))):
        return
    led = "" if found == target.rstrip("/") else f", where links lead '{target}'"
    why = _IN_PROC if kind == _PROC else "it is a file system of the kernel"
    raise RuntimeFailure(f"cannot mount on '{found}'{led}: {why}", hint="choose another target")


def bind(clone: int, target: int, *, read_only: bool, recursive: bool, propagation: str = "rprivate") -> None:
    """Attach the detached mount ``clone`` on ``target``, its attributes set before anyone can see it.

    recursive: ``clone`` has mounts below it. propagation: "[r]private", "[r]shared", "[r]slave".
    """
    kind = _PROPAGATION[propagation.removeprefix("r")]
    deep = recursive and propagation.startswith("r")
    mount_setattr(clone, read_only=read_only and deep == recursive, propagation=kind, recursive=deep)
    if read_only and deep != recursive:
        mount_setattr(clone, read_only=True, recursive=recursive)
    move_tree(clone, target)


def bind_descriptor(source: int, target: int, *, read_only: bool = False, recursive: bool = False) -> None:
    """Bind what ``source`` is on ``target``."""
    clone = clone_tree(source, recursive=recursive)
    try:
        bind(clone, target, read_only=read_only, recursive=recursive)
    finally:
        os.close(clone)


def subpath(source: int, path: str, what: str) -> int:
    """Open ``path`` inside the directory ``source`` of a volume or image; links and ".." stay inside.

    what: how errors name the source. Raises RuntimeFailure when it is not there or leads out.
    """
    try:
        return below(source, path)
    except OSError as error:
        why = {
            errno.EXDEV: "leads out of it",
            errno.ELOOP: "leads out of it, or its links go in a circle",
            errno.ENOENT: "no such file or directory",
            errno.ENOTDIR: "a part of it is no directory",
        }.get(error.errno or 0, error.strerror)
        raise RuntimeFailure(
            f"cannot access subpath '{path}' of {what}: {why}", hint="it has to exist before the start"
        ) from None


def propagates(source: int) -> str:
    """How the mount that ``source`` lies on propagates: "shared", "slave" or "private".

    Source: proc(5), /proc/PID/mountinfo and /proc/PID/fdinfo.
    """
    with open(f"/proc/self/fdinfo/{source}", encoding="ascii") as info:
        number = next(line.split()[1] for line in info if line.startswith("mnt_id:"))
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape", newline="\n") as table:
        fields = next(line.split(" ") for line in table if line.split(" ", 1)[0] == number)
    words = fields[6 : fields.index("-")]
    shared = any(word.startswith("shared:") for word in words)
    return "shared" if shared else "slave" if any(word.startswith("master:") for word in words) else "private"


def enter_source(path: str) -> int:
    """Open the source of a bind, a path of the host; a directory is mounted first if autofs(5) keeps it."""
    flags = os.O_PATH | os.O_CLOEXEC
    try:
        return os.open(path, flags | os.O_DIRECTORY)
    except NotADirectoryError:
        return os.open(path, flags)
