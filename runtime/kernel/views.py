"""A read-only view of the caller's file system, for programs whose own files nobody may change.

Comes in:  the descriptor of a root directory.
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

from runtime.kernel.libc import LIBC, failure
from runtime.kernel.mounts import Mount, mount_setattr
from runtime.kernel.trees import clone_tree

_CLONE_FS = 0x200


def read_only_view(root: int) -> int:
    """Clone the mounts below the directory ``root``, read-only and private. Returns the view's descriptor.

    The view exists for as long as the descriptor is open; files opened in it stay read-only for ever.
    Linux 5.12. EPERM: no CAP_SYS_ADMIN over the mount namespace.
    """
    tree = clone_tree(root)
    try:
        mount_setattr(tree, read_only=True, propagation=Mount.PRIVATE, recursive=True)
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
