"""What a process of ours looks at once its root is the container's: bounded, unwaiting, no magic links.

Comes in:  paths as the container sees them; the caller has left the host's tree and given up its rights.
Goes out:  the text of small regular files, a working directory, the container's own /dev/null.
Not here:  trees that are seen from the host (the other modules of this package).
Source: openat2(2), RESOLVE_NO_MAGICLINKS: links of /proc that lead out of the root are refused.
"""

from __future__ import annotations

import errno
import os
import stat

from runtime.errors import RuntimeFailure
from runtime.kernel.mounts import Resolve, openat2

LARGEST = 4 << 20  # bytes of /etc/passwd and /etc/group
HERE = -100  # AT_FDCWD
_PTMX = os.makedev(5, 2)
_KINDS = {
    stat.S_IFIFO: "a named pipe",
    stat.S_IFDIR: "a directory",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFSOCK: "a socket",
}


def text(path: str) -> str:
    """Read a regular file of at most LARGEST bytes; "" when there is none. Raises RuntimeFailure."""
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY
    try:
        fd = openat2(HERE, path, flags, resolve=Resolve.NO_MAGICLINKS)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR):
            return ""
        raise _strange(path, os.strerror(error.errno or 0).lower()) from None
    try:
        info = os.fstat(fd)
        if not stat.S_ISREG(info.st_mode):
            kind = _KINDS.get(stat.S_IFMT(info.st_mode), "something else")
            raise _strange(path, f"it is {kind}, not a regular file")
        return _bounded(fd, path)
    finally:
        os.close(fd)


def _bounded(fd: int, path: str) -> str:
    found = b""
    while len(found) <= LARGEST:
        try:
            data = os.read(fd, 1 << 16)
        except OSError as error:
            raise _strange(path, os.strerror(error.errno or 0).lower()) from None
        if not data:
            return found.decode(errors="replace")
        found += data
    raise _strange(path, f"it is larger than {LARGEST >> 20} MiB")


def _strange(path: str, why: str) -> RuntimeFailure:
    hint = "the image or a mount of the service put it there; pycompose reads it to find the user"
    return RuntimeFailure(f"cannot read {path} in the container: {why}", hint=hint, exit_code=1)


def change_directory(path: str) -> None:
    """chdir(2) to a directory inside this root.

    Raises OSError as chdir(2) does; ELOOP for a path through a magic link; ENOENT when the directory turns
    out to lie outside the root (CVE-2024-21626).
    """
    fd = openat2(HERE, path, os.O_PATH | os.O_DIRECTORY, resolve=Resolve.NO_MAGICLINKS)
    try:
        os.fchdir(fd)
    finally:
        os.close(fd)
    if not os.getcwd().startswith("/"):  # "(unreachable)/...", getcwd(2)
        os.chdir("/")
        raise OSError(errno.ENOENT, "outside of the container's root", path)


def mode(path: str) -> int:
    """st_mode of what the calling process, which has become the container's user, finds
    at ``path``; 0 for nothing.
    """
    try:
        return os.stat(path).st_mode
    except OSError:
        return 0


def multiplexer() -> int:
    """The container's own /dev/pts/ptmx, opened. Raises OSError ENODEV when something else is there."""
    flags = os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK
    fd = openat2(HERE, "/dev/pts/ptmx", flags, resolve=Resolve.NO_MAGICLINKS)
    info = os.fstat(fd)
    if not stat.S_ISCHR(info.st_mode) or info.st_rdev != _PTMX:
        os.close(fd)
        raise OSError(errno.ENODEV, "not a pseudo terminal multiplexer", "/dev/pts/ptmx")
    os.set_blocking(fd, True)
    return fd


def null() -> int:
    """The container's own /dev/null, opened; where there is none, a pipe without a writer: end of file.

    The host's node must not be handed in: whoever holds its descriptor may change its mode.
    """
    try:
        fd = openat2(
            HERE, "/dev/null", os.O_RDWR | os.O_NONBLOCK | os.O_NOCTTY, resolve=Resolve.NO_MAGICLINKS
        )
    except OSError:
        fd = -1
    if fd >= 0:
        if is_null(fd):
            os.set_blocking(fd, True)
            return fd
        os.close(fd)
    reader, writer = os.pipe2(os.O_CLOEXEC)
    os.close(writer)
    return reader


def is_null(fd: int) -> bool:
    """Whether ``fd`` is the null device (character device 1:3)."""
    info = os.fstat(fd)
    return stat.S_ISCHR(info.st_mode) and info.st_rdev == os.makedev(1, 3)
