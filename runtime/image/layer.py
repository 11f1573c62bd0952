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
from runtime.inside.walk import GONE, attributes, open_file, readlink, walk
from schemas.frozen import dataclass, replace

_REDIRECTS = frozenset(("trusted.overlay.redirect", "trusted.overlay.metacopy"))
_HIDDEN = ("trusted.overlay.", "user.overlay.", "system.posix_acl", "security.selinux")
_OPAQUE = ("trusted.overlay.opaque", "user.overlay.opaque")


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


def pack(directory: Path, *, living: bool = False) -> Iterator[bytes]:
    """The plain tar stream of the layer in ``directory``: what ``digest`` takes the digest of.

    living: a container may be writing into it: what vanishes is left out, what shrinks is filled with zeros.
    """
    for part in _parts(directory, living=living):
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


def _parts(directory: Path, *, content: bool = True, living: bool = False) -> Iterator[tar.Entry | bytes]:
    """Headers as entries, content and padding as bytes, the end as two zero blocks."""
    links: dict[tuple[int, int], bytes] = {}
    root = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for path, above, name, info in walk(root, living=living):
            try:
                yield from member(path, above, name, info, links, content=content, living=living)
            except OSError as error:
                if not living or error.errno not in GONE:
                    raise
    finally:
        os.close(root)
    yield bytes(2 * tar.BLOCK)


def member(
    path: bytes,
    above: int,
    name: bytes,
    info: os.stat_result,
    links: dict[tuple[int, int], bytes],
    *,
    content: bool,
    living: bool,
) -> Iterator[tar.Entry | bytes]:
    """The header of one file, and what follows it."""
    entry = _entry(path, above, name, info, links)
    if entry is None:
        return
    if entry.type == tar.FILE and content and stat.S_ISREG(info.st_mode):
        fd = open_file(above, name)
        try:
            found = {key: os.getxattr(fd, key) for key in os.listxattr(fd)}
            yield replace(entry, xattrs=_kept(path, found)) if found else entry
            yield from split.content(fd, entry.size, path, padded=living)
            if entry.size % tar.BLOCK:
                yield bytes(-entry.size % tar.BLOCK)
        finally:
            os.close(fd)
        return
    white = stat.S_ISCHR(info.st_mode) and info.st_rdev == 0
    found = {} if white or entry.type == tar.HARDLINK else attributes(above, name)
    yield replace(entry, xattrs=_kept(path, found)) if found else entry
    if entry.type == tar.DIRECTORY and any(found.get(key) == b"y" for key in _OPAQUE):
        yield tar.Entry(name=path + b"/" + OPAQUE, mode=0o600)


def _entry(
    path: bytes, above: int, name: bytes, info: os.stat_result, links: dict[tuple[int, int], bytes]
) -> tar.Entry | None:
    mode, kind = stat.S_IMODE(info.st_mode), _kind(info.st_mode)
    if kind is None:
        return None
    if kind == tar.CHAR and info.st_rdev == 0:
        return tar.Entry(name=path[: len(path) - len(name)] + WHITEOUT + name, mode=0o600)
    link, size = b"", info.st_size if kind == tar.FILE else 0
    if kind == tar.SYMLINK:
        link, mode = readlink(above, name), 0o777
    elif kind != tar.DIRECTORY and info.st_nlink > 1:
        first = links.setdefault((info.st_dev, info.st_ino), path)
        if first != path:
            kind, link, size = tar.HARDLINK, first, 0
    device = info.st_rdev if kind in (tar.CHAR, tar.BLOCKDEV) else 0
    return tar.Entry(
        name=path + b"/" if kind == tar.DIRECTORY else path,
        type=kind,
        mode=mode,
        uid=info.st_uid,
        gid=info.st_gid,
        mtime=int(info.st_mtime),
        size=size,
        link=link,
        major=os.major(device),
        minor=os.minor(device),
    )


def _kind(mode: int) -> bytes | None:
    kinds = {
        stat.S_IFREG: tar.FILE, stat.S_IFDIR: tar.DIRECTORY, stat.S_IFLNK: tar.SYMLINK,
        stat.S_IFCHR: tar.CHAR, stat.S_IFBLK: tar.BLOCKDEV, stat.S_IFIFO: tar.FIFO,
    }  # fmt: skip
    return kinds.get(stat.S_IFMT(mode))  # a socket has no place in an archive


def _kept(path: bytes, every: dict[str, bytes]) -> dict[str, bytes]:
    """The attributes that go into an archive."""
    if redirects := _REDIRECTS.intersection(every):
        raise InvalidImage(
            f"{os.fsdecode(path)} carries {min(redirects)}, which no archive can hold",
            hint="the overlay was mounted with redirect_dir or metacopy on",
        )
    return {name: value for name, value in every.items() if not name.startswith(_HIDDEN)}


def is_opaque(path: bytes | str | Path, *, follow: bool = False) -> bool:
    """Whether the directory hides what lower layers have in it. follow: ``path`` stands for a descriptor."""
    for name in _OPAQUE:
        try:
            if os.getxattr(path, name, follow_symlinks=follow) == b"y":
                return True
        except OSError:
            continue
    return False
