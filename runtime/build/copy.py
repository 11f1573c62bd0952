"""COPY and ADD: decide where each source goes, then write it into a new layer.

Comes in:  sources found in a context, a destination word, what the stage has so far.
Goes out:  a directory in overlayfs form that holds what was copied and nothing else.
Not here:  finding sources (context), the cache (builder).
Source: Dockerfile reference, sections COPY and ADD.
"""

from __future__ import annotations

import os
import posixpath
import re
import stat
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from runtime.build.context import Item, Source, walk
from runtime.build.unpacking import extract, is_archive
from runtime.errors import BuildFailed
from runtime.image.compress import CHUNK
from runtime.image.view import View
from runtime.inside.paths import PLAIN, enter
from schemas.frozen import dataclass

_OCTAL = re.compile(r"[0-7]{1,5}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """How to copy. owner: (uid, gid) or None for the source's own; chown: that was asked for; mode: as
    ``--chmod`` wrote it, "" to keep; pivot: what of the path ``--parents`` leaves out; link: hard links
    instead of copies, for what nobody will write to."""

    owner: tuple[int, int] | None = (0, 0)
    chown: bool = False
    mode: str = ""
    parents: bool = False
    pivot: str = ""
    exclude: tuple[str, ...] = ()
    unpack: bool = False
    link: bool = False


class Layer:
    """A new layer at ``root`` on top of ``below``: makes parents as they are below, then files.

    known: uid, gid and mode of directories that will be there, though not in ``below``.
    """

    def __init__(
        self, root: Path, below: View, known: Mapping[str, tuple[int, int, int]] = MappingProxyType({})
    ) -> None:
        self.root, self.below, self._known = root, below, known
        self._made: dict[str, Path] = {}
        root.mkdir(mode=0o755, exist_ok=True)
        root.chmod(0o755)

    def has_directory(self, path: str) -> bool:
        """Whether ``path``, links below followed, is a directory of this layer, whose own links are not
        followed: what they name is the container's and not the host's."""
        root = os.open(self.root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fd = enter(root, self.below.resolve(path), os.O_PATH | os.O_DIRECTORY, resolve=PLAIN)
        except OSError:
            return False
        else:
            os.close(fd)
            return True
        finally:
            os.close(root)

    def directory(self, path: str, owner: tuple[int, int] = (0, 0), mode: int = 0o755) -> Path:
        """Make ``path`` and its parents; those that are below keep their owner and mode. Raises
        BuildFailed."""
        if path not in self._made:
            self._made[path] = self._make(path, owner, mode)
        return self._made[path]

    def _make(self, path: str, owner: tuple[int, int], mode: int) -> Path:
        target = self.below.resolve(path)
        host = self.root
        for n, part in enumerate(parts := [p for p in target.split("/") if p]):
            host = host / part
            if host.is_dir() and not host.is_symlink():
                continue
            if host.exists() or host.is_symlink():
                raise BuildFailed(f"'{path}' is a file, not a directory")
            here = "/" + "/".join(parts[: n + 1])
            found = self.below.find(here, follow=False)
            host.mkdir()
            if here in self._known:
                uid, gid, bits = self._known[here]
                _own(host, (uid, gid), bits)
            elif found is None:
                _own(host, owner, mode)
            elif not found.is_dir():
                raise BuildFailed(f"'{path}' is a file, not a directory")
            else:
                _own(host, (found.info.st_uid, found.info.st_gid), stat.S_IMODE(found.info.st_mode))
                os.utime(host, ns=(found.info.st_mtime_ns, found.info.st_mtime_ns))
        return host


def is_directory(path: str, layer: Layer) -> bool:
    """Whether the destination word ``path`` names a directory: by its slash or by what is there."""
    if path.endswith("/") or posixpath.basename(path) in (".", "..") or layer.has_directory(path):
        return True
    found = layer.below.find(path)
    return found is not None and found.is_dir()


def copy(layer: Layer, source: Source, items: Sequence[Item], destination: str, wish: Wish) -> None:
    """Write ``items`` to the absolute path ``destination``. Raises BuildFailed, OSError."""
    for item in items:
        into = is_directory(destination, layer)  # what was copied first may have made it one
        target = destination
        if wish.parents:
            target = posixpath.join(destination, item.path.removeprefix(f"{wish.pivot}/"))
        elif not item.is_dir() and into and not (wish.unpack and is_archive(item.host, item.info)):
            target = posixpath.join(destination, posixpath.basename(item.path))
        if wish.unpack and is_archive(item.host, item.info):
            owner = wish.owner if wish.chown else None
            extract(item.host, layer.directory(target, owner or (0, 0)), owner)
        else:
            _copy_one(layer, source, item, target, wish)


def _copy_one(layer: Layer, source: Source, item: Item, target: str, wish: Wish) -> None:
    links: dict[tuple[int, int], Path] = {}
    octal = _OCTAL.fullmatch(wish.mode)  # new directories on the way get such a mode, but no symbolic one
    mode = int(wish.mode, 8) & 0o7777 if octal else 0o755
    if not item.is_dir():
        final = layer.below.resolve(target.rstrip("/"))  # a link to a file is followed
        parent = layer.directory(posixpath.dirname(final), wish.owner or (0, 0), mode)
        found = layer.below.find(final)
        if found is not None and found.is_dir():
            raise BuildFailed(f"cannot copy the file '{item.path}' over the directory '{target}'")
        _write(item, parent / posixpath.basename(final), wish, links)
        return
    layer.directory(target, wish.owner or (0, 0), mode)
    for name, inner in walk(source, item, wish.exclude):
        if not name:
            continue
        path = posixpath.join(target, name)
        if not inner.is_dir():
            _write(inner, layer.directory(posixpath.dirname(path)) / posixpath.basename(path), wish, links)
            continue
        _dress(layer.directory(path), inner, wish)


def _write(item: Item, target: Path, wish: Wish, links: dict[tuple[int, int], Path]) -> None:
    mode, key = item.info.st_mode, (item.info.st_dev, item.info.st_ino)
    _make_way(item, target)
    if stat.S_ISREG(mode) and item.info.st_nlink > 1 and key in links:
        os.link(links[key], target)
        return
    if stat.S_ISREG(mode) and wish.link:
        os.link(item.host, target, follow_symlinks=False)
        return
    if stat.S_ISREG(mode):
        _copy_file(item, target, wish)
        links[key] = target
        return
    if stat.S_ISLNK(mode):
        target.symlink_to(Path(item.host).readlink())
    elif stat.S_ISSOCK(mode):
        return
    else:
        os.mknod(target, mode, item.info.st_rdev)
    _dress(target, item, wish)


def _make_way(item: Item, target: Path) -> None:
    """An earlier source of the same name gives way, a directory does not."""
    try:
        info = os.lstat(target)
    except FileNotFoundError:
        return
    if stat.S_ISDIR(info.st_mode):
        raise BuildFailed(f"cannot copy the file '{item.path}' over a directory")
    target.unlink()


def _copy_file(item: Item, target: Path, wish: Wish) -> None:
    """A regular file: bytes, owner, mode, attributes and time, by one descriptor that is opened once."""
    if item.info.st_size > CHUNK:
        import shutil  # drags in the compressors, and most files are small

        shutil.copyfile(item.host, target, follow_symlinks=False)
        _dress(target, item, wish)
        return
    out = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with open(item.host, "rb", buffering=0) as source:
            while data := source.read(CHUNK):
                rest = memoryview(data)
                while rest:  # a disk that fills up takes a part before it refuses
                    rest = rest[os.write(out, rest) :]
        _dress(out, item, wish)
    finally:
        os.close(out)


def _dress(target: Path | int, item: Item, wish: Wish) -> None:
    """Owner, mode, attributes and time; target: a path, or the descriptor of a file."""
    info, link = item.info, stat.S_ISLNK(item.info.st_mode)
    owner = wish.owner or (info.st_uid, info.st_gid)
    if link:
        os.chown(target, *owner, follow_symlinks=False)
    else:
        if wish.owner is None and stat.S_ISREG(info.st_mode):
            _copy_attributes(item.host, target)
        mode = change_mode(wish.mode, stat.S_IMODE(info.st_mode), directory=item.is_dir())
        _own(target, owner, mode)
    os.utime(target, ns=(info.st_mtime_ns, info.st_mtime_ns), follow_symlinks=not link)


def _copy_attributes(source: str, target: Path | int) -> None:
    for name in os.listxattr(source):
        if not name.startswith(("trusted.overlay.", "user.overlay.", "security.selinux")):
            os.setxattr(target, name, os.getxattr(source, name))


def _own(path: Path | int, owner: tuple[int, int], mode: int) -> None:
    os.chown(path, *owner)
    os.chmod(path, mode)  # noqa: PTH101 - or a descriptor


def change_mode(text: str, mode: int, *, directory: bool) -> int:
    """The mode after ``--chmod text``: octal, or chmod(1)'s symbolic form. Raises BuildFailed."""
    if not text:
        return mode
    if _OCTAL.fullmatch(text):
        return int(text, 8) & 0o7777
    for clause in text.split(","):
        match = re.fullmatch(r"([ugoa]*)([-+=])([rwxXst]*)", clause)
        if not match:
            raise BuildFailed(f"--chmod={text} is neither octal nor symbolic")
        mode = _symbolic(match[1] or "a", match[2], match[3], mode, directory=directory)
    return mode


def _symbolic(who: str, operator: str, letters: str, mode: int, *, directory: bool) -> int:
    who = "ugo" if "a" in who else who
    shift = {"u": 6, "g": 3, "o": 0}
    bits = 0
    for letter in letters:
        for one in who:
            if letter in "rwx":
                bits |= {"r": 4, "w": 2, "x": 1}[letter] << shift[one]
            elif letter == "X" and (directory or mode & 0o111):
                bits |= 1 << shift[one]
            elif letter == "s" and one in "ug":
                bits |= 0o4000 if one == "u" else 0o2000
        if letter == "t":
            bits |= 0o1000
    if operator == "=":
        special = sum({"u": 0o4000, "g": 0o2000}.get(one, 0) for one in who)
        return mode & ~(sum(7 << shift[one] for one in who) | special) | bits
    return mode | bits if operator == "+" else mode & ~bits
