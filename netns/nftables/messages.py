"""Pack nf_tables objects: tables, chains, rules made of expressions, maps and their elements.

Comes in:  names, numbers, expression values.
Goes out:  ``netlink.Message`` values for one batch.
Not here:  which rules a network needs (ruleset), sending (apply).
Source: include/uapi/linux/netfilter/nf_tables.h. All numbers of attributes are big endian, register
contents are as on the wire or, for ct and fib, in the order of this machine.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

from netns.netlink import Flag, Message, attr, nest, text

INET, IPV4, BRIDGE, IPV6 = 1, 2, 7, 10
PREROUTING, INPUT, FORWARD, OUTPUT, POSTROUTING = 0, 1, 2, 3, 4
DROP, ACCEPT, GOTO = 0, 1, -4
META_PROTOCOL, META_IIFNAME, META_OIFNAME, META_NFPROTO, META_L4PROTO = 1, 6, 7, 15, 16
META_IIFGROUP, META_OIFGROUP, META_IIFKIND, META_OIFKIND = 21, 22, 26, 27
OWNER, PERSIST = 2, 4  # NFT_TABLE_F_*: since Linux 5.12 and 6.9
CT_STATE, CT_STATUS = 0, 2
ESTABLISHED, RELATED, DNATTED = 2, 4, 0x20  # NF_CT_STATE_BIT values; IPS_DST_NAT
LINK, NETWORK, TRANSPORT = 0, 1, 2
EQUAL, UNEQUAL = 0, 1
RTN_LOCAL = 2
IPV4_ADDRESS, IPV6_ADDRESS, LINK_ADDRESS, PROTOCOL, SERVICE, LINK_NAME = (
    7,
    8,
    9,
    12,
    13,
    41,
)  # as nft(8) prints
_SIZES = {IPV6_ADDRESS: 16, LINK_ADDRESS: 8, LINK_NAME: 16}  # bytes in a register; 4 for all others
TYPE_BITS = 6
WORD = 8  # NFT_REG32_00; WORD + n is the n-th register of four bytes
MAP = 8  # NFT_SET_MAP
_NFTABLES = 10
_NEWTABLE, GETTABLE, _DELTABLE, _NEWCHAIN, GETCHAIN, _NEWRULE, GETRULE, _DELRULE = 0, 1, 2, 3, 4, 6, 7, 8
_NEWSET, _NEWSETELEM, GETSETELEM, _DELSETELEM = 9, 12, 13, 14


def message(
    kind: int, *parts: bytes, family: int = INET, flags: Flag = Flag.NONE, about: str = ""
) -> Message:
    """One message of the nf_tables subsystem: struct nfgenmsg, then attributes."""
    body = struct.pack(">BBH", family, 0, 0) + b"".join(parts)
    return Message((_NFTABLES << 8) | kind, body, flags, about)


def begin() -> Message:
    return Message(0x10, struct.pack(">BBH", 0, 0, _NFTABLES), about="batch")


def end() -> Message:
    return Message(0x11, struct.pack(">BBH", 0, 0, _NFTABLES), about="batch")


def number(kind: int, value: int) -> bytes:
    return attr(kind, struct.pack(">I", value & 0xFFFFFFFF))


def table(name: str, *, exclusive: bool = False, family: int = INET, flags: int = 0) -> Message:
    """A table; ``exclusive`` refuses (EEXIST) when it is there already. flags: OWNER, PERSIST."""
    create = Flag.CREATE | Flag.EXCL if exclusive else Flag.CREATE
    parts = (text(1, name), *((number(2, flags),) if flags else ()))
    return message(_NEWTABLE, *parts, family=family, flags=create, about=f"add table {name}")


def delete_table(name: str, *, family: int = INET) -> Message:
    return message(_DELTABLE, text(1, name), family=family, about=f"delete table {name}")


def chain(table: str, name: str, kind: str, hook: int, priority: int, *, family: int = INET) -> Message:
    """A base chain with policy accept; ``kind`` is "filter" or "nat"."""
    place = nest(4, number(1, hook), number(2, priority))
    parts = (text(1, table), text(3, name), place, number(5, ACCEPT), text(7, kind))
    return message(_NEWCHAIN, *parts, family=family, flags=Flag.CREATE, about=f"add chain {table} {name}")


def plain_chain(table: str, name: str, *, family: int = INET) -> Message:
    """A chain at no hook, to go to."""
    parts = (text(1, table), text(3, name))
    return message(_NEWCHAIN, *parts, family=family, flags=Flag.CREATE, about=f"add chain {table} {name}")


def rule(table: str, chain: str, *expressions: bytes, family: int = INET) -> Message:
    """Append one rule: expressions run left to right, the first that does not match ends it."""
    parts = (text(1, table), text(2, chain), nest(4, *expressions))
    flags, about = Flag.CREATE | Flag.APPEND, f"add rule to {table} {chain}"
    return message(_NEWRULE, *parts, family=family, flags=flags, about=about)


def first_rule(table: str, chain: str, comment: str, *expressions: bytes, family: int) -> Message:
    """Insert a rule at the head of a chain, with a comment as nft(8) and iptables(8) show it."""
    note = comment.encode() + b"\0"
    parts = (text(1, table), text(2, chain), nest(4, *expressions), attr(7, bytes([0, len(note)]) + note))
    return message(_NEWRULE, *parts, family=family, flags=Flag.CREATE, about=f"add rule to {table} {chain}")


def delete_rule(table: str, chain: str, handle: int, *, family: int) -> Message:
    parts = (text(1, table), text(2, chain), attr(3, struct.pack(">Q", handle)))
    return message(_DELRULE, *parts, family=family, about=f"delete rule of {table} {chain}")


def mapping(table: str, name: str, key: Sequence[int], data: Sequence[int], identity: int) -> Message:
    """A map from one concatenation of types to another."""
    parts = (
        text(1, table),
        text(2, name),
        number(3, MAP),
        number(4, concatenation(key)),
        number(5, size_of(key)),
        number(6, concatenation(data)),
        number(7, size_of(data)),
        number(10, identity),
    )
    return message(_NEWSET, *parts, flags=Flag.CREATE, about=f"add map {table} {name}")


def members(table: str, name: str, key: Sequence[int], identity: int, *, family: int) -> Message:
    """A set of a concatenation of types."""
    head = (text(1, table), text(2, name), number(3, 0))
    parts = (*head, number(4, concatenation(key)), number(5, size_of(key)), number(10, identity))
    return message(_NEWSET, *parts, family=family, flags=Flag.CREATE, about=f"add set {table} {name}")


def size_of(types: Sequence[int]) -> int:
    """Bytes of ``a . b . c`` in registers."""
    return sum(_SIZES.get(kind, 4) for kind in types)


def concatenation(types: Sequence[int]) -> int:
    """The type number of ``a . b . c``."""
    value = 0
    for kind in types:
        value = value << TYPE_BITS | kind
    return value


def add_element(table: str, name: str, key: bytes, data: bytes) -> Message:
    element = nest(1, nest(1, attr(1, key)), nest(2, attr(1, data)))
    parts = (text(1, table), text(2, name), nest(3, element))
    return message(_NEWSETELEM, *parts, flags=Flag.CREATE, about=f"add element to {table} {name}")


def delete_element(table: str, name: str, *keys: bytes, family: int = INET) -> Message:
    parts = (text(1, table), text(2, name), nest(3, *(nest(1, nest(1, attr(1, key))) for key in keys)))
    return message(_DELSETELEM, *parts, family=family, about=f"delete element of {table} {name}")


def add_members(table: str, name: str, *keys: bytes, family: int) -> Message:
    """Elements of a set; those that it has already are forgiven."""
    parts = (text(1, table), text(2, name), nest(3, *(nest(1, nest(1, attr(1, key))) for key in keys)))
    return message(_NEWSETELEM, *parts, family=family, flags=Flag.CREATE, about=f"add to set {table} {name}")


def expression(name: str, *parts: bytes) -> bytes:
    return nest(1, text(1, name), nest(2, *parts))


def meta(key: int, register: int = 1) -> bytes:
    return expression("meta", number(1, register), number(2, key))


def compare(value: bytes, operation: int = EQUAL, register: int = 1) -> bytes:
    return expression("cmp", number(1, register), number(2, operation), nest(3, attr(1, value)))


def random(below: int, register: int = 1) -> bytes:
    """A random number from 0 to ``below`` less one, as on the wire."""
    made = expression("numgen", number(1, register), number(2, below), number(3, 1))  # NFT_NG_RANDOM
    wire = (number(1, register), number(2, register), number(3, 1), number(4, 4), number(5, 4))
    return made + expression("byteorder", *wire)  # NFT_BYTEORDER_HTON


def payload(base: int, offset: int, size: int, register: int = 1) -> bytes:
    return expression("payload", number(1, register), number(2, base), number(3, offset), number(4, size))


def store(offset: int, size: int, checksum: int, register: int = 1) -> bytes:
    """Write ``register`` into the transport header and mend the checksum at offset ``checksum``."""
    place = (number(2, TRANSPORT), number(3, offset), number(4, size))
    return expression("payload", number(5, register), *place, number(6, 1), number(7, checksum))


def load(value: bytes, register: int = 1) -> bytes:
    """Put a constant into ``register``."""
    return expression("immediate", number(1, register), nest(2, attr(1, value)))


def mask(value: bytes, register: int = 1) -> bytes:
    """Keep the bits of ``register`` that are set in ``value``."""
    parts = (number(1, register), number(2, register), number(3, len(value)))
    return expression("bitwise", *parts, nest(4, attr(1, value)), nest(5, attr(1, bytes(len(value)))))


def ct(key: int, register: int = 1) -> bytes:
    return expression("ct", number(1, register), number(2, key))


def lookup(name: str, identity: int, source: int, target: int) -> bytes:
    return expression("lookup", text(1, name), number(2, source), number(3, target), number(4, identity))


def among(name: str, identity: int, source: int = 1, *, inverted: bool = False) -> bytes:
    """The key in ``source`` is a member of a set, or is not."""
    flags = (number(5, 1),) if inverted else ()
    return expression("lookup", text(1, name), number(2, source), number(4, identity), *flags)


def destination_type() -> bytes:
    """``fib daddr type`` into register 1."""
    return expression("fib", number(1, 1), number(2, 3), number(3, 2))


def dnat(address: int, port: int, family: int = IPV4) -> bytes:
    """Rewrite the destination to what the two registers hold."""
    flags = number(7, 2)  # NF_NAT_RANGE_PROTO_SPECIFIED
    return expression("nat", number(1, 1), number(2, family), number(3, address), number(5, port), flags)


def masquerade() -> bytes:
    return expression("masq")


def verdict(code: int, chain: str = "") -> bytes:
    target = (text(2, chain),) if chain else ()
    return expression("immediate", number(1, 0), nest(2, nest(2, number(1, code), *target)))
