"""Read questions and write answers of the Domain Name System.

Comes in:  datagrams.
Goes out:  Question values; answers as bytes.
Not here:  whose name it is (zone), sockets (server).
Source: RFC 1035 section 4, RFC 6891 (EDNS), RFC 2308 (NODATA).
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from ipaddress import ip_address

from schemas.frozen import dataclass

A, PTR, AAAA, OPT, ANY = 1, 12, 28, 41, 255
IN = 1
NOERROR, FORMERR, SERVFAIL, NXDOMAIN, REFUSED = 0, 1, 2, 3, 5
_HEADER = struct.Struct(">6H")
_PLAIN_LIMIT, _LARGEST = 512, 65535
_OPT_RECORD = b"\0" + struct.pack(">HHIH", OPT, 1232, 0, 0)


@dataclass(frozen=True, slots=True)
class Question:
    """One question: ``name`` in lower case without final dot; ``raw`` is its section as it came.

    limit: largest datagram the asker takes. edns: it sent an OPT record.
    """

    number: int
    flags: int
    name: str
    kind: int
    space: int
    raw: bytes
    limit: int
    edns: bool


def parse(data: bytes) -> Question | None:
    """Read a query with exactly one question; None when it is anything else (a response, broken)."""
    if len(data) < 17:
        return None
    number, flags, questions, _, _, additional = _HEADER.unpack_from(data)
    if flags & 0xF800 or questions != 1:  # a response, or an opcode other than QUERY
        return None
    labels, at = [], 12
    while at < len(data) and (size := data[at]):
        if size > 63 or at + size >= len(data):
            return None
        labels.append(data[at + 1 : at + 1 + size])
        at += size + 1
    if at + 5 > len(data) or at > 12 + 254:
        return None
    kind, space = struct.unpack_from(">HH", data, at + 1)
    name = b".".join(labels).decode("ascii", errors="replace").lower()
    edns, limit = _edns(data, at + 5, additional)
    return Question(number, flags, name, kind, space, data[12 : at + 5], limit, edns)


def _edns(data: bytes, at: int, additional: int) -> tuple[bool, int]:
    """Whether the first additional record is OPT, and the datagram size it offers."""
    if additional and data[at : at + 3] == b"\0\0\x29" and at + 11 <= len(data):
        size = struct.unpack_from(">H", data, at + 3)[0]
        return True, max(_PLAIN_LIMIT, min(size, 4096))
    return False, _PLAIN_LIMIT


def address_record(address: str, ttl: int = 0) -> bytes:
    """An A or AAAA record whose owner is the question's name."""
    value = ip_address(address)
    kind = A if value.version == 4 else AAAA
    return struct.pack(">HHHIH", 0xC00C, kind, IN, ttl, len(value.packed)) + value.packed


def pointer_record(name: str, ttl: int = 0) -> bytes:
    """A PTR record whose owner is the question's name."""
    target = encode_name(name)
    return struct.pack(">HHHIH", 0xC00C, PTR, IN, ttl, len(target)) + target


def encode_name(name: str) -> bytes:
    """A name as labels; parts longer than 63 bytes are cut."""
    labels = (label.encode("ascii", errors="replace")[:63] for label in name.rstrip(".").split("."))
    return b"".join(bytes([len(label)]) + label for label in labels if label) + b"\0"


def answer(
    question: Question, records: Sequence[bytes], code: int = NOERROR, *, stream: bool = False
) -> bytes:
    """A response with ``records``; over a datagram what does not fit is left out and TC is set.

    No records and NOERROR means NODATA: the name exists without this type.
    """
    tail = _OPT_RECORD if question.edns else b""
    room = (_LARGEST if stream else question.limit) - 12 - len(question.raw) - len(tail)
    kept, used = [], 0
    for record in records:
        if used + len(record) > room:
            break
        kept.append(record)
        used += len(record)
    # QR, RA, the asker's RD; AA for what we know ourselves
    flags = 0x8080 | (question.flags & 0x0100) | code | (0x0400 if code in (NOERROR, NXDOMAIN) else 0)
    if len(kept) < len(records):
        flags |= 0x0200
    head = _HEADER.pack(question.number, flags, 1, len(kept), 0, 1 if question.edns else 0)
    return head + question.raw + b"".join(kept) + tail


def answers(query: bytes, reply: bytes) -> bool:
    """``reply`` is a response to ``query``: same number, same question (RFC 5452 section 9.1)."""
    if len(reply) < 12 or reply[:2] != query[:2] or not reply[2] & 0x80:
        return False
    question = parse(query)
    if question is None:
        return False
    return reply[12 : 12 + len(question.raw)].lower() == question.raw.lower() or reply[4:6] == b"\0\0"


def code_of(reply: bytes) -> int:
    return reply[3] & 0x0F


def reverse_address(name: str) -> str:
    """The address that a name under in-addr.arpa or ip6.arpa stands for; "" for any other name."""
    try:
        if name.endswith(".in-addr.arpa"):
            octets = name.removesuffix(".in-addr.arpa").split(".")
            return str(ip_address(".".join(reversed(octets)))) if len(octets) == 4 else ""
        if name.endswith(".ip6.arpa"):
            nibbles = name.removesuffix(".ip6.arpa").replace(".", "")[::-1]
            return str(ip_address(bytes.fromhex(nibbles))) if len(nibbles) == 32 else ""
    except ValueError:
        pass
    return ""
