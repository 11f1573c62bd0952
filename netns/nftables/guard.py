"""Decide what protects host and neighbours: three tables of the machine, beside those of networks.

Comes in:  the RUN directory's tag, families that pycompose switched forwarding on for; endpoints.
Goes out:  ``netlink.Message`` values for one batch.
Not here:  sending them (apply), what a network lets through (ruleset).

The first two (inet) carry the owner and persist flags where the kernel has them, so that ``nft flush
ruleset`` of another program leaves them alone:
  raw       drop 127/8 that does not come by lo: loopback is for this machine
  forward   drop what neither comes from nor goes to a bridge of ours, when forwarding was switched on for us
The third (bridge) holds what each port of our bridges may send (ADR 120):
  ports     frames of an endpoint carry its MAC and its addresses, in ARP and neighbour discovery too;
            no router advertisements, no redirects, nothing but IP and ARP
  routers   containers that may forward (NET_ADMIN, ip_forward) send any address but the gateway's
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Sequence
from ipaddress import IPv6Address, ip_address

from netns.netlink import Message
from netns.nftables import messages as nft
from netns.nftables.ruleset import RAW_PRIORITY, address_in, family_is
from netns.spec import Endpoint, Network
from schemas.frozen import dataclass

GROUP = 0x7063  # IFLA_GROUP of every bridge of ours, "pc"
GUARD_PRIORITY = RAW_PRIORITY - 10
_MACS, _ADDRESSES, _ADDRESSES6 = "macs", "addresses", "addresses6"
_FREE, _REFUSED, _REFUSED6 = "free", "not4", "not6"
_WHOLE, _WHOLE6 = (
    "whole",
    "whole6",
)  # link, MAC and address at once: nearly every packet ends at the first rule
_KEYS = {
    _MACS: (nft.LINK_NAME, nft.LINK_ADDRESS),
    _ADDRESSES: (nft.LINK_NAME, nft.IPV4_ADDRESS),
    _ADDRESSES6: (nft.LINK_NAME, nft.IPV6_ADDRESS),
    _WHOLE: (nft.LINK_NAME, nft.LINK_ADDRESS, nft.IPV4_ADDRESS),
    _WHOLE6: (nft.LINK_NAME, nft.LINK_ADDRESS, nft.IPV6_ADDRESS),
    _FREE: (nft.LINK_NAME,),
    _REFUSED: (nft.LINK_NAME, nft.IPV4_ADDRESS),
    _REFUSED6: (nft.LINK_NAME, nft.IPV6_ADDRESS),
}
_IDENTITY = {name: number for number, name in enumerate(_KEYS, 1)}
_ARP, _IP, _IP6 = b"\x08\x06", b"\x08\x00", b"\x86\xdd"
_ICMP6, _ADVERTISEMENT, _NEIGHBOUR, _REDIRECT = 58, 134, 136, 137
_W = nft.WORD
_AFTER_NAME = _W + 4  # a link's name takes four registers of four bytes
_DROP, _ACCEPT = nft.verdict(nft.DROP), nft.verdict(nft.ACCEPT)


def guard_table(tag: str) -> str:
    return f"pycompose_guard_{tag}"


def forward_table(tag: str) -> str:
    return f"pycompose_forward_{tag}"


def ports_table(tag: str) -> str:
    return f"pycompose_ports_{tag}"


def guard_rules(tag: str, flags: int) -> list[Message]:
    """The first table; it never changes."""
    name = guard_table(tag)
    elsewhere = nft.meta(nft.META_IIFNAME) + nft.compare(b"lo".ljust(16, b"\0"), nft.UNEQUAL)
    raw = (address_in("127.0.0.0/8", source=source) + elsewhere + _DROP for source in (False, True))
    return [
        nft.table(name, exclusive=True, flags=flags),
        nft.chain(name, "raw", "filter", nft.PREROUTING, GUARD_PRIORITY),
        *(nft.rule(name, "raw", rule) for rule in raw),
    ]


def forward_rules(tag: str, families: Sequence[int], flags: int, *, others: bool) -> list[Message]:
    """The second table: forwarding that was switched on for our bridges is for them.

    others: somebody else leads packets on this machine (Docker, libvirt): its bridges may forward too.
    """
    name = forward_table(tag)
    out = [
        nft.table(name, exclusive=True, flags=flags),
        nft.chain(name, "forward", "filter", nft.FORWARD, GUARD_PRIORITY),
    ]
    group, bridge = struct.pack("=I", GROUP), b"bridge".ljust(16, b"\0")
    kinds = ((nft.META_IIFKIND, bridge), (nft.META_OIFKIND, bridge)) if others else ()
    for key, value in ((nft.META_IIFGROUP, group), (nft.META_OIFGROUP, group), *kinds):
        out.append(nft.rule(name, "forward", nft.meta(key), nft.compare(value), _ACCEPT))
    return out + [nft.rule(name, "forward", family_is(family), _DROP) for family in families]


def ports_rules(tag: str, prefix: str) -> list[Message]:
    """The third table, without a port. prefix: how the names of our links begin."""
    name = ports_table(tag)
    bridge = nft.BRIDGE
    out = [
        nft.table(name, exclusive=True, family=bridge),
        *(nft.members(name, set_, key, _IDENTITY[set_], family=bridge) for set_, key in _KEYS.items()),
        nft.chain(name, "ports", "filter", nft.PREROUTING, RAW_PRIORITY, family=bridge),
        nft.plain_chain(name, "routers", family=bridge),
    ]
    ours = nft.compare(prefix.encode(), nft.UNEQUAL, _W)
    port = nft.meta(nft.META_IIFNAME, _W)
    out += [nft.rule(name, "ports", rule, family=bridge) for rule in _quick(port)]
    out.append(nft.rule(name, "ports", port + ours, _ACCEPT, family=bridge))
    free = port + nft.among(_FREE, _IDENTITY[_FREE], _W) + nft.verdict(nft.GOTO, "routers")
    out.append(nft.rule(name, "ports", free, family=bridge))
    out += [nft.rule(name, "ports", rule, family=bridge) for rule in _strict(port)]
    out += [nft.rule(name, "routers", rule, family=bridge) for rule in _lax(port)]
    return out


def _is(protocol: bytes) -> bytes:
    return nft.meta(nft.META_PROTOCOL) + nft.compare(protocol)


def _not_in(name: str) -> bytes:
    return nft.among(name, _IDENTITY[name], _W, inverted=True) + _DROP


def _in(name: str) -> bytes:
    return nft.among(name, _IDENTITY[name], _W) + _DROP


def _icmp6(kind: int) -> bytes:
    six = _is(_IP6) + nft.meta(nft.META_L4PROTO) + nft.compare(bytes([_ICMP6]))
    return six + nft.payload(nft.TRANSPORT, 0, 1) + nft.compare(bytes([kind]))


def _quick(port: bytes) -> Iterator[bytes]:
    """What nearly all packets are: IP from its own link, MAC and address, but neighbour discovery."""
    sender = port + nft.payload(nft.LINK, 6, 6, _AFTER_NAME)
    four = nft.payload(nft.NETWORK, 12, 4, _AFTER_NAME + 2) + nft.among(_WHOLE, _IDENTITY[_WHOLE], _W)
    six = nft.payload(nft.NETWORK, 8, 16, _AFTER_NAME + 2) + nft.among(_WHOLE6, _IDENTITY[_WHOLE6], _W)
    other = nft.meta(nft.META_L4PROTO) + nft.compare(bytes([_ICMP6]), nft.UNEQUAL)
    yield _is(_IP) + sender + four + _ACCEPT
    yield _is(_IP6) + other + sender + six + _ACCEPT


def _strict(port: bytes) -> Iterator[bytes]:
    network, link = nft.NETWORK, nft.LINK
    yield port + nft.payload(link, 6, 6, _AFTER_NAME) + _not_in(_MACS)
    yield _is(_ARP) + port + nft.payload(network, 8, 6, _AFTER_NAME) + _not_in(_MACS)
    unset = nft.payload(network, 14, 4) + nft.compare(bytes(4))  # a probe of RFC 5227 claims nothing yet
    yield _is(_ARP) + unset + _ACCEPT
    yield _is(_ARP) + port + nft.payload(network, 14, 4, _AFTER_NAME) + _not_in(_ADDRESSES)
    yield _is(_ARP) + _ACCEPT
    yield _is(_IP) + port + nft.payload(network, 12, 4, _AFTER_NAME) + _not_in(_ADDRESSES)
    yield _is(_IP) + _ACCEPT
    yield _icmp6(_ADVERTISEMENT) + _DROP
    yield _icmp6(_REDIRECT) + _DROP
    yield _icmp6(_NEIGHBOUR) + port + nft.payload(nft.TRANSPORT, 8, 16, _AFTER_NAME) + _not_in(_ADDRESSES6)
    yield _is(_IP6) + nft.payload(network, 8, 16) + nft.compare(bytes(16)) + _ACCEPT  # duplicate detection
    yield _is(_IP6) + port + nft.payload(network, 8, 16, _AFTER_NAME) + _not_in(_ADDRESSES6)
    yield _is(_IP6) + _ACCEPT
    yield _DROP


def _lax(port: bytes) -> Iterator[bytes]:
    yield _is(_ARP) + port + nft.payload(nft.NETWORK, 14, 4, _AFTER_NAME) + _in(_REFUSED)
    yield _is(_IP) + port + nft.payload(nft.NETWORK, 12, 4, _AFTER_NAME) + _in(_REFUSED)
    yield _icmp6(_ADVERTISEMENT) + _DROP
    yield _icmp6(_REDIRECT) + _DROP
    yield _icmp6(_NEIGHBOUR) + port + nft.payload(nft.TRANSPORT, 8, 16, _AFTER_NAME) + _in(_REFUSED6)


@dataclass(frozen=True, slots=True)
class Port:
    """One port of a bridge: the host's end of a veth pair and whose it is."""

    link: str
    network: Network
    endpoint: Endpoint


