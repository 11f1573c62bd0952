"""Make what an archive holds inside a tree that a container may change meanwhile.

Comes in:  the descriptor of a root, a directory inside it, members of an archive (names are not trusted).
Goes out:  directories, files and links below that directory; nothing outside of the root is touched.
Not here:  reading the archive (``runtime.image.copying``).
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterable

from runtime.inside.paths import PLAIN, directory, enter, opened, place
from runtime.kernel.trees import link_descriptor

_NEW = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC


class Owner:
    """Who owns what is made: ``uid`` and ``gid``, or those of the archive when they are None."""

    def __init__(self, uid: int | None, gid: int | None) -> None:
        self.uid, self.gid = uid, gid

    def of(self, uid: int, gid: int) -> tuple[int, int]:
        """The owner of a member that was ``uid``'s and ``gid``'s."""
        return (uid if self.uid is None else self.uid, gid if self.gid is None else self.gid)


def make_directory(root: int, path: str, mode: int, owner: tuple[int, int], mtime: float) -> None:
    """A directory; one that exists keeps owner and mode. NotADirectoryError: something else is in the way."""
    try:
        os.close(enter(root, path, os.O_PATH | os.O_DIRECTORY))
        return
    except FileNotFoundError:
        fd = directory(root, path, mode=mode)
    try:
        os.chown(place(fd), *owner)
        os.chmod(place(fd), mode)
        os.utime(place(fd), (mtime, mtime))
    finally:
        os.close(fd)


def make_file(
    root: int,
    path: str,
    mode: int,
    owner: tuple[int, int],
    mtime: float,
    content: Iterable[bytes | memoryview],
) -> None:
    """A regular file; a file or link of that name gives way. IsADirectoryError: a directory is in the way."""
    above, name = _above(root, path)
    try:
        _give_way(above, name)
        fd = os.open(name, _NEW, 0o600, dir_fd=above)
        try:
            for chunk in content:
                view = memoryview(chunk)
                while view:
                    view = view[os.write(fd, view) :]
            os.fchown(fd, *owner)
            os.fchmod(fd, mode)
            os.utime(fd, (mtime, mtime))
        finally:
            os.close(fd)
    finally:
        os.close(above)


def make_symlink(root: int, path: str, text: bytes, owner: tuple[int, int]) -> None:
    """A symbolic link; what it names is not looked at."""
    above, name = _above(root, path)
    try:
        _give_way(above, name)
        os.symlink(text, os.fsencode(name), dir_fd=above)
        os.chown(name, *owner, dir_fd=above, follow_symlinks=False)
    finally:
        os.close(above)


def make_hardlink(root: int, path: str, target: str) -> None:
    """Another name for ``target``, a path inside ``root`` on which no link is followed."""
    above, name = _above(root, path)
    try:
        with opened(root, target, os.O_PATH | os.O_NOFOLLOW, resolve=PLAIN) as fd:
            _give_way(above, name)
            link_descriptor(fd, above, name)
    finally:
        os.close(above)


def _above(root: int, path: str) -> tuple[int, str]:
    """The directory of ``path``, made when missing, and the last name."""
    parent, _, name = path.rstrip("/").rpartition("/")
    if name in ("", ".", ".."):
        raise OSError(errno.EINVAL, "not a file name", path)
    return directory(root, parent or "/"), name


def _give_way(above: int, name: str) -> None:
    try:
        info = os.stat(name, dir_fd=above, follow_symlinks=False)
    except FileNotFoundError:
        return
    if stat.S_ISDIR(info.st_mode):
        raise IsADirectoryError(errno.EISDIR, "cannot overwrite a directory with a file", name)
    os.unlink(name, dir_fd=above)
