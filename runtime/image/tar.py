"""Tar archives as streams: entries in, entries out. Ours because layers need what tarfile's filters take
away.

Comes in:  chunks of plain bytes; or Entry values to write.
Goes out:  Entry values in order, each with its content to be read before the next; or headers.
Not here:  the file system (unpack, layer).
Source: POSIX.1-2008 pax, section ustar and pax format; GNU tar manual, "Basic Tar Format" (L, K, S,
        base-256).
Why not tarfile: ADR 0031.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from runtime.image.errors import InvalidImage
from schemas.frozen import dataclass, field, replace

BLOCK = 512
FILE, HARDLINK, SYMLINK, CHAR, BLOCKDEV, DIRECTORY, FIFO = b"0", b"1", b"2", b"3", b"4", b"5", b"6"
_REGULAR = (b"0", b"\0", b"7")
_KNOWN = (FILE, HARDLINK, SYMLINK, CHAR, BLOCKDEV, DIRECTORY, FIFO)
_HEADER_MAX = 1 << 20
_XATTR = b"SCHILY.xattr."


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One member. Names are bytes as in the archive; times are seconds since the epoch.

    size: bytes of content that follow in the archive. real_size: length of the file, larger when sparse.
    pieces: (offset, length) of each run of content in a sparse file; empty for an ordinary one.
    """

    name: bytes
    type: bytes = FILE
    mode: int = 0o644
    uid: int = 0
    gid: int = 0
    mtime: float = 0
    size: int = 0
    link: bytes = b""
    major: int = 0
    minor: int = 0
    xattrs: Mapping[str, bytes] = field(default_factory=dict)
    real_size: int = 0
    pieces: tuple[tuple[int, int], ...] = ()


Heard = Callable[[bytes | memoryview], None]


class Reader:
    """Reads members one after the other. ``content`` gives what is left of the current one, in pieces.

    heard: told every byte that ``content`` does not give, in order, so that the archive can be put together
           again.
    jump:  told how many bytes of the source to leave out, where it can do so without reading them.
    """

    def __init__(
        self,
        chunks: Iterator[bytes],
        heard: Heard | None = None,
        *,
        jump: Callable[[int], None] | None = None,
    ) -> None:
        self._chunks = chunks
        self._heard = heard
        self._jump = jump
        self._buffer = memoryview(b"")
        self._left = 0
        self._padding = 0

    def __iter__(self) -> Iterator[Entry]:
        common: dict[bytes, bytes] = {}
        special: dict[bytes, bytes] = {}
        while (header := self._next_header()) is not None:
            kind, size = header[156:157], number(header[124:136])
            if kind in b"xgLK":
                text = self._special(size)
                if kind == b"x":
                    special.update(pax_records(text))
                elif kind == b"g":
                    common.update(pax_records(text))
                else:
                    special[b"path" if kind == b"L" else b"linkpath"] = text.rstrip(b"\0")
                continue
            extensions = self._gnu_sparse(header) if kind == b"S" else ()
            entry = _entry(header, {**common, **special}, extensions)
            special = {}
            self._left, self._padding = entry.size, -entry.size % BLOCK
            if entry.type in _KNOWN:
                yield self._sparse_map(entry)
            self._skip(self._left + self._padding)
            self._left = self._padding = 0
        if self._heard:
            self._heard(self._buffer)
        for rest in self._chunks:  # what is behind the end belongs to the digest
            if self._heard:
                self._heard(rest)

    @property
    def left(self) -> int:
        """Bytes of the current member's content that ``content`` has not given yet."""
        return self._left

    @property
    def ahead(self) -> int:
        """Bytes that were read from the source and not used yet."""
        return len(self._buffer)

    def content(self) -> Iterator[memoryview]:
        """What is left of the current member's content."""
        while self._left:
            if not self._buffer:
                self._more()
            part = self._buffer[: self._left]
            self._buffer = self._buffer[len(part) :]
            self._left -= len(part)
            yield part

    def take(self, count: int) -> bytes:
        """The next ``count`` bytes of the archive. Raises InvalidImage when it ends before."""
        if len(self._buffer) >= count:
            part, self._buffer = bytes(self._buffer[:count]), self._buffer[count:]
            if self._heard:
                self._heard(part)
            return part
        return self._take_pieces(count)

    def _take_pieces(self, count: int) -> bytes:
        parts = []
        while count:
            if not self._buffer:
                self._more()
            parts.append(bytes(self._buffer[:count]))
            self._buffer = self._buffer[len(parts[-1]) :]
            count -= len(parts[-1])
        whole = b"".join(parts)
        if self._heard:
            self._heard(whole)
        return whole

    def _more(self) -> None:
        if not self._try_more():
            raise InvalidImage("the tar archive ends too early")

    def _skip(self, count: int) -> None:
        while count:
            if not self._buffer:
                self._more()
            step = min(count, len(self._buffer))
            if self._heard:
                self._heard(self._buffer[:step])
            self._buffer = self._buffer[step:]
            count -= step
            if count and self._jump:
                self._jump(count)
                return

    def _next_header(self) -> bytes | None:
        if not self._buffer and not self._try_more():
            return None
        header = self.take(BLOCK)
        if not header.strip(b"\0"):
            return None
        stored = number(header[148:156])
        if stored not in (_checksum(header), _signed_checksum(header)):
            raise InvalidImage("the tar archive has a header with a wrong checksum")
        return header

    def _try_more(self) -> bool:
        for chunk in self._chunks:
            if chunk:
                self._buffer = memoryview(chunk)
                return True
        return False

    def _special(self, size: int) -> bytes:
        if size > _HEADER_MAX:
            raise InvalidImage(f"the tar archive has an extended header of {size} bytes")
        text = self.take(size)
        self._skip(-size % BLOCK)
        return text

    def _gnu_sparse(self, header: bytes) -> tuple[tuple[int, int], ...]:
        pieces = [
            (number(header[at : at + 12]), number(header[at + 12 : at + 24])) for at in range(386, 482, 24)
        ]
        more = header[482]
        while more:
            block = self.take(BLOCK)
            pieces += [
                (number(block[at : at + 12]), number(block[at + 12 : at + 24])) for at in range(0, 504, 24)
            ]
            more = block[504]
            if len(pieces) > 1_000_000:
                raise InvalidImage("the tar archive has a sparse file of more than a million pieces")
        return tuple(piece for piece in pieces if piece[1])

    def _sparse_map(self, entry: Entry) -> Entry:
        """PAX sparse format 1.0 keeps its map in front of the content, as decimal lines."""
        if entry.pieces != ((-1, -1),):
            return entry
        count, used = self._line()
        values = []
        for _ in range(2 * count):
            value, length = self._line()
            values.append(value)
            used += length
        self._skip_content(-used % BLOCK)
        pairs = tuple(zip(values[::2], values[1::2], strict=True))
        return replace(entry, pieces=tuple(p for p in pairs if p[1]), size=self._left)

    def _line(self) -> tuple[int, int]:
        text = b""
        while not text.endswith(b"\n"):
            if not self._left or len(text) > 24:
                raise InvalidImage("the tar archive has a malformed sparse map")
            text += self.take(1)
            self._left -= 1
        return _decimal(text[:-1]), len(text)

    def _skip_content(self, count: int) -> None:
        if count > self._left:
            raise InvalidImage("the tar archive has a malformed sparse map")
        self._skip(count)
        self._left -= count


