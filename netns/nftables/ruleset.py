"""Decide the firewall state of one network: a table of its own, so that one message removes it.

Comes in:  a Network; published ports with the address they lead to.
Goes out:  ``netlink.Message`` values for one batch.
Not here:  sending them (apply), bridge-port isolation (links).

What the table says, in the words of nft(8):
  raw          drop 127/8 that arrives from the bridge: containers must not spoof loopback
  prerouting,  dnat what is addressed to this host and found in @ports (@ports6), or in @ports_at
  output       (@ports6_at) with the one address of the host it was published on; not [::1], not fe80::/10
  forward      to the bridge: answers, its own containers and published ports; nothing else
  postrouting  masquerade containers towards the world, loopback and hairpins towards the bridge
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from ipaddress import ip_address, ip_network

from netns.netlink import Message
from netns.nftables import messages as nft
from netns.spec import Endpoint, Network, PortSpec

PROTOCOLS = {"tcp": 6, "udp": 17, "sctp": 132}
CHECKSUMS = {"tcp": 16, "udp": 6}  # where the transport header keeps it
RESOLVER_TABLE = "pycompose_names"
ANYWHERE, AT, ANYWHERE6, AT6 = "ports", "ports_at", "ports6", "ports6_at"
RAW_PRIORITY, DNAT_PRIORITY, FILTER_PRIORITY, SNAT_PRIORITY = -300, -100, 0, 100
_STATE = struct.Struct("=I")


def table_name(network: Network) -> str:
    """The table of a network; letters, digits and underscores, so that nft(8) can name it."""
    return "pycompose_" + "".join(c if c.isalnum() else "_" for c in network.bridge)


def network_rules(network: Network) -> list[Message]:
    """All of a network's table, emptied first when an earlier one is there."""
    name = table_name(network)
    return [
        nft.table(name),
        nft.delete_table(name),
        nft.table(name),
        nft.mapping(name, ANYWHERE, (nft.PROTOCOL, nft.SERVICE), (nft.IPV4_ADDRESS, nft.SERVICE), 1),
        nft.mapping(
            name,
            AT,
            (nft.IPV4_ADDRESS, nft.PROTOCOL, nft.SERVICE),
            (nft.IPV4_ADDRESS, nft.SERVICE),
            2,
        ),
        nft.mapping(name, ANYWHERE6, (nft.PROTOCOL, nft.SERVICE), (nft.IPV6_ADDRESS, nft.SERVICE), 3),
        nft.mapping(
            name,
            AT6,
            (nft.IPV6_ADDRESS, nft.PROTOCOL, nft.SERVICE),
            (nft.IPV6_ADDRESS, nft.SERVICE),
            4,
        ),
        nft.chain(name, "raw", "filter", nft.PREROUTING, RAW_PRIORITY),
        nft.chain(name, "prerouting", "nat", nft.PREROUTING, DNAT_PRIORITY),
        nft.chain(name, "output", "nat", nft.OUTPUT, DNAT_PRIORITY),
        nft.chain(name, "forward", "filter", nft.FORWARD, FILTER_PRIORITY),
        nft.chain(name, "postrouting", "nat", nft.POSTROUTING, SNAT_PRIORITY),
        *_spoofing(name, network.bridge),
        *_published(name),
        *_forwarding(name, network),
        *_translation(name, network),
    ]


def remove_network(network: Network) -> Message:
    """One message that takes the whole table away."""
    return nft.delete_table(table_name(network))


def by_kernel(port: PortSpec, endpoint: Endpoint) -> tuple[bool, bool]:
    """Whether the kernel leads a port's IPv4 and its IPv6; all but [::1] and fe80::/10."""
    if port.carried:
        return False, False
    wants_four, wants_six = families(port.host_ip)
    loopback = port.host_ip.strip("[]") == "::1"
    return wants_four and bool(endpoint.ipv4), wants_six and bool(endpoint.ipv6) and not loopback


def families(host_ip: str) -> tuple[bool, bool]:
    """Which of IPv4 and IPv6 a host_ip asks for; "" asks for both."""
    if not host_ip:
        return True, True
    return ":" not in host_ip, ":" in host_ip


def add_port(network: Network, port: PortSpec, endpoint: Endpoint) -> list[Message]:
    """Lead a published port of the host to an endpoint, in each family that both have."""
    return [
        nft.add_element(table_name(network), name, key, ip_address(address).packed + _port(port.target))
        for name, key, address in _elements(port, endpoint)
    ]


def remove_port(network: Network, port: PortSpec, endpoint: Endpoint) -> list[Message]:
    return [nft.delete_element(table_name(network), name, key) for name, key, _ in _elements(port, endpoint)]


def resolver_rules(address: str, ports: Mapping[str, int], *, again: bool = False) -> list[Message]:
    """Inside a container: ``address``:53 is answered by sockets on other ports of ``address``.

    So the container may bind 0.0.0.0:53 itself, as a DNS server in a container does. Only the port is
    rewritten, there and back, without connection tracking.

    ports: by protocol. again: replace the table of an earlier server. A first one fails with EEXIST
    then, but is 15 ms quicker: closing a netlink socket waits for what was deleted.
    """
    name = RESOLVER_TABLE
    out = [nft.table(name), nft.delete_table(name)] if again else []
    out.append(nft.table(name, exclusive=not again))
    out.append(nft.chain(name, "output", "filter", nft.OUTPUT, RAW_PRIORITY))
    for protocol, port in ports.items():
        kind = nft.meta(nft.META_L4PROTO) + nft.compare(bytes([PROTOCOLS[protocol]]))
        there = address_in(f"{address}/32", source=False) + kind
        back = address_in(f"{address}/32", source=True) + kind
        checksum = CHECKSUMS[protocol]
        for match, offset, old, new in ((there, 2, 53, port), (back, 0, port, 53)):
            test = nft.payload(nft.TRANSPORT, offset, 2) + nft.compare(struct.pack(">H", old))
            write = nft.load(struct.pack(">H", new)) + nft.store(offset, 2, checksum)
            out.append(nft.rule(name, "output", match, test, write))
    return out