def admit(tag: str, ports: Iterable[Port]) -> list[Message]:
    """Let ``ports`` send what their endpoints may."""
    return [
        nft.add_members(ports_table(tag), name, *keys, family=nft.BRIDGE)
        for name, keys in _members(ports).items()
        if keys
    ]


def dismiss(tag: str, ports: Iterable[Port]) -> list[Message]:
    """Take back what ``admit`` allowed."""
    return [
        nft.delete_element(ports_table(tag), name, *keys, family=nft.BRIDGE)
        for name, keys in _members(ports).items()
        if keys
    ]


def _members(ports: Iterable[Port]) -> dict[str, list[bytes]]:
    found: dict[str, list[bytes]] = {name: [] for name in _KEYS}
    for port in ports:
        endpoint, link = port.endpoint, port.link.encode().ljust(16, b"\0")
        if endpoint.spec.routes:
            found[_FREE].append(link)
            for name, gateway in ((_REFUSED, port.network.gateway4), (_REFUSED6, port.network.gateway6)):
                if gateway:
                    found[name].append(link + ip_address(gateway).packed)
            continue
        mac = bytes.fromhex(endpoint.mac.replace(":", ""))
        found[_MACS].append(link + mac + bytes(2))
        own = [endpoint.ipv4, endpoint.ipv6, *(text.split("/")[0] for text in endpoint.spec.link_local)]
        addresses = [ip_address(text) for text in own if text]
        if endpoint.ipv6:
            addresses.append(_derived(mac))
        for address in dict.fromkeys(addresses):
            four = address.version == 4
            found[_ADDRESSES if four else _ADDRESSES6].append(link + address.packed)
            found[_WHOLE if four else _WHOLE6].append(link + mac + bytes(2) + address.packed)
    return found


def _derived(mac: bytes) -> IPv6Address:
    """The link-local address that the kernel makes of a MAC (EUI-64, RFC 4291 appendix A)."""
    return IPv6Address(b"\xfe\x80" + bytes(6) + bytes([mac[0] ^ 2]) + mac[1:3] + b"\xff\xfe" + mac[3:])