def number(text: bytes) -> int:
    """A numeric field: octal digits, or base-256 when its first bit is set. Raises InvalidImage."""
    if text[0] & 0x80:
        value = int.from_bytes(text, "big", signed=False)
        if text[0] == 0xFF:
            return value - (1 << (8 * len(text)))
        return value - (0x80 << (8 * (len(text) - 1)))
    digits = text.split(b"\0", 1)[0].strip()
    try:
        return int(digits, 8) if digits else 0
    except ValueError as error:
        raise InvalidImage(f"the tar archive has the malformed number {text!r}") from error


def pax_records(text: bytes) -> dict[bytes, bytes]:
    """``<length> <key>=<value>\\n`` records. Raises InvalidImage."""
    records: dict[bytes, bytes] = {}
    offsets: list[bytes] = []
    while text.strip(b"\0"):
        digits = text.partition(b" ")[0]
        length = _decimal(digits)
        record = text[len(digits) + 1 : length - 1]
        if length > len(text) or length < len(digits) + 4 or text[length - 1 : length] != b"\n":
            raise InvalidImage("the tar archive has a malformed extended header")
        key, equals, value = record.partition(b"=")
        if not equals:
            raise InvalidImage("the tar archive has a malformed extended header")
        if key in (b"GNU.sparse.offset", b"GNU.sparse.numbytes"):
            offsets.append(value)
        records[key] = value
        text = text[length:]
    if offsets:
        records[b"GNU.sparse.map"] = b",".join(offsets)
    return records