def _elements(port: PortSpec, endpoint: Endpoint) -> Iterator[tuple[str, bytes, str]]:
    """Which maps a port lives in, its key there and the address it leads to; parts padded to four bytes."""
    key = struct.pack(">B3x", PROTOCOLS[port.protocol]) + _port(port.published)
    four, six = by_kernel(port, endpoint)
    host = port.host_ip.strip("[]")
    everywhere = host in ("", "0.0.0.0", "::")
    at = b"" if everywhere else ip_address(host).packed
    if four:
        yield ANYWHERE if everywhere else AT, at + key, endpoint.ipv4
    if six:
        yield ANYWHERE6 if everywhere else AT6, at + key, endpoint.ipv6


def _port(number: int) -> bytes:
    return struct.pack(">HH", number, 0)


def _interface(key: int, name: str, operation: int = nft.EQUAL) -> bytes:
    return nft.meta(key) + nft.compare(name.encode().ljust(16, b"\0"), operation)


def family_is(family: int) -> bytes:
    return nft.meta(nft.META_NFPROTO) + nft.compare(bytes([family]))


def address_in(subnet: str, *, source: bool) -> bytes:
    """``ip saddr`` or ``ip daddr`` (or ip6) in ``subnet``."""
    network = ip_network(subnet)
    packed, size = network.network_address.packed, network.max_prefixlen // 8
    four = network.version == 4
    offset = (12 if four else 8) + (0 if source else size)
    load = nft.payload(nft.NETWORK, offset, size) + nft.mask(network.netmask.packed)
    return family_is(nft.IPV4 if four else nft.IPV6) + load + nft.compare(packed)


def _any_bit(key: int, bits: int) -> bytes:
    """``ct state`` or ``ct status`` has one of ``bits``."""
    zero = _STATE.pack(0)
    return nft.ct(key) + nft.mask(_STATE.pack(bits)) + nft.compare(zero, nft.UNEQUAL)


def _spoofing(table: str, bridge: str) -> Iterator[Message]:
    for source in (False, True):
        loopback = address_in("127.0.0.0/8", source=source)
        yield nft.rule(table, "raw", _interface(nft.META_IIFNAME, bridge), loopback, nft.verdict(nft.DROP))


def _published(table: str) -> Iterator[Message]:
    """The address of the host goes to the first words, then protocol and port; the answer to word 8 on."""
    w = nft.WORD
    local = nft.destination_type() + nft.compare(_STATE.pack(nft.RTN_LOCAL))
    for family, words, offset, maps in (
        (nft.IPV4, 1, 16, ((AT, 2), (ANYWHERE, 1))),
        (nft.IPV6, 4, 24, ((AT6, 4), (ANYWHERE6, 3))),
    ):
        key = (
            nft.payload(nft.NETWORK, offset, 4 * words, w)
            + nft.meta(nft.META_L4PROTO, w + words)
            + nft.payload(nft.TRANSPORT, 2, 2, w + words + 1)
        )
        here = family_is(family) + local + key
        if (
            family == nft.IPV6
        ):  # loopback and link-local sources cannot be forwarded: ports.forwarder has those
            here = family_is(family) + _outside("::1/128") + _outside("fe80::/10") + local + key
        there = nft.dnat(w + 8, w + 8 + words, family)
        for chain in ("prerouting", "output"):
            for name, identity in maps:
                start = w if name in (AT, AT6) else w + words
                yield nft.rule(table, chain, here, nft.lookup(name, identity, start, w + 8), there)


def _outside(subnet: str) -> bytes:
    """``ip6 daddr`` is not in ``subnet``."""
    network = ip_network(subnet)
    load = nft.payload(nft.NETWORK, 24, 16) + nft.mask(network.netmask.packed)
    return load + nft.compare(network.network_address.packed, nft.UNEQUAL)


def _forwarding(table: str, network: Network) -> Iterator[Message]:
    into = _interface(nft.META_OIFNAME, network.bridge)
    out = _interface(nft.META_IIFNAME, network.bridge)
    accept, drop = nft.verdict(nft.ACCEPT), nft.verdict(nft.DROP)
    if network.spec.icc:
        yield nft.rule(table, "forward", into, out, accept)
    if network.spec.internal:
        yield nft.rule(table, "forward", out, drop)
        yield nft.rule(table, "forward", into, drop)
        return
    answers = _any_bit(nft.CT_STATE, nft.ESTABLISHED | nft.RELATED)
    yield nft.rule(table, "forward", into, answers, accept)
    yield nft.rule(table, "forward", into, _any_bit(nft.CT_STATUS, nft.DNATTED), accept)
    yield nft.rule(table, "forward", into, drop)


def _translation(table: str, network: Network) -> Iterator[Message]:
    into = _interface(nft.META_OIFNAME, network.bridge)
    away = _interface(nft.META_OIFNAME, network.bridge, nft.UNEQUAL)
    loopback = address_in("127.0.0.0/8", source=True)
    yield nft.rule(table, "postrouting", into, loopback, nft.masquerade())
    for subnet in filter(None, (network.subnet4, network.subnet6)):
        mine = address_in(subnet, source=True)
        hairpin = _any_bit(nft.CT_STATUS, nft.DNATTED)
        yield nft.rule(table, "postrouting", into, mine, hairpin, nft.masquerade())
        if network.spec.masquerade and not network.spec.internal:
            yield nft.rule(table, "postrouting", away, mine, nft.masquerade())
