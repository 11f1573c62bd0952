"""A read-only view of the caller's file system, for programs whose own files nobody may change.

Comes in:  nothing; the caller's root directory is what is viewed.
Goes out:  a descriptor of the view, and processes that enter or leave it.
Not here:  which program runs there (``runtime.process.fresh``).
Source: open_tree(2), mount_setattr(2), chroot(2).

A file that a process executes or maps stays reachable through /proc/<pid>/exe and /proc/<pid>/map_files, by
way of the mount it was opened on. Opened on a read-only mount that is in no mount namespace, it can be read
and nothing else: every change fails with EROFS, and nobody can remount it.
"""

from __future__ import annotations

import ctypes
import os

from runtime.kernel.libc import LIBC, failure, syscall

_OPEN_TREE_CLONE = 1
_AT_EMPTY_PATH, _AT_RECURSIVE = 0x1000, 0x8000
_MS_PRIVATE = 1 << 18
_MOUNT_ATTR_RDONLY = 1
_CLONE_FS = 0x200


class _MountAttr(ctypes.Structure):
    _fields_ = [(name, ctypes.c_uint64) for name in ("set", "clear", "propagation", "userns")]


def read_only_view() -> int:
    """Clone the mounts below this process's root, read-only and private. Returns the view's descriptor.

    The view exists for as long as the descriptor is open; files opened in it stay read-only for ever.
    Linux 5.12. EPERM: no CAP_SYS_ADMIN over the mount namespace.
    """
    flags = _OPEN_TREE_CLONE | os.O_CLOEXEC | _AT_RECURSIVE
    tree = syscall("open_tree", -100, b"/", flags, about="/")
    try:
        attr = _MountAttr(_MOUNT_ATTR_RDONLY, 0, _MS_PRIVATE, 0)
        words = (tree, b"", _AT_EMPTY_PATH | _AT_RECURSIVE, ctypes.byref(attr), ctypes.sizeof(attr))
        syscall("mount_setattr", *words)
    except BaseException:
        os.close(tree)
        raise
    return tree


def unshare_root() -> None:
    """unshare(2), CLONE_FS: from here on root, working directory and umask are the calling thread's own."""
    if LIBC.unshare(ctypes.c_int(_CLONE_FS)) == -1:
        raise failure("unshare")


def change_root(directory: int) -> None:
    """chroot(2) to an open directory, which becomes the working directory too."""
    os.fchdir(directory)
    os.chroot(".")