def _entry(header: bytes, pax: Mapping[bytes, bytes], pieces: tuple[tuple[int, int], ...]) -> Entry:
    kind = header[156:157]
    name, link = header[:100].split(b"\0", 1)[0], header[157:257].split(b"\0", 1)[0]
    if header[257:263] == b"ustar\0" and (prefix := header[345:500].split(b"\0", 1)[0]):
        name = prefix + b"/" + name
    name = pax.get(b"GNU.sparse.name", pax.get(b"path", name))
    size = _decimal(pax[b"size"]) if pax.get(b"size") else number(header[124:136])
    if size < 0:
        raise InvalidImage("the tar archive has a member of negative size")
    if kind in _REGULAR or kind == b"S":
        kind = DIRECTORY if name.endswith(b"/") and kind != b"S" else FILE
    elif kind in _KNOWN and kind != HARDLINK:
        size = 0
    if kind == HARDLINK and not pax.get(b"size"):
        size = 0
    real, pieces = _pax_sparse(pax, size, pieces, header)
    return Entry(
        name=name,
        type=kind,
        mode=number(header[100:108]) & 0o7777,
        uid=_decimal(pax[b"uid"]) if pax.get(b"uid") else number(header[108:116]),
        gid=_decimal(pax[b"gid"]) if pax.get(b"gid") else number(header[116:124]),
        mtime=_time(pax.get(b"mtime")) if pax.get(b"mtime") else number(header[136:148]),
        size=size,
        link=pax.get(b"linkpath", link),
        major=number(header[329:337]) if kind in (CHAR, BLOCKDEV) else 0,
        minor=number(header[337:345]) if kind in (CHAR, BLOCKDEV) else 0,
        xattrs={
            key[len(_XATTR) :].decode("utf-8", "surrogateescape"): value
            for key, value in pax.items()
            if key.startswith(_XATTR)
        },
        real_size=real,
        pieces=pieces,
    )


def _pax_sparse(
    pax: Mapping[bytes, bytes], size: int, pieces: tuple[tuple[int, int], ...], header: bytes
) -> tuple[int, tuple[tuple[int, int], ...]]:
    if header[156:157] == b"S":
        return number(header[483:495]), pieces
    real = pax.get(b"GNU.sparse.realsize", pax.get(b"GNU.sparse.size"))
    if real is None:
        return size, ()
    if pax.get(b"GNU.sparse.major") == b"1":
        return _decimal(real), ((-1, -1),)
    values = [_decimal(text) for text in pax.get(b"GNU.sparse.map", b"").split(b",") if text]
    return _decimal(real), tuple(zip(values[::2], values[1::2], strict=False))


def _decimal(text: bytes) -> int:
    if not text.isdigit() or len(text) > 20:
        raise InvalidImage(f"the tar archive has the malformed number {text[:24]!r}")
    return int(text)


def _time(text: bytes | None) -> float:
    try:
        return float(text or b"0")
    except ValueError as error:
        raise InvalidImage(f"the tar archive has the malformed time {text!r}") from error


def _checksum(header: bytes) -> int:
    return sum(header[:148]) + 256 + sum(header[156:])


def _signed_checksum(header: bytes) -> int:
    high = sum(1 for byte in header[:148] + header[156:] if byte > 127)
    return _checksum(header) - 256 * high


def header(entry: Entry) -> bytes:
    """The header blocks of ``entry``: ustar, with a PAX header in front when a field does not fit.
    Deterministic."""
    pax: dict[bytes, bytes] = {}
    name, link = _fit(entry.name, b"path", pax), _fit(entry.link, b"linkpath", pax)
    uid, gid = _fit_number(entry.uid, 7, b"uid", pax), _fit_number(entry.gid, 7, b"gid", pax)
    size = _fit_number(entry.size, 11, b"size", pax)
    mtime = _fit_number(int(entry.mtime), 11, b"mtime", pax)
    for key in sorted(entry.xattrs):
        pax[_XATTR + key.encode("utf-8", "surrogateescape")] = entry.xattrs[key]
    block = _ustar(name, entry.type, entry.mode, uid, gid, size, mtime, link, entry.major, entry.minor)
    if not pax:
        return block
    text = b"".join(_record(key, value) for key, value in sorted(pax.items()))
    front = _ustar(b"PaxHeaders/" + name[:80], b"x", 0o644, 0, 0, len(text), 0, b"", 0, 0)
    return front + text + b"\0" * (-len(text) % BLOCK) + block


def _fit(text: bytes, key: bytes, pax: dict[bytes, bytes]) -> bytes:
    if len(text) <= 100 and text.isascii():
        return text
    pax[key] = text
    return text[:100]


def _fit_number(value: int, digits: int, key: bytes, pax: dict[bytes, bytes]) -> int:
    if 0 <= value < 8**digits:
        return value
    pax[key] = str(value).encode()
    return 0


def _ustar(
    name: bytes,
    kind: bytes,
    mode: int,
    uid: int,
    gid: int,
    size: int,
    mtime: int,
    link: bytes,
    major: int,
    minor: int,
) -> bytes:
    start = b"%b%07o\0%07o\0%07o\0%011o\0%011o\0" % (name.ljust(100, b"\0"), mode, uid, gid, size, mtime)
    end = b"%b%bustar\00000%b%07o\0%07o\0%b" % (
        kind, link.ljust(100, b"\0"), bytes(64), major, minor, bytes(167)
    )  # fmt: skip
    total = sum(start) + 256 + sum(end)
    return start + b"%06o\0 " % total + end


def _record(key: bytes, value: bytes) -> bytes:
    body = len(key) + len(value) + 3
    length = body + len(str(body))
    if len(str(length)) != len(str(body)):
        length = body + len(str(length))
    return b"%d %b=%b\n" % (length, key, value)
