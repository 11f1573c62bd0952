"""Paths inside a root directory that is not trusted: no symlink in it can lead out.

Comes in:  the descriptor of a root directory and absolute paths as the container will see them.
Goes out:  O_PATH descriptors, to be used as /proc/self/fd/N; missing directories and files are made.
Not here:  what is mounted there (``runtime.rootfs.apply``).
Source: openat2(2), RESOLVE_IN_ROOT.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from runtime.kernel.mounts import Resolve, openat2

_MAX_LINKS = 40  # MAXSYMLINKS of the kernel


@contextmanager
def opened(root: int, path: str, flags: int = os.O_PATH) -> Iterator[int]:
    """Open ``path`` inside ``root`` for the length of a with-block."""
    fd = openat2(root, path.lstrip("/") or ".", flags, resolve=Resolve.IN_ROOT)
    try:
        yield fd
    finally:
        os.close(fd)


def place(fd: int) -> Path:
    """The path under which mount(2) takes a descriptor."""
    return Path(f"/proc/self/fd/{fd}")


def exists(root: int, path: str) -> bool:
    """Whether ``path`` leads to something inside ``root``."""
    try:
        with opened(root, path):
            return True
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR):
            return False
        raise


def make_directory(root: int, path: str, *, mode: int = 0o755, links: int = 0) -> None:
    """Make ``path`` and its missing parents. ENOTDIR: something else is in the way.

    A dangling symlink on the way is honoured: what it names is made, inside ``root``.
    """
    done = ""
    for part in [part for part in path.split("/") if part and part != "."]:
        parent, done = done, f"{done}/{part}"
        if exists(root, done):
            continue
        with opened(root, parent, os.O_PATH | os.O_DIRECTORY) as above:
            try:
                os.mkdir(part, mode, dir_fd=above)
            except FileExistsError:
                _make_aim(root, parent, os.readlink(part, dir_fd=above), mode, links)


def make_file(root: int, path: str) -> None:
    """Make an empty file at ``path``, parents included, unless something is there."""
    if exists(root, path):
        return
    parent, _, name = path.rstrip("/").rpartition("/")
    make_directory(root, parent)
    with opened(root, parent, os.O_PATH | os.O_DIRECTORY) as above:
        try:
            os.close(os.open(name, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o644, dir_fd=above))
        except FileExistsError:  # a dangling link: a mount point of our own takes its place
            os.unlink(name, dir_fd=above)
            os.close(os.open(name, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o644, dir_fd=above))


def _make_aim(root: int, parent: str, aim: str, mode: int, links: int) -> None:
    if links >= _MAX_LINKS:
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), aim)
    make_directory(root, aim if aim.startswith("/") else f"{parent}/{aim}", mode=mode, links=links + 1)
