"""Layers as tar streams: unpack one with its digest checked, or make the stream of an unpacked one.

Comes in:  chunks of a (compressed) layer; or a directory in overlayfs form.
Goes out:  a directory in overlayfs form and its diffID; or the one tar stream that stands for a directory.
Not here:  how entries are written (unpack), where layers are kept (store).

The stream of a directory made here is always the same: sorted names, whole seconds, no access times; so its
digest can be taken without writing it anywhere, and again, years later, when it is pushed or saved. A layer
of others comes out again as it came in: beside it lies a record of its stream (split), or, for the few with
                                         sparse files or entries
that replace each other, the archive itself.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path

from runtime.image import split, tar
from runtime.image.compress import CHUNK, ahead, allowance, decompress
from runtime.image.errors import DigestMismatch, InvalidImage
from runtime.image.unpack import OPAQUE, WHITEOUT, Bounds, Unpacker, clean
from schemas.frozen import dataclass

_REDIRECTS = frozenset(("trusted.overlay.redirect", "trusted.overlay.metacopy"))
_HIDDEN = ("trusted.overlay.", "user.overlay.", "system.posix_acl", "security.selinux")


@dataclass(frozen=True, slots=True)
class Made:
    """A layer's identity: diff_id is "sha256:..." of its plain tar stream, size the bytes of its files.

    exact: whether that stream can be had again without the archive it came from.
    """

    diff_id: str
    size: int
    entries: int
    exact: bool = True


def record_of(directory: Path) -> Path:
    """Where ``unpack`` leaves the record of the stream it put into ``directory``."""
    return directory.with_name(directory.name + ".split")


def unpack(chunks: Iterable[bytes], directory: Path, *, compressed: int = 0, expected: str = "") -> Made:
    """Unpack a layer into ``directory`` (made here, must not exist), the record of its stream beside it.

    compressed: bytes of the input, from which the limit against bombs is taken; 0 for no such limit.
    expected:   the diffID it must have, "" when not known. Raises InvalidImage, DigestMismatch, OSError.
    Memory does not grow with the layer but for the times of its directories.
    """
    directory.mkdir(mode=0o755)
    directory.chmod(0o755)
    digest = hashlib.sha256()

    def plain() -> Iterator[bytes]:
        for chunk in decompress(chunks):
            digest.update(chunk)
            yield chunk

    bounds = Bounds(size=allowance(compressed)) if compressed else Bounds()
    stream, record = ahead(plain()), split.Recorder(record_of(directory))
    try:
        with Unpacker(directory, bounds) as unpacker:
            _fill(unpacker, iter(stream), record)
        record.close() if unpacker.plain else record.discard()
    finally:
        stream.close()
        record.abandon()
    made = Made("sha256:" + digest.hexdigest(), unpacker.size, unpacker.entries, unpacker.plain)
    if expected and made.diff_id != expected:
        raise DigestMismatch("the unpacked layer", expected=expected, actual=made.diff_id)
    return made


def _fill(unpacker: Unpacker, chunks: Iterator[bytes], record: split.Recorder) -> None:
    reader = tar.Reader(chunks, record.raw)
    for entry in reader:
        unpacker.put(entry, reader.content())
        if entry.type == tar.FILE and entry.size and not reader.left:
            record.file(clean(entry.name), entry.size)


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


def stream(home: Path, diff_id: str) -> Iterator[bytes]:
    """The plain tar stream of a layer of the store, whose directory is ``home / "diff"``, as it once came.

    Raises DigestMismatch at its end when it is not ``diff_id`` any more.
    """
    state = hashlib.sha256()
    for chunk in _source(home):
        state.update(chunk)
        yield chunk
    actual = "sha256:" + state.hexdigest()
    if actual != diff_id:
        raise DigestMismatch("a layer of the store", expected=diff_id, actual=actual)


def _source(home: Path) -> Iterator[bytes]:
    blob = home / "blob"
    if (home / "split").exists():
        yield from split.replay(home / "split", home / "diff")
    elif blob.exists():
        with blob.open("rb") as packed:
            yield from decompress(iter(lambda: packed.read(CHUNK), b""))
    else:
        yield from pack(home / "diff")


def length(home: Path) -> int:
    """Bytes of that stream, without reading the files."""
    if (home / "split").exists():
        return split.length(home / "split")
    if (home / "blob").exists():
        return sum(map(len, _source(home)))
    return _length(home / "diff")


def _length(directory: Path) -> int:
    total = 0
    for part in _parts(directory, content=False):
        total += (
            len(part)
            if isinstance(part, bytes)
            else len(tar.header(part)) + part.size + -part.size % tar.BLOCK
        )
    return total


def _parts(directory: Path, *, content: bool = True) -> Iterator[tar.Entry | bytes]:
    """Headers as entries, content and padding as bytes, the end as two zero blocks."""
    links: dict[tuple[int, int], bytes] = {}
    yield from _walk(os.fsencode(directory), b"", links, content)
    yield bytes(2 * tar.BLOCK)


def _walk(
    root: bytes, below: bytes, links: dict[tuple[int, int], bytes], content: bool
) -> Iterator[tar.Entry | bytes]:
    here = root + b"/" + below if below else root
    for name in sorted(os.listdir(here)):  # noqa: PTH208 - bytes, for names that are not UTF-8
        inner = below + b"/" + name if below else name
        path = here + b"/" + name
        entry = _entry(path, inner, links)
        if entry is None:
            continue
        yield entry
        if entry.type == tar.FILE and entry.size and content:
            yield from split.content(path, entry.size)
            if entry.size % tar.BLOCK:
                yield bytes(-entry.size % tar.BLOCK)
        elif entry.type == tar.DIRECTORY:
            if is_opaque(path):
                yield tar.Entry(name=inner + b"/" + OPAQUE, mode=0o600)
            yield from _walk(root, inner, links, content)


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
