"""Read a tree that may change meanwhile: nothing is followed, nothing but regular files is opened.

Comes in:  the descriptor of a root, paths relative to it as bytes.
Goes out:  listings, lstat, links, attributes and content, all by descriptors.
Not here:  what becomes of them (``runtime.image.layer``).
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator

from runtime.kernel.mounts import Resolve, openat2

PLAIN = Resolve.BENEATH | Resolve.NO_SYMLINKS | Resolve.NO_MAGICLINKS
GONE = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.EXDEV, errno.ESTALE)
_LIST = os.O_RDONLY | os.O_DIRECTORY
_OPEN = 64  # directories kept open at once; those above are opened again on the way back


class Level:
    """A directory on the way: ``path`` relative to the root, what is left of its names, its descriptor."""

    __slots__ = ("fd", "names", "path")

    def __init__(self, path: bytes, fd: int) -> None:
        self.path, self.fd = path, fd
        self.names = sorted(map(os.fsencode, os.listdir(fd)), reverse=True)


def walk(root: int, *, living: bool) -> Iterator[tuple[bytes, int, bytes, os.stat_result]]:
    """Everything below ``root``: path, directory, name, lstat; sorted, a directory before what is in it.

    living: what vanishes meanwhile is left out; else it is an OSError. The descriptor of the directory is
    good until the next step. A tree may be of any depth that a path of 4096 bytes can name.
    """
    stack = [Level(b"", openat2(root, ".", _LIST, resolve=PLAIN))]
    try:
        while stack:
            level = stack[-1]
            if not level.names:
                os.close(stack.pop().fd)
                _reopen(root, stack, living=living)
                continue
            name = level.names.pop()
            path = level.path + b"/" + name if level.path else name
            try:
                info = os.stat(name, dir_fd=level.fd, follow_symlinks=False)
                below = Level(path, _child(level.fd, name)) if stat.S_ISDIR(info.st_mode) else None
            except OSError as error:
                if living and error.errno in GONE:
                    continue
                raise
            if below is not None:
                info = os.fstat(below.fd)
                stack.append(below)
                if len(stack) > _OPEN:
                    _let_go(stack[-_OPEN])
            yield path, level.fd, name, info
    finally:
        for level in stack:
            _let_go(level)


def _child(directory: int, name: bytes) -> int:
    return os.open(name, _LIST | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory)


def _let_go(level: Level) -> None:
    if level.fd >= 0:
        os.close(level.fd)
        level.fd = -1


def _reopen(root: int, stack: list[Level], *, living: bool) -> None:
    """Open the directory that the walk comes back to, if it was let go; a living one may be gone."""
    while stack and stack[-1].fd < 0:
        try:
            stack[-1].fd = openat2(root, stack[-1].path or b".", _LIST, resolve=PLAIN)
        except OSError as error:
            if not living or error.errno not in GONE:
                raise
            stack.pop()


def readlink(directory: int, name: bytes) -> bytes:
    """Where the link ``name`` in ``directory`` leads."""
    return os.readlink(name, dir_fd=directory)


def attributes(directory: int, name: bytes) -> dict[str, bytes]:
    """Extended attributes of ``name`` itself. The directory is a descriptor, so no name above it counts."""
    path = b"/proc/self/fd/%d/%s" % (directory, name)
    names = os.listxattr(path, follow_symlinks=False)
    return {key: os.getxattr(path, key, follow_symlinks=False) for key in names}


def open_file(directory: int, name: bytes) -> int:
    """Open the regular file ``name`` in ``directory`` for reading. FileNotFoundError: it is none (any more).

    A device or pipe in its place is never opened: it is looked at first, by a descriptor that opens nothing.
    """
    path = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory)
    try:
        if not stat.S_ISREG(os.fstat(path).st_mode):
            raise FileNotFoundError(errno.ENOENT, "not a regular file", os.fsdecode(name))
        return os.open(f"/proc/self/fd/{path}", os.O_RDONLY | os.O_CLOEXEC)
    finally:
        os.close(path)


def open_below(root: int, path: bytes) -> int:
    """Open the regular file at ``path`` below ``root`` for reading, no link on the way followed."""
    parent, _, name = path.rpartition(b"/")
    above = openat2(root, parent or b".", os.O_PATH | os.O_DIRECTORY, resolve=PLAIN)
    try:
        return open_file(above, name)
    finally:
        os.close(above)


def usage(root: str | os.PathLike[str]) -> int:
    """Bytes that the tree at ``root`` takes on disk, every file once; 0 when it is not there."""
    try:
        top = os.open(root, _LIST | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        return 0
    total, seen = 0, set[tuple[int, int]]()
    try:
        for _, _, _, info in walk(top, living=True):
            key = (info.st_dev, info.st_ino)
            if info.st_nlink > 1 and not stat.S_ISDIR(info.st_mode):
                if key in seen:
                    continue
                seen.add(key)
            total += info.st_blocks * 512
    finally:
        os.close(top)
    return total
