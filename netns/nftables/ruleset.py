"""Decide the firewall state of one network: a table of its own, so that one message removes it.

Comes in:  a Network; published ports with the address they lead to.
Goes out:  ``netlink.Message`` values for one batch.
Not here:  sending them (apply), bridge-port isolation (links).

What the table says, in the words of nft(8):
  raw          drop 127/8 that arrives from the bridge: containers must not spoof loopback
  prerouting,  dnat what is addressed to this host and found in @ports, or in @ports_at with
  output       the one address of the host it was published on
  forward      to the bridge: answers, its own containers and published ports; nothing else
  postrouting  masquerade containers towards the world, loopback and hairpins towards the bridge
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping, Sequence
from ipaddress import ip_address, ip_network

from netns.netlink import Message
from netns.nftables import messages as nft
from netns.spec import Endpoint, Network, PortSpec

PROTOCOLS = {"tcp": 6, "udp": 17, "sctp": 132}
CHECKSUMS = {"tcp": 16, "udp": 6}  # where the transport header keeps it
RESOLVER_TABLE = "pycompose_names"
ANYWHERE, AT = "ports", "ports_at"
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


def led_by_kernel(ports: Sequence[PortSpec], endpoint: Endpoint) -> list[PortSpec]:
    """The ports that DNAT leads: those on IPv4 addresses, towards a container that has one."""
    return [port for port in ports if endpoint.ipv4 and ":" not in port.host_ip]


def add_port(network: Network, port: PortSpec, address: str) -> Message:
    """Lead a published port of the host (IPv4) to ``address``:target."""
    name, key = _element(port)
    data = ip_address(address).packed + struct.pack(">HH", port.target, 0)
    return nft.add_element(table_name(network), name, key, data)


def remove_port(network: Network, port: PortSpec) -> Message:
    name, key = _element(port)
    return nft.delete_element(table_name(network), name, key)


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
        there = _address(f"{address}/32", source=False) + kind
        back = _address(f"{address}/32", source=True) + kind
        checksum = CHECKSUMS[protocol]
        for match, offset, old, new in ((there, 2, 53, port), (back, 0, port, 53)):
            test = nft.payload(nft.TRANSPORT, offset, 2) + nft.compare(struct.pack(">H", old))
            write = nft.load(struct.pack(">H", new)) + nft.store(offset, 2, checksum)
            out.append(nft.rule(name, "output", match, test, write))
    return out


def _element(port: PortSpec) -> tuple[str, bytes]:
    """Which map a port lives in, and its key there; each part padded to four bytes."""
    key = struct.pack(">B3xHH", PROTOCOLS[port.protocol], port.published, 0)
    if port.host_ip in ("", "0.0.0.0"):
        return ANYWHERE, key
    return AT, ip_address(port.host_ip).packed + key


def _interface(key: int, name: str, operation: int = nft.EQUAL) -> bytes:
    return nft.meta(key) + nft.compare(name.encode().ljust(16, b"\0"), operation)


def _family(family: int) -> bytes:
    return nft.meta(nft.META_NFPROTO) + nft.compare(bytes([family]))


def _address(subnet: str, *, source: bool) -> bytes:
    """``ip saddr`` or ``ip daddr`` (or ip6) in ``subnet``."""
    network = ip_network(subnet)
    packed, size = network.network_address.packed, network.max_prefixlen // 8
    four = network.version == 4
    offset = (12 if four else 8) + (0 if source else size)
    load = nft.payload(nft.NETWORK, offset, size) + nft.mask(network.netmask.packed)
    return _family(nft.IPV4 if four else nft.IPV6) + load + nft.compare(packed)


def _any_bit(key: int, bits: int) -> bytes:
    """``ct state`` or ``ct status`` has one of ``bits``."""
    zero = _STATE.pack(0)
    return nft.ct(key) + nft.mask(_STATE.pack(bits)) + nft.compare(zero, nft.UNEQUAL)


def _spoofing(table: str, bridge: str) -> Iterator[Message]:
    for source in (False, True):
        loopback = _address("127.0.0.0/8", source=source)
        yield nft.rule(table, "raw", _interface(nft.META_IIFNAME, bridge), loopback, nft.verdict(nft.DROP))


def _published(table: str) -> Iterator[Message]:
    """The address of the host goes to word 0, protocol to 1, port to 2; the answer to 8 and 9."""
    w = nft.WORD
    key = (
        nft.payload(nft.NETWORK, 16, 4, w)
        + nft.meta(nft.META_L4PROTO, w + 1)
        + nft.payload(nft.TRANSPORT, 2, 2, w + 2)
    )
    local = nft.destination_type() + nft.compare(_STATE.pack(nft.RTN_LOCAL))
    for chain in ("prerouting", "output"):
        here = _family(nft.IPV4) + local + key
        yield nft.rule(table, chain, here, nft.lookup(AT, 2, w, w + 8), nft.dnat(w + 8, w + 9))
        yield nft.rule(table, chain, here, nft.lookup(ANYWHERE, 1, w + 1, w + 8), nft.dnat(w + 8, w + 9))


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
    loopback = _address("127.0.0.0/8", source=True)
    yield nft.rule(table, "postrouting", into, loopback, nft.masquerade())
    for subnet in filter(None, (network.subnet4, network.subnet6)):
        mine = _address(subnet, source=True)
        hairpin = _any_bit(nft.CT_STATUS, nft.DNATTED)
        yield nft.rule(table, "postrouting", into, mine, hairpin, nft.masquerade())
        if network.spec.masquerade and not network.spec.internal:
            yield nft.rule(table, "postrouting", away, mine, nft.masquerade())
