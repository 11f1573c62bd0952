"""Mount trees as descriptors: take one out of a mount namespace, attach it in another.

Comes in:  a path, a descriptor.
Goes out:  a descriptor of a detached mount, an attached mount.
Not here:  joining the namespaces between the two calls (``runtime.rootfs.apply``).
"""

from __future__ import annotations

import os
from pathlib import Path

from runtime.kernel.libc import syscall

_OPEN_TREE_CLONE, _CLOEXEC = 1, os.O_CLOEXEC
_F_EMPTY_PATH, _T_EMPTY_PATH = 0x4, 0x40


def clone_tree(path: str | Path) -> int:
    """open_tree(2), OPEN_TREE_CLONE: a detached copy of the mount at ``path``. Linux 5.2."""
    return syscall("open_tree", -100, os.fsencode(path), _OPEN_TREE_CLONE | _CLOEXEC, about=path)


def move_tree(tree: int, target: int) -> None:
    """move_mount(2): attach a detached mount at the directory ``target``; closes ``tree``."""
    try:
        syscall("move_mount", tree, b"", target, b"", _F_EMPTY_PATH | _T_EMPTY_PATH)
    finally:
        os.close(tree)
