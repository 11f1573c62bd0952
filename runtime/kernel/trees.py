"""Names without paths: mount trees, hard links and renames by descriptors.

Comes in:  descriptors, single names.
Goes out:  a descriptor of a detached mount, an attached mount, a link, a new place.
Not here:  where the descriptors come from (``runtime.inside``).
"""

from __future__ import annotations

import os

from runtime.kernel.libc import LIBC, failure, syscall

_OPEN_TREE_CLONE, _RECURSIVE, _EMPTY_PATH = 1, 0x8000, 0x1000
_F_EMPTY_PATH, _T_EMPTY_PATH = 0x4, 0x40
_NOREPLACE = 1


def clone_tree(fd: int, *, recursive: bool = True) -> int:
    """open_tree(2), OPEN_TREE_CLONE: a detached bind of what ``fd`` is, with the mounts below. Linux 5.2.

    EINVAL: the mount of ``fd`` is not in this mount namespace, or is unbindable.
    """
    flags = _OPEN_TREE_CLONE | os.O_CLOEXEC | _EMPTY_PATH | (_RECURSIVE if recursive else 0)
    return syscall("open_tree", fd, b"", flags)


def move_tree(tree: int, target: int) -> None:
    """move_mount(2): attach a detached mount on what the descriptor ``target`` is; ``tree`` stays open.

    ENOTDIR: one of them is a directory and the other is not.
    """
    syscall("move_mount", tree, b"", target, b"", _F_EMPTY_PATH | _T_EMPTY_PATH)


def link_descriptor(fd: int, directory: int, name: str) -> None:
    """linkat(2), AT_EMPTY_PATH: another name for the open file ``fd``; needs CAP_DAC_READ_SEARCH."""
    if LIBC.linkat(fd, b"", directory, os.fsencode(name), _EMPTY_PATH) == -1:
        raise failure("linkat", name)


def rename_new(source: int, name: str, target: int, new: str) -> None:
    """renameat2(2), RENAME_NOREPLACE: FileExistsError when ``new`` is there."""
    words = (source, os.fsencode(name), target, os.fsencode(new), _NOREPLACE)
    syscall("renameat2", *words, about=name)
