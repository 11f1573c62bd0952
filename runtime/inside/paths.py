"""Open and make paths inside a root directory: no link in it leads out.

Comes in:  the descriptor of a root directory, absolute paths as the container sees them.
Goes out:  O_PATH descriptors, to be used as they are or as /proc/self/fd/N; missing parts are made.
Not here:  mounting there (``runtime.inside.attach``).
Source: openat2(2), RESOLVE_IN_ROOT, RESOLVE_NO_MAGICLINKS.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager

from runtime.kernel.mounts import Resolve, openat2

INSIDE = Resolve.IN_ROOT | Resolve.NO_MAGICLINKS
PLAIN = INSIDE | Resolve.NO_SYMLINKS
_DIRECTORY = os.O_PATH | os.O_DIRECTORY
_NEW_FILE = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC
_MAX_LINKS = 40  # MAXSYMLINKS of the kernel


def enter(root: int, path: str, flags: int = os.O_PATH, *, resolve: Resolve = INSIDE) -> int:
    """Open ``path`` inside ``root``; links are resolved as if ``root`` were "/". ELOOP: a magic link."""
    return openat2(root, path.lstrip("/") or ".", flags, resolve=resolve)


@contextmanager
def opened(root: int, path: str, flags: int = os.O_PATH, *, resolve: Resolve = INSIDE) -> Iterator[int]:
    """``enter`` for the length of a with-block."""
    fd = enter(root, path, flags, resolve=resolve)
    try:
        yield fd
    finally:
        os.close(fd)


def place(fd: int) -> str:
    """The path under which path-based system calls take a descriptor."""
    return f"/proc/self/fd/{fd}"


def name_of(root: int, fd: int) -> str:
    """Where ``fd``, opened inside ``root``, lies now, as the container names it."""
    base, path = os.readlink(place(root)), os.readlink(place(fd))
    return path.removeprefix(base.rstrip("/")) or "/"


def exists(root: int, path: str) -> bool:
    """Whether ``path`` leads to something inside ``root``."""
    try:
        os.close(enter(root, path))
        return True
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR):
            return False
        raise


def directory(root: int, path: str, *, mode: int = 0o755, links: int = 0) -> int:
    """Open the directory ``path``; a missing one is made with ``mode``, missing parents with 0755.

    A dangling link on the way is honoured: what it names is made, inside ``root``. ENOTDIR: something else
    is in the way.
    """
    here, missing = path, list[str]()
    while True:
        try:
            fd = enter(root, here, _DIRECTORY)
            break
        except FileNotFoundError:
            here, _, name = here.rstrip("/").rpartition("/")
            missing += [name] if name not in ("", ".") else []
    while missing:
        name = missing.pop()
        try:
            fd = _descend(root, fd, here, name, 0o755 if missing else mode, links)
        finally:
            here = f"{here}/{name}"
    return fd


def _descend(root: int, above: int, here: str, name: str, mode: int, links: int) -> int:
    """Make directory ``name`` in ``above``, whose path is ``here``; closes ``above``."""
    try:
        try:
            os.mkdir(name, mode, dir_fd=above)
        except FileExistsError:
            return directory(root, _aim(here, name, above, links), mode=mode, links=links + 1)
        fd = os.open(name, _DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=above)
        set_mode(fd, mode)
        return fd
    finally:
        os.close(above)


def file(root: int, path: str, *, links: int = 0) -> int:
    """Open the file at ``path``, whatever its kind; a missing one is made empty, its parents as well."""
    try:
        return enter(root, path)
    except FileNotFoundError:
        parent, _, name = path.rstrip("/").rpartition("/")
    above = directory(root, parent or "/")
    try:
        try:
            writer = os.open(name, _NEW_FILE, 0o644, dir_fd=above)
        except FileExistsError:  # a dangling link
            return file(root, _aim(parent, name, above, links), links=links + 1)
        os.fchmod(writer, 0o644)
        os.close(writer)
        return os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=above)
    finally:
        os.close(above)


def _aim(parent: str, name: str, above: int, links: int) -> str:
    """Where the dangling link ``name`` in ``parent`` leads, as a path inside the root."""
    if links >= _MAX_LINKS:
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), name)
    text = os.readlink(name, dir_fd=above)
    return text if text.startswith("/") else f"{parent}/{text}"


def own_directory(root: int, name: str) -> int:
    """Open the directory ``name`` directly in ``root``; a link or file of the image gives way to it."""
    try:
        return enter(root, name, _DIRECTORY, resolve=PLAIN)
    except FileNotFoundError:
        pass
    except OSError as error:
        if error.errno not in (errno.ELOOP, errno.ENOTDIR):
            raise
        os.unlink(name.strip("/"), dir_fd=root)
    return directory(root, name)


def set_mode(fd: int, mode: int) -> None:
    """chmod(2) of what an O_PATH descriptor is; nothing for a symbolic link."""
    info = os.fstat(fd)
    if stat.S_IMODE(info.st_mode) != mode and not stat.S_ISLNK(info.st_mode):
        os.chmod(place(fd), mode)  # the descriptor, not a name


def below(root: int, path: str, flags: int = os.O_PATH) -> int:
    """Open the relative ``path`` below ``root``. EXDEV: a link or ".." in it leads out."""
    resolve = Resolve.BENEATH | Resolve.NO_MAGICLINKS
    return openat2(root, path.strip("/") or ".", flags, resolve=resolve)
