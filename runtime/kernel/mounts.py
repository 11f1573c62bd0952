"""The mount family of system calls.

Comes in:  paths as this process's mount namespace sees them.
Goes out:  nothing, or a descriptor.
Not here:  which mounts a container has (``runtime.rootfs.decide``).
"""

from __future__ import annotations

import ctypes
import os
from enum import IntFlag
from pathlib import Path

from runtime.kernel.libc import LIBC, failure, syscall

_TEXT = ctypes.c_char_p
LIBC.mount.argtypes = (_TEXT, _TEXT, _TEXT, ctypes.c_ulong, _TEXT)
LIBC.umount2.argtypes = (_TEXT, ctypes.c_int)
LIBC.fstatfs.argtypes = (ctypes.c_int, ctypes.c_char_p)


class Mount(IntFlag):
    """MS_* of include/uapi/linux/mount.h."""

    NONE = 0
    RDONLY = 1
    NOSUID = 2
    NODEV = 4
    NOEXEC = 8
    SYNCHRONOUS = 16
    REMOUNT = 32
    DIRSYNC = 128
    NOSYMFOLLOW = 256
    NOATIME = 1024
    NODIRATIME = 2048
    BIND = 4096
    MOVE = 8192
    REC = 16384
    UNBINDABLE = 1 << 17
    PRIVATE = 1 << 18
    SLAVE = 1 << 19
    SHARED = 1 << 20
    RELATIME = 1 << 21
    STRICTATIME = 1 << 24


class Resolve(IntFlag):
    """RESOLVE_* of include/uapi/linux/openat2.h."""

    NONE = 0
    NO_XDEV = 1
    NO_MAGICLINKS = 2
    NO_SYMLINKS = 4
    BENEATH = 8
    IN_ROOT = 16


def mount(
    source: str, target: str | Path, fstype: str = "", flags: Mount = Mount.NONE, data: str = ""
) -> None:
    """mount(2): attach a filesystem at ``target``.

    target: an existing path, as this process's mount namespace sees it.
    data:   filesystem options joined by commas; the kernel reads at most one page.
    Raises OSError naming the call and ``target``. EPERM: no CAP_SYS_ADMIN over the
    mount namespace. ENODEV: this kernel lacks ``fstype``.
    Source: mount(2), include/uapi/linux/mount.h.
    """
    words = (os.fsencode(source), os.fsencode(target), fstype.encode(), int(flags), os.fsencode(data))
    if LIBC.mount(*words) == -1:
        raise failure("mount", target)


def umount2(target: str | Path, *, detach: bool = False) -> None:
    """umount2(2): take the topmost mount off ``target``; ``detach`` is MNT_DETACH (lazy)."""
    if LIBC.umount2(os.fsencode(target), 2 if detach else 0) == -1:
        raise failure("umount2", target)


def pivot_root(new: str | Path, old: str | Path) -> None:
    """pivot_root(2): make ``new`` the root of this mount namespace and put the old one at ``old``.

    EINVAL: ``new`` is no mount point, or a propagation type in the way is shared.
    """
    syscall("pivot_root", os.fsencode(new), os.fsencode(old), about=new)


class _MountAttr(ctypes.Structure):
    _fields_ = [(name, ctypes.c_uint64) for name in ("set", "clear", "propagation", "userns")]


def mount_setattr(
    mount: int, *, read_only: bool = False, propagation: Mount = Mount.NONE, recursive: bool = False
) -> None:
    """mount_setattr(2): change the mount whose root the descriptor ``mount`` is; other attributes stay.

    propagation: PRIVATE, SHARED, SLAVE or UNBINDABLE; NONE leaves it. recursive: the mounts below as well.
    ENOSYS before Linux 5.12. Source: include/uapi/linux/mount.h (MOUNT_ATTR_RDONLY, AT_RECURSIVE).
    """
    attr = _MountAttr(1 if read_only else 0, 0, int(propagation), 0)
    flags = 0x1000 | (0x8000 if recursive else 0)  # AT_EMPTY_PATH, AT_RECURSIVE
    syscall("mount_setattr", mount, b"", flags, ctypes.byref(attr), ctypes.sizeof(attr), about=mount)


def filesystem_type(fd: int) -> int:
    """fstatfs(2): the magic number of the file system that ``fd`` lies on (include/uapi/linux/magic.h)."""
    buffer = ctypes.create_string_buffer(256)  # struct statfs, whose first word is f_type
    if LIBC.fstatfs(fd, buffer) == -1:
        raise failure("fstatfs")
    return int.from_bytes(buffer.raw[:4], "little")


class _OpenHow(ctypes.Structure):
    _fields_ = [(name, ctypes.c_uint64) for name in ("flags", "mode", "resolve")]


def openat2(
    directory: int, path: str | bytes, flags: int, *, mode: int = 0, resolve: Resolve = Resolve.NONE
) -> int:
    """openat2(2): open ``path`` below ``directory``; with IN_ROOT symlinks and ".." stay inside it.

    Returns a close-on-exec descriptor. Linux 5.6. EAGAIN (a rename raced ".."): asked again here.
    """
    how = _OpenHow(flags | os.O_CLOEXEC, mode, int(resolve))
    while True:
        try:
            words = (directory, os.fsencode(path), ctypes.byref(how), ctypes.sizeof(how))
            return syscall("openat2", *words, about=os.fsdecode(path))
        except BlockingIOError:
            continue
