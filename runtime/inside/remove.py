"""Remove a tree that others may still change, however deep it is.

Comes in:  the descriptor of the directory it lies in, its name there.
Goes out:  nothing of it is left.
Not here:  when (``runtime.volume``, the spawner).

No name with a slash is ever used and no link followed. A directory that is not empty is moved up to the top
first, so that a tree of any depth needs two descriptors and no recursion.
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import stat

from runtime.inside.paths import PLAIN, opened
from runtime.kernel.mounts import Resolve, openat2
from runtime.kernel.trees import rename_new

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_SAME_MOUNT = PLAIN | Resolve.NO_XDEV  # whatever is mounted in the tree is not ours to remove
_FULL = (errno.ENOTEMPTY, errno.EEXIST)
_LEVELS = 100_000  # somebody who goes on writing into the tree must not keep us for ever


def remove_tree(parent: int, name: str) -> None:
    """Remove ``name`` in the directory ``parent``, whatever it is; nothing when it is not there.

    Raises OSError once all else is gone: EBUSY for a mount point inside, EPERM for an immutable file,
    ENOTEMPTY when somebody keeps on writing.
    """
    try:
        os.unlink(name, dir_fd=parent)
        return
    except FileNotFoundError:
        return
    except (IsADirectoryError, PermissionError):
        pass
    removal, top = Removal(), os.open(name, _DIRECTORY, dir_fd=parent)
    try:
        for _ in range(_LEVELS):
            before = removal.done
            if not _empty(top, removal) or removal.done == before:
                break
    finally:
        os.close(top)
    if removal.failed:
        raise removal.failed[0]
    os.rmdir(name, dir_fd=parent)


class Removal:
    """One removal. done: names taken away so far; failed: what could not be removed and is passed over."""

    def __init__(self) -> None:
        self.done = 0
        self.failed: list[OSError] = []
        self.numbers = itertools.count()


def delete(path: str | os.PathLike[str]) -> None:
    """Remove the tree at ``path`` of the host as far as it can be removed."""
    parent, name = os.path.split(os.path.abspath(path))
    with contextlib.suppress(OSError):
        fd = os.open(parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            remove_tree(fd, name)
        finally:
            os.close(fd)


def _empty(top: int, removal: Removal) -> bool:
    """Remove one level of what is in ``top``; a directory with content is emptied into ``top`` first.

    Returns whether there may be another level.
    """
    deeper = False
    for name in os.listdir(top):
        if _gone(top, name, removal):
            continue
        deeper = True
        try:
            fd = openat2(top, name, _DIRECTORY, resolve=_SAME_MOUNT)
        except OSError:  # somebody has just put something else there: the next round sees it
            continue
        try:
            for inner in os.listdir(fd):
                _lift(fd, inner, top, removal)
        finally:
            os.close(fd)
        _gone(top, name, removal)
    return deeper


def _lift(directory: int, name: str, top: int, removal: Removal) -> None:
    """Remove ``name`` in ``directory``, or move it up when it is a directory with content."""
    while not _gone(directory, name, removal):
        try:
            rename_new(directory, name, top, f".{next(removal.numbers)}")
            removal.done += 1
            return
        except FileExistsError:
            continue
        except FileNotFoundError:
            return


def _gone(directory: int, name: str, removal: Removal) -> bool:
    """Remove a file or an empty directory; False for a directory with content. What fails counts as gone."""
    try:
        os.unlink(name, dir_fd=directory)
    except FileNotFoundError:
        return True
    except (IsADirectoryError, PermissionError) as refused:
        try:
            os.rmdir(name, dir_fd=directory)
        except FileNotFoundError:
            return True
        except OSError as error:
            if error.errno in _FULL:
                return False
            removal.failed.append(refused if error.errno == errno.ENOTDIR else error)
            return True
    except OSError as error:
        removal.failed.append(error)
        return True
    removal.done += 1
    return True


def remove_empty(root: int, path: str) -> bool:
    """Remove the empty file or directory at ``path`` inside ``root``, no link on the way followed.

    Returns whether it is gone now; False for anything else, such as a link or a file with content.
    """
    parent, _, name = path.rstrip("/").rpartition("/")
    try:
        with opened(root, parent or "/", os.O_PATH | os.O_DIRECTORY, resolve=PLAIN) as above:
            info = os.stat(name, dir_fd=above, follow_symlinks=False)
            if stat.S_ISDIR(info.st_mode):
                os.rmdir(name, dir_fd=above)
            elif stat.S_ISREG(info.st_mode) and info.st_size == 0:
                os.unlink(name, dir_fd=above)
            else:
                return False
    except OSError:
        return False
    return True
