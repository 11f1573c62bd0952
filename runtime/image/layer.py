"""Layers as tar streams: unpack one with its digest checked, or make the stream of an unpacked one.

Comes in:  chunks of a (compressed) layer; or a directory in overlayfs form.
Goes out:  a directory in overlayfs form and its diffID; or the one tar stream that stands for a directory.
Not here:  how entries are written (unpack), where layers are kept (store).

The stream of a directory is always the same: sorted names, whole seconds, no access times; so its digest can
be
taken without writing it anywhere, and again, years later, when it is pushed or saved.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path

from runtime.image import tar
from runtime.image.compress import CHUNK, ahead, decompress
from runtime.image.errors import DigestMismatch, InvalidImage
from runtime.image.unpack import OPAQUE, WHITEOUT, Bounds, Unpacker
from schemas.frozen import dataclass

_RATIO, _FREE = 200, 1 << 30
_REDIRECTS = frozenset(("trusted.overlay.redirect", "trusted.overlay.metacopy"))
_HIDDEN = ("trusted.overlay.", "user.overlay.", "system.posix_acl", "security.selinux")


@dataclass(frozen=True, slots=True)
class Made:
    """A layer's identity: diff_id is "sha256:..." of its plain tar stream, size the bytes of its files."""

    diff_id: str
    size: int
    entries: int


def unpack(chunks: Iterable[bytes], directory: Path, *, compressed: int = 0, expected: str = "") -> Made:
    """Unpack a layer into ``directory`` (made here, must not exist).

    compressed: bytes of the input, from which the limit against bombs is taken; 0 for no such limit.
    expected:   the diffID it must have, "" when not known. Raises InvalidImage, DigestMismatch, OSError.
    """
    directory.mkdir(mode=0o755)
    directory.chmod(0o755)
    digest = hashlib.sha256()

    def plain() -> Iterator[bytes]:
        for chunk in decompress(chunks):
            digest.update(chunk)
            yield chunk

    bounds = Bounds(size=compressed * _RATIO + _FREE) if compressed else Bounds()
    stream = ahead(plain())
    try:
        with Unpacker(directory, bounds) as unpacker:
            reader = tar.Reader(iter(stream))
            for entry in reader:
                unpacker.put(entry, reader.content())
    finally:
        stream.close()
    made = Made("sha256:" + digest.hexdigest(), unpacker.size, unpacker.entries)
    if expected and made.diff_id != expected:
        raise DigestMismatch("the unpacked layer", expected=expected, actual=made.diff_id)
    return made


def digest(directory: Path) -> Made:
    """The identity of the layer in ``directory``, without writing its stream anywhere."""
    state, size, entries = hashlib.sha256(), 0, 0
    for part in _parts(directory):
        if isinstance(part, tar.Entry):
            size += part.size
            entries += 1
            state.update(tar.header(part))
        else:
            state.update(part)
    return Made("sha256:" + state.hexdigest(), size, entries)


def pack(directory: Path) -> Iterator[bytes]:
    """The plain tar stream of the layer in ``directory``: what ``digest`` takes the digest of."""
    for part in _parts(directory):
        yield tar.header(part) if isinstance(part, tar.Entry) else part


def _parts(directory: Path) -> Iterator[tar.Entry | bytes]:
    """Headers as entries, content and padding as bytes, the end as two zero blocks."""
    links: dict[tuple[int, int], bytes] = {}
    yield from _walk(os.fsencode(directory), b"", links)
    yield bytes(2 * tar.BLOCK)


def _walk(root: bytes, below: bytes, links: dict[tuple[int, int], bytes]) -> Iterator[tar.Entry | bytes]:
    here = root + b"/" + below if below else root
    for name in sorted(os.listdir(here)):  # noqa: PTH208 - bytes, for names that are not UTF-8
        inner = below + b"/" + name if below else name
        path = here + b"/" + name
        entry = _entry(path, inner, links)
        if entry is None:
            continue
        yield entry
        if entry.type == tar.FILE and entry.size:
            yield from _content(path, entry.size)
        elif entry.type == tar.DIRECTORY:
            if is_opaque(path):
                yield tar.Entry(name=inner + b"/" + OPAQUE, mode=0o600)
            yield from _walk(root, inner, links)


def _entry(path: bytes, name: bytes, links: dict[tuple[int, int], bytes]) -> tar.Entry | None:
    info = os.lstat(path)
    mode, kind = stat.S_IMODE(info.st_mode), _kind(info.st_mode)
    if kind is None:
        return None
    if kind == tar.CHAR and info.st_rdev == 0:
        above, slash, last = name.rpartition(b"/")
        return tar.Entry(name=above + slash + WHITEOUT + last, mode=0o600)
    link, size = b"", info.st_size if kind == tar.FILE else 0
    if kind == tar.SYMLINK:
        link, mode = os.readlink(path), 0o777  # noqa: PTH115 - bytes
    elif kind != tar.DIRECTORY and info.st_nlink > 1:
        first = links.setdefault((info.st_dev, info.st_ino), name)
        if first != name:
            kind, link, size = tar.HARDLINK, first, 0
    device = info.st_rdev if kind in (tar.CHAR, tar.BLOCKDEV) else 0
    return tar.Entry(
        name=name + b"/" if kind == tar.DIRECTORY else name,
        type=kind,
        mode=mode,
        uid=info.st_uid,
        gid=info.st_gid,
        mtime=int(info.st_mtime),
        size=size,
        link=link,
        major=os.major(device),
        minor=os.minor(device),
        xattrs=_attributes(path) if kind != tar.HARDLINK else {},
    )


def _kind(mode: int) -> bytes | None:
    kinds = {
        stat.S_IFREG: tar.FILE, stat.S_IFDIR: tar.DIRECTORY, stat.S_IFLNK: tar.SYMLINK,
        stat.S_IFCHR: tar.CHAR, stat.S_IFBLK: tar.BLOCKDEV, stat.S_IFIFO: tar.FIFO,
    }  # fmt: skip
    return kinds.get(stat.S_IFMT(mode))  # a socket has no place in an archive


def _attributes(path: bytes) -> dict[str, bytes]:
    every = os.listxattr(path, follow_symlinks=False)
    if redirects := _REDIRECTS.intersection(every):
        raise InvalidImage(
            f"{os.fsdecode(path)} carries {min(redirects)}, which no archive can hold",
            hint="the overlay was mounted with redirect_dir or metacopy on",
        )
    names = [name for name in every if not name.startswith(_HIDDEN)]
    return {name: os.getxattr(path, name, follow_symlinks=False) for name in names}


def is_opaque(path: bytes | str | Path) -> bool:
    """Whether the directory hides what lower layers have in it."""
    for name in ("trusted.overlay.opaque", "user.overlay.opaque"):
        try:
            if os.getxattr(path, name, follow_symlinks=False) == b"y":
                return True
        except OSError:
            continue
    return False


def _content(path: bytes, size: int) -> Iterator[bytes]:
    left = size
    with open(path, "rb", buffering=0) as source:
        while left:
            chunk = source.read(min(CHUNK, left))
            if not chunk:
                raise InvalidImage(f"{os.fsdecode(path)} became shorter while it was read")
            left -= len(chunk)
            yield chunk
    if size % tar.BLOCK:
        yield bytes(-size % tar.BLOCK)
