"""Fill an empty volume with what the image has at its mount point.

Comes in:  the descriptors of two directories; other containers may write to the second at the same time.
Goes out:  a copy: content, owner, mode, times, extended attributes, links, devices.
Not here:  deciding that a volume is to be filled (``compose.plan``).

The copy is made beside the volume's directory, where no container sees it, and its parts are moved in one by
one. Where that cannot be, since the volume is a directory of the host, it is made in place. Either way no
name with a slash is used and no link followed: each file is made, linked and changed by its descriptor.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager

from runtime.inside.paths import PLAIN, opened, place, set_mode
from runtime.inside.remove import remove_tree
from runtime.kernel.trees import link_descriptor, rename_new

_CHUNK = 1 << 24
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_DRAFT = ".draft"  # beside _data
_LIST = os.O_RDONLY | os.O_DIRECTORY
Seen = dict[
    tuple[int, int], tuple[str, int]
]  # (device, inode) of a file with several names: path, inode of its copy


def fill(source: int, volume: str) -> bool:
    """Copy the tree of directory ``source`` into the directory ``volume`` (a path of the host) when that is
    empty. Returns whether anything was copied. The directory itself gets owner, mode and times too.

    Two containers that start at once wait for each other: the second finds the volume filled.
    """
    parent, _, name = volume.rpartition("/")
    home = os.open(parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    target = -1
    try:
        fcntl.flock(home, fcntl.LOCK_EX)
        target = os.open(volume, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        if os.listdir(target):
            return False
        own = os.stat(name, dir_fd=home, follow_symlinks=False)
        if stat.S_ISDIR(own.st_mode) and own.st_dev == os.fstat(home).st_dev:
            _through_draft(source, home, target)
        else:
            _copy(source, target)
        return True
    finally:
        os.close(home)
        if target >= 0:
            os.close(target)


def _through_draft(source: int, home: int, target: int) -> None:
    remove_tree(home, _DRAFT)  # of a fill that was killed
    os.mkdir(_DRAFT, 0o700, dir_fd=home)
    try:
        draft = os.open(_DRAFT, _DIRECTORY, dir_fd=home)
        try:
            _copy(source, draft)
            for name in os.listdir(draft):
                _move(draft, name, target)
        except OSError as error:
            if error.errno != errno.EXDEV:  # the volume is a mount of its own
                raise
            _copy(source, target)
        finally:
            os.close(draft)
    finally:
        remove_tree(home, _DRAFT)
    _dress(os.fstat(source), source, target)


def _move(draft: int, name: str, target: int) -> None:
    try:
        rename_new(draft, name, target, name)
    except FileExistsError:
        pass  # another container was quicker: what it wrote stays


def _copy(source: int, target: int) -> None:
    """Copy what is in ``source`` into ``target``, then dress the directories, the deepest first."""
    seen: Seen = {}
    directories = [""]
    for path in directories:  # grows meanwhile: no recursion, so that no depth is too much
        with _both(source, target, path) as (reader, writer):
            for name in sorted(os.listdir(reader)):
                info = os.stat(name, dir_fd=reader, follow_symlinks=False)
                inner = f"{path}/{name}" if path else name
                if stat.S_ISDIR(info.st_mode):
                    os.mkdir(name, 0o700, dir_fd=writer)
                    directories.append(inner)
                elif not _linked(info, target, writer, name, seen):
                    _copy_leaf(name, info, reader, writer, seen, inner)
    for path in reversed(directories):
        with _both(source, target, path) as (reader, writer):
            _dress(os.fstat(reader), reader, writer)


@contextmanager
def _both(source: int, target: int, path: str) -> Iterator[tuple[int, int]]:
    """The directory ``path`` of both trees."""
    with (
        opened(source, path, _LIST, resolve=PLAIN) as reader,
        opened(target, path, _LIST, resolve=PLAIN) as writer,
    ):
        yield reader, writer


def _linked(info: os.stat_result, top: int, directory: int, name: str, seen: Seen) -> bool:
    """Give the copy of an inode that was copied before another name."""
    first = seen.get((info.st_dev, info.st_ino)) if info.st_nlink > 1 else None
    if first is None:
        return False
    path, inode = first
    try:
        with opened(top, path, os.O_PATH | os.O_NOFOLLOW, resolve=PLAIN) as copy:
            if os.fstat(copy).st_ino == inode:
                link_descriptor(copy, directory, name)
                return True
    except OSError as error:
        if error.errno not in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
            raise
    return False  # somebody has taken it away: this one is copied


def _copy_leaf(name: str, info: os.stat_result, source: int, target: int, seen: Seen, path: str) -> None:
    if stat.S_ISREG(info.st_mode):
        inode = _copy_file(name, source, target)
    elif stat.S_ISSOCK(info.st_mode):
        return  # a socket without its server is of no use
    else:
        if stat.S_ISLNK(info.st_mode):
            os.symlink(os.readlink(name, dir_fd=source), name, dir_fd=target)
        else:
            os.mknod(name, info.st_mode, info.st_rdev, dir_fd=target)
        inode = _dress_special(name, info, target)
    if info.st_nlink > 1:
        seen[info.st_dev, info.st_ino] = path, inode


def _copy_file(name: str, source: int, target: int) -> int:
    """Copy a regular file. Returns the inode of the copy."""
    reader = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=source)
    try:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        writer = os.open(name, flags, 0o600, dir_fd=target)
        try:
            while os.sendfile(writer, reader, None, _CHUNK):
                pass
            _dress(os.fstat(reader), reader, writer)
            return os.fstat(writer).st_ino
        finally:
            os.close(writer)
    finally:
        os.close(reader)


def _dress_special(name: str, info: os.stat_result, directory: int) -> int:
    """Owner, mode and times of a new link, device or pipe, by its descriptor. Returns its inode."""
    fd = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory)
    try:
        made = os.fstat(fd)
        if stat.S_IFMT(made.st_mode) == stat.S_IFMT(info.st_mode) and made.st_rdev == info.st_rdev:
            os.chown(place(fd), info.st_uid, info.st_gid)
            set_mode(fd, stat.S_IMODE(info.st_mode))
            os.utime(place(fd), ns=(info.st_atime_ns, info.st_mtime_ns))
        return made.st_ino
    finally:
        os.close(fd)


def _dress(info: os.stat_result, source: int, target: int) -> None:
    """Give ``target`` owner, attributes, mode and times of ``source``; chown first, it clears setuid."""
    os.fchown(target, info.st_uid, info.st_gid)
    for attribute in os.listxattr(source):
        if attribute.startswith(("user.", "security.capability", "system.posix_acl")):
            os.setxattr(target, attribute, os.getxattr(source, attribute))
    os.fchmod(target, stat.S_IMODE(info.st_mode))
    os.utime(target, ns=(info.st_atime_ns, info.st_mtime_ns))
