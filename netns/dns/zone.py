"""Who is called what on the networks of one container.

Comes in:  the endpoints of those networks.
Goes out:  addresses of a name, the name of an address, or None for "not ours".
Not here:  reading the records (network), packets (message).

Services answer all their replicas, in rotated order. The first network where a name has an address answers.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from ipaddress import ip_address, ip_network

from netns.dns import message
from netns.spec import NOTHING, Endpoint, Network
from schemas.frozen import dataclass, field


@dataclass(frozen=True, slots=True)
class Names:
    """The names of one network, lower case, each with the addresses behind it (both families)."""

    network: Network
    addresses: dict[str, list[str]] = field(default_factory=dict)
    pointers: dict[str, str] = field(default_factory=dict)


def names_of(network: Network, endpoints: Iterable[Endpoint], claimed: Iterable[str] = ()) -> Names:
    """Collect every name of ``endpoints``, plain and followed by the network's name.

    claimed: names of projects, also of what does not run: known, without an address.
    """
    found = Names(network)
    for name in claimed:
        found.addresses.setdefault(name.lower(), [])
    for endpoint in endpoints:
        spec = endpoint.spec
        mine = [address for address in (endpoint.ipv4, endpoint.ipv6) if address]
        called = {*spec.names, spec.container_name, spec.container[:12], spec.container} - {""}
        for name in called:
            for full in (name.lower(), f"{name}.{network.spec.name}".lower()):
                known = found.addresses.setdefault(full, [])
                known += [address for address in mine if address not in known]
        title = spec.container_name or spec.container[:12]
        for address in mine:
            found.pointers[address] = f"{title}.{network.spec.name}"
    return found


@dataclass(frozen=True, slots=True)
class Zone:
    """What one container can ask for by itself: its networks in order, and names of its own for others."""

    networks: tuple[Names, ...]
    links: Mapping[str, str] = NOTHING

    def addresses(self, name: str) -> list[str] | None:
        """All addresses behind ``name`` (lower case) on the first network where it has some; None: not ours.

        A name that is known and has no address is ours, and so is everything below a network's name.
        """
        if name == "localhost" or name.endswith(".localhost"):  # RFC 6761 section 6.3
            return ["127.0.0.1", "::1"]
        name = self.links.get(name, name)
        known = [names.addresses[name] for names in self.networks if name in names.addresses]
        if known:
            return next(filter(None, known), [])
        below = (name.endswith("." + names.network.spec.name.lower()) for names in self.networks)
        return [] if any(below) else None

    def pointer(self, address: str) -> str | None:
        """The name of ``address``; "" when it is in our subnets but nobody has it; None: not ours."""
        for names in self.networks:
            if address in names.pointers:
                return names.pointers[address]
        value = ip_address(address)
        for names in self.networks:
            for subnet in (names.network.subnet4, names.network.subnet6):
                if subnet and value in ip_network(subnet):
                    return ""
        return None

    @property
    def outward(self) -> bool:
        """One of the networks leads out; a container of internal networks only gets no forwarding."""
        return any(not names.network.spec.internal for names in self.networks)


def replies(zone: Zone, question: message.Question, *, stream: bool) -> Sequence[bytes] | None:
    """All rotations of our own answer; None when somebody else must be asked."""
    if address := message.reverse_address(question.name):
        return _pointer(zone, question, address, stream=stream)
    found = zone.addresses(question.name)
    if found is None:
        return None
    if question.space not in (message.IN, message.ANY):  # a name of ours, in a class that has nothing
        return [message.answer(question, (), stream=stream)]
    versions = {message.A: (4,), message.AAAA: (6,), message.ANY: (4, 6)}.get(question.kind, ())
    records = [message.address_record(a) for a in found if ip_address(a).version in versions]
    turns = [records[n:] + records[:n] for n in range(max(1, len(records)))]
    return [message.answer(question, turn, stream=stream) for turn in turns[:64]]


def _pointer(zone: Zone, question: message.Question, address: str, *, stream: bool) -> Sequence[bytes] | None:
    name = zone.pointer(address)
    if name is None:
        return None
    if not name:
        return [message.answer(question, (), message.NXDOMAIN, stream=stream)]
    records = [message.pointer_record(name)] if question.kind in (message.PTR, message.ANY) else []
    return [message.answer(question, records, stream=stream)]
