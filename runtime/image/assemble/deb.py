"""Read .deb files: the outer ar, the two tars in it, their entries.

Comes in:  the bytes of a .deb.
Goes out:  Deb: control members by name, and the decompressed data.tar as entries.
Not here:  writing entries down (unpack); hostile archives: what comes here is signed and digest-checked.
Source: deb(5), ar(5), tar(5) (ustar, GNU long names), POSIX pax headers.
"""

from __future__ import annotations

import bz2
import gzip
import lzma
import sys
from collections.abc import Iterator

from runtime.errors import ImageError
from schemas.frozen import dataclass

BLOCK = 512


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One entry of a tar. name: no "./" before, no "/" after. kind: typeflag. data: empty but for files."""

    name: str
    kind: str
    mode: int
    uid: int
    gid: int
    mtime: int
    link: str
    data: memoryview


@dataclass(frozen=True, slots=True, kw_only=True)
class Deb:
    """A .deb taken apart. control: "postinst" and so on to bytes. tar: data.tar, decompressed."""

    control: dict[str, bytes]
    tar: bytes

    def entries(self) -> Iterator[Entry]:
        """The files of the package in the order of the archive, directories before what is in them."""
        return entries(self.tar)


def read(data: bytes) -> Deb:
    """Take a .deb apart and decompress it. Cost: that of xz; the GIL is free meanwhile."""
    members = dict(archive_members(data))
    control = b""
    tar = b""
    for name, body in members.items():
        if name.startswith("control.tar"):
            control = decompress(name, body)
        elif name.startswith("data.tar"):
            tar = decompress(name, body)
    files = {entry.name: bytes(entry.data) for entry in entries(control) if entry.kind in "0\0"}
    if "control" not in files:
        raise ImageError("a package of the archive has no control file")
    return Deb(control=files, tar=tar)


def archive_members(data: bytes) -> Iterator[tuple[str, bytes]]:
    """Walk an ar archive: (name, content)."""
    if not data.startswith(b"!<arch>\n"):
        raise ImageError("a package of the archive is not a .deb file")
    at = 8
    while at + 60 <= len(data):
        size = int(data[at + 48 : at + 58])
        yield data[at : at + 16].decode().rstrip(" /"), data[at + 60 : at + 60 + size]
        at += 60 + size + size % 2


def decompress(name: str, data: bytes) -> bytes:
    """Decompress a member by its file name's ending."""
    ending = name.rpartition(".")[2]
    if ending == "xz":
        return lzma.decompress(data)
    if ending == "gz":
        return gzip.decompress(data)
    if ending == "bz2":
        return bz2.decompress(data)
    if ending == "zst":
        return _zstd(data)
    return data


def _zstd(data: bytes) -> bytes:
    # only newer or foreign archives use it: not loaded for Debian 12 and 13
    if sys.version_info >= (3, 14):
        from compression import zstd
    else:
        from backports import zstd
    return bytes(zstd.decompress(data))


def entries(tar: bytes) -> Iterator[Entry]:
    """Walk a tar in memory. Long names of GNU tar and pax ``path``/``linkpath`` are understood."""
    view = memoryview(tar)
    at = 0
    name = link = ""
    while at + BLOCK <= len(tar) and tar[at]:
        head = tar[at : at + BLOCK]
        kind = chr(head[156])
        size = _number(head[124:136])
        body = view[at + BLOCK : at + BLOCK + size]
        at += BLOCK + (size + BLOCK - 1) // BLOCK * BLOCK
        if kind == "L":
            name = _text(bytes(body))
        elif kind == "K":
            link = _text(bytes(body))
        elif kind == "x":
            pairs = _pax(bytes(body))
            name, link = pairs.get("path", name), pairs.get("linkpath", link)
        elif kind != "g":
            yield _entry(head, kind, name, link, body)
            name = link = ""


def _entry(head: bytes, kind: str, name: str, link: str, body: memoryview) -> Entry:
    if not name:
        name = _text(head[:100])
        if head[257:263] == b"ustar\0" and head[345]:
            name = f"{_text(head[345:500])}/{name}"
    return Entry(
        name=name.removeprefix("./").strip("/") if name != "." else "",
        kind=kind,
        mode=_number(head[100:108]) & 0o7777,
        uid=_number(head[108:116]),
        gid=_number(head[116:124]),
        mtime=_number(head[136:148]),
        link=link or _text(head[157:257]),
        data=body,
    )


def _text(field: bytes) -> str:
    return field.partition(b"\0")[0].decode("utf-8", "surrogateescape")


def _number(field: bytes) -> int:
    if field[0] & 0x80:  # base 256, GNU
        return int.from_bytes(bytes([field[0] & 0x7F]) + field[1:], "big")
    return int(field.strip(b" \0") or b"0", 8)


def _pax(body: bytes) -> dict[str, str]:
    pairs: dict[str, str] = {}
    while body:
        length, _, _ = body.partition(b" ")
        record, body = body[len(length) + 1 : int(length) - 1], body[int(length) :]
        name, _, value = record.partition(b"=")
        pairs[name.decode()] = value.decode("utf-8", "surrogateescape")
    return pairs
