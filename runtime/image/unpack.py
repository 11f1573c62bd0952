"""Write the entries of a layer below one directory, in overlayfs form, and never outside of it.

Comes in:  tar entries of a layer, trusted in nothing.
Goes out:  files, with owners, modes, attributes and times; whiteouts as overlayfs wants them.
Not here:  digests and compression (layer), reading tar (tar).

Every parent is opened from the root's descriptor with O_NOFOLLOW, one component at a time, so that no name
and no
link of the archive can lead out. Source: OCI image-spec layer.md, section Whiteouts; kernel overlayfs.rst.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path

from runtime.image import tar
from runtime.image.errors import InvalidImage
from schemas.frozen import dataclass

WHITEOUT, OPAQUE = b".wh.", b".wh..wh..opq"
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_OPEN_DIRECTORIES = 256
_LINKS = 40


@dataclass(frozen=True, slots=True)
class Bounds:
    """What a layer may cost: entries, and bytes when written."""

    entries: int = 5_000_000
    size: int = 1 << 40


USUAL = Bounds()


def opaque_attribute() -> str:
    """The attribute that hides a directory's lower ones; without CAP_SYS_ADMIN overlayfs uses the user
    namespace of it."""
    return "trusted.overlay.opaque" if os.geteuid() == 0 else "user.overlay.opaque"


def clean(name: bytes) -> bytes:
    """A member's name relative to the root, "" for the root itself. Raises InvalidImage for one that leads
    out."""
    parts = [part for part in name.split(b"/") if part not in (b"", b".")]
    if b".." in parts or b"\0" in name:
        raise InvalidImage(f"the layer has a name that leads out of it: {os.fsdecode(name)!r}")
    if len(name) > 4096 or any(len(part) > 255 for part in parts):
        raise InvalidImage(f"the layer has a name longer than a path can be: {os.fsdecode(name[:60])!r}...")
    return b"/".join(parts)


class Unpacker:
    """Writes below ``root``, an existing directory. A context manager: closing it sets the times of
    directories."""

    def __init__(self, root: Path, bounds: Bounds = USUAL, *, whiteouts: bool = True) -> None:
        self._root = os.open(root, _DIRECTORY)
        self._bounds = bounds
        self._whiteouts = whiteouts
        self._open: OrderedDict[bytes, int] = OrderedDict()
        self._times: dict[bytes, float] = {}
        self._owner = os.geteuid() == 0
        self.size = 0
        self.entries = 0
        self.plain = True  # every file written lies where its name says, whole, and nothing was written over

    def __enter__(self) -> Unpacker:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if kind is None:
                self._set_directory_times()
        finally:
            for fd in (*self._open.values(), self._root):
                os.close(fd)
            self._open.clear()

    def put(self, entry: tar.Entry, content: Iterator[memoryview]) -> None:
        """Write one member. Raises InvalidImage when it is hostile or beyond the bounds, OSError."""
        self.entries += 1
        self.size += max(entry.size, entry.real_size)  # of a sparse file also what it claims to be
        if self.entries > self._bounds.entries or self.size > self._bounds.size:
            raise InvalidImage(
                f"the layer is larger than allowed ({self.entries} entries, {self.size >> 20} MiB so far)",
                hint="it looks like a decompression bomb; if not, PYCOMPOSE_LAYER_LIMIT=20GB lets it in",
            )
        path = clean(entry.name)
        if not path:
            if entry.type == tar.DIRECTORY:
                self._dress(self._root, entry)
                self._times[b""] = entry.mtime
            return
        parent_path, _, name = path.rpartition(b"/")
        parent = self._directory(parent_path)
        if self._whiteouts and name.startswith(WHITEOUT):
            self._white(parent, name)
        elif entry.type == tar.DIRECTORY:
            self._make_directory(parent, name, path, entry)
        else:
            self._remove(parent, name)
            self._make(parent, name, entry, content)

    # --- kinds

    def _make(self, parent: int, name: bytes, entry: tar.Entry, content: Iterator[memoryview]) -> None:
        if entry.type == tar.FILE:
            self._make_file(parent, name, entry, content)
        elif entry.type == tar.HARDLINK:
            self._make_link(parent, name, entry)
        elif entry.type == tar.SYMLINK:
            if not entry.link:
                raise InvalidImage(f"the layer has the symbolic link {os.fsdecode(name)!r} without a target")
            os.symlink(entry.link, name, dir_fd=parent)
            self._dress_at(parent, name, entry)
        else:
            self._make_node(parent, name, entry)

    def _make_file(self, parent: int, name: bytes, entry: tar.Entry, content: Iterator[memoryview]) -> None:
        fd = os.open(name, _NEW_FILE, 0o600, dir_fd=parent)
        try:
            if entry.pieces or entry.real_size != entry.size:
                self.plain = False
                self._write_sparse(fd, entry, content)
            else:
                for part in content:
                    _write_all(fd, part)
            self._dress(fd, entry)
            os.utime(fd, (entry.mtime, entry.mtime))
        finally:
            os.close(fd)

    def _write_sparse(self, fd: int, entry: tar.Entry, content: Iterator[memoryview]) -> None:
        if sum(length for _, length in entry.pieces) > entry.size:
            raise InvalidImage("the layer has a sparse file whose map does not fit its content")
        rest = memoryview(b"")
        for offset, length in entry.pieces:
            if offset + length > entry.real_size:
                raise InvalidImage("the layer has a sparse file whose map leads behind its end")
            os.lseek(fd, offset, os.SEEK_SET)
            while length:
                rest = rest or next(content)
                part, rest = rest[:length], rest[length:]
                _write_all(fd, part)
                length -= len(part)
        os.ftruncate(fd, entry.real_size)

    def _make_link(self, parent: int, name: bytes, entry: tar.Entry) -> None:
        target = clean(entry.link)
        above, _, last = target.rpartition(b"/")
        try:
            source = self._directory(above, make=False)
            if stat.S_ISDIR(os.stat(last, dir_fd=source, follow_symlinks=False).st_mode):
                raise InvalidImage(f"the layer has a hard link to the directory {os.fsdecode(target)!r}")
            os.link(last, name, src_dir_fd=source, dst_dir_fd=parent, follow_symlinks=False)
        except FileNotFoundError as error:
            raise InvalidImage(
                f"the layer has a hard link to {os.fsdecode(entry.link)!r}, which it does not contain"
            ) from error

    def _make_node(self, parent: int, name: bytes, entry: tar.Entry) -> None:
        kinds = {tar.CHAR: stat.S_IFCHR, tar.BLOCKDEV: stat.S_IFBLK, tar.FIFO: stat.S_IFIFO}
        device = os.makedev(entry.major, entry.minor)
        if entry.type == tar.CHAR and device == 0:
            raise InvalidImage("the layer has a device 0:0, which overlayfs takes for a whiteout")
        try:
            os.mknod(name, 0o600 | kinds[entry.type], device, dir_fd=parent)
        except PermissionError:
            return  # without CAP_MKNOD, as other unprivileged engines do
        self._dress_at(parent, name, entry)

    def _make_directory(self, parent: int, name: bytes, path: bytes, entry: tar.Entry) -> None:
        try:
            os.mkdir(name, 0o700, dir_fd=parent)
        except FileExistsError:
            if not stat.S_ISDIR(os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode):
                self._remove(parent, name)
                os.mkdir(name, 0o700, dir_fd=parent)
        self._dress(self._directory(path), entry)
        self._times[path] = entry.mtime

    def _white(self, parent: int, name: bytes) -> None:
        if name == OPAQUE:
            os.setxattr(parent, opaque_attribute(), b"y")
            return
        if name.startswith(b".wh..wh."):
            return  # aufs bookkeeping in old images
        target = name[len(WHITEOUT) :]
        if target in (b"", b".", b".."):
            raise InvalidImage("the layer has a whiteout of a directory itself")
        self._remove(parent, target)
        os.mknod(target, 0o600 | stat.S_IFCHR, 0, dir_fd=parent)

    # --- attributes

    def _dress(self, fd: int, entry: tar.Entry) -> None:
        """Owner first, since chown(2) clears set-id bits and capabilities; then mode; then attributes."""
        if self._owner:
            os.chown(fd, entry.uid, entry.gid)
        os.chmod(fd, entry.mode)
        for key, value in entry.xattrs.items():
            if not key.startswith(("trusted.overlay.", "user.overlay.")):
                _set_attribute(fd, key, value)

    def _dress_at(self, parent: int, name: bytes, entry: tar.Entry) -> None:
        if self._owner:
            os.chown(name, entry.uid, entry.gid, dir_fd=parent, follow_symlinks=False)
        if entry.type != tar.SYMLINK:
            os.chmod(name, entry.mode, dir_fd=parent)
        os.utime(name, (entry.mtime, entry.mtime), dir_fd=parent, follow_symlinks=False)

    def _set_directory_times(self) -> None:
        for path, when in sorted(self._times.items(), reverse=True):
            with contextlib.suppress(FileNotFoundError, InvalidImage):
                os.utime(self._directory(path, make=False), (when, when))

    # --- walking

    def _directory(self, path: bytes, *, make: bool = True, depth: int = 0) -> int:
        """A descriptor of the directory ``path``, kept open for the next entries; missing ones are made
        0755."""
        if not path:
            return self._root
        if (fd := self._open.get(path)) is not None:
            self._open.move_to_end(path)
            return fd
        above, _, name = path.rpartition(b"/")
        parent = self._directory(above, make=make, depth=depth)
        try:
            fd = os.open(name, _DIRECTORY, dir_fd=parent)
        except FileNotFoundError:
            if not make:
                raise
            os.mkdir(name, 0o755, dir_fd=parent)
            os.chmod(name, 0o755, dir_fd=parent)
            fd = os.open(name, _DIRECTORY, dir_fd=parent)
        except OSError as error:
            if error.errno not in (errno.ELOOP, errno.ENOTDIR):
                raise
            return self._through_link(above, name, parent, make=make, depth=depth)
        self._open[path] = fd
        if len(self._open) > _OPEN_DIRECTORIES:
            self._forget_oldest(keep=path)
        return fd

    def _forget_oldest(self, keep: bytes) -> None:
        for path in list(self._open)[: _OPEN_DIRECTORIES // 4]:
            if path != keep:
                os.close(self._open.pop(path))

    def _through_link(self, above: bytes, name: bytes, parent: int, *, make: bool, depth: int) -> int:
        """Follow a symbolic link that the layer put in the way, staying inside, as a chroot would."""
        try:
            link = os.readlink(name, dir_fd=parent)
        except OSError:
            if not make:
                raise FileNotFoundError(errno.ENOENT, "not a directory", os.fsdecode(name)) from None
            self._remove(parent, name)  # a file or whiteout where a directory must be: the later entry wins
            os.mkdir(name, 0o755, dir_fd=parent)
            return self._directory(above + b"/" + name if above else name)
        if depth >= _LINKS:
            raise InvalidImage("the layer has symbolic links in a circle")
        self.plain = False
        parts = [] if link.startswith(b"/") else above.split(b"/")
        for part in link.split(b"/"):
            if part == b"..":
                parts = parts[:-1]
            elif part not in (b"", b"."):
                parts.append(part)
        return self._directory(b"/".join(p for p in parts if p), make=make, depth=depth + 1)

    def _remove(self, parent: int, name: bytes) -> None:
        try:
            os.unlink(name, dir_fd=parent)
            self.plain = False
        except FileNotFoundError:
            return
        except (IsADirectoryError, PermissionError):
            for fd in self._open.values():
                os.close(fd) if fd != parent else None
            self.plain = False
            kept = {path: fd for path, fd in self._open.items() if fd == parent}
            self._open = OrderedDict(kept)
            _remove_tree(parent, name)


def _write_all(fd: int, data: memoryview) -> None:
    while data:
        data = data[os.write(fd, data) :]


def _set_attribute(fd: int, key: str, value: bytes) -> None:
    try:
        os.setxattr(fd, key, value)
    except OSError as error:
        if error.errno not in (errno.ENOTSUP, errno.EPERM):
            raise


def _remove_tree(parent: int, name: bytes) -> None:
    fd = os.open(name, _DIRECTORY, dir_fd=parent)
    try:
        for item in os.scandir(fd):
            if item.is_dir(follow_symlinks=False):
                _remove_tree(fd, os.fsencode(item.name))
            else:
                os.unlink(item.name, dir_fd=fd)
    finally:
        os.close(fd)
    os.rmdir(name, dir_fd=parent)
