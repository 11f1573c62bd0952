"""Fill an empty volume with what the image has at its mount point.

Comes in:  two directory descriptors; nothing else runs in either tree yet.
Goes out:  a copy: content, owner, mode, times, extended attributes, links, devices.
Not here:  deciding that a volume is fresh (``compose.plan``).
"""

from __future__ import annotations

import os
import stat

_CHUNK = 1 << 24


def seed(source: int, target: int) -> bool:
    """Copy the tree of directory ``source`` into directory ``target`` when that is empty.

    Returns whether anything was copied. The target directory itself gets owner and mode too.
    """
    if os.listdir(target):
        return False
    _copy_directory(source, target, {})
    return True


def _copy_directory(source: int, target: int, seen: dict[tuple[int, int], str], prefix: str = "") -> None:
    for name in sorted(os.listdir(source)):
        info = os.stat(name, dir_fd=source, follow_symlinks=False)
        if stat.S_ISDIR(info.st_mode):
            _descend(name, source, target, seen, f"{prefix}{name}/")
        elif not _linked(name, info, target, seen, prefix):
            _copy_leaf(name, info, source, target)
    _dress(os.fstat(source), source, target)


def _descend(name: str, source: int, target: int, seen: dict[tuple[int, int], str], prefix: str) -> None:
    os.mkdir(name, 0o700, dir_fd=target)
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    below, copy = os.open(name, flags, dir_fd=source), os.open(name, flags, dir_fd=target)
    try:
        _copy_directory(below, copy, seen, prefix)
    finally:
        os.close(below)
        os.close(copy)


def _linked(
    name: str, info: os.stat_result, target: int, seen: dict[tuple[int, int], str], prefix: str
) -> bool:
    """Make a hard link when this inode was copied before, in this same directory tree."""
    if info.st_nlink < 2:
        return False
    key = (info.st_dev, info.st_ino)
    first = seen.setdefault(key, prefix + name)
    if first == prefix + name:
        return False
    up = "../" * prefix.count("/")
    os.link(up + first, name, src_dir_fd=target, dst_dir_fd=target, follow_symlinks=False)
    return True


def _copy_leaf(name: str, info: os.stat_result, source: int, target: int) -> None:
    if stat.S_ISREG(info.st_mode):
        _copy_file(name, info, source, target)
        return
    if stat.S_ISLNK(info.st_mode):
        os.symlink(os.readlink(name, dir_fd=source), name, dir_fd=target)
    elif not stat.S_ISSOCK(info.st_mode):
        os.mknod(name, info.st_mode, info.st_rdev, dir_fd=target)
        os.chmod(name, stat.S_IMODE(info.st_mode), dir_fd=target)
    else:
        return  # a socket without its server is of no use
    os.chown(name, info.st_uid, info.st_gid, dir_fd=target, follow_symlinks=False)
    times = (info.st_atime_ns, info.st_mtime_ns)
    os.utime(name, ns=times, dir_fd=target, follow_symlinks=False)


def _copy_file(name: str, info: os.stat_result, source: int, target: int) -> None:
    reader = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=source)
    try:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        writer = os.open(name, flags, 0o600, dir_fd=target)
        try:
            while os.sendfile(writer, reader, None, _CHUNK):
                pass
            _dress(info, reader, writer)
        finally:
            os.close(writer)
    finally:
        os.close(reader)


def _dress(info: os.stat_result, source: int, target: int) -> None:
    """Give ``target`` owner, attributes, mode and times of ``source``; chown first, it clears setuid."""
    os.fchown(target, info.st_uid, info.st_gid)
    for attribute in os.listxattr(source):
        if attribute.startswith(("user.", "security.capability", "system.posix_acl")):
            os.setxattr(target, attribute, os.getxattr(source, attribute))
    os.fchmod(target, stat.S_IMODE(info.st_mode))
    os.utime(target, ns=(info.st_atime_ns, info.st_mtime_ns))
