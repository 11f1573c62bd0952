"""Choose subnets and addresses.

Comes in:  what is asked for, what is taken.
Goes out:  networks and addresses of ``ipaddress``.
Not here:  reading routes and resolv.conf (links, network), remembering (leases).
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence, Set
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from netns.errors import AddressesExhausted, AddressTaken, NetworkFailure
from netns.spec import Endpoint, Network, NetworkSpec, Pool

Subnet = IPv4Network | IPv6Network
Address = IPv4Address | IPv6Address

POOLS = tuple(IPv4Network(text) for text in ("172.16.0.0/12", "10.0.0.0/8", "192.168.0.0/16"))
SLICE = 22  # 1022 hosts: a bridge has 1023 ports


def choose_subnet(name: str, taken: Collection[Subnet]) -> IPv4Network:
    """Pick a /22 that overlaps nothing in ``taken``.

    The same name gives the same subnet as long as it is free. Routes wider than /2 are no
    obstacle: they are default routes in disguise. Raises AddressesExhausted.
    """
    obstacles = [t for t in taken if isinstance(t, IPv4Network) and t.prefixlen > 1]
    for pool in POOLS:
        for candidate in _slices(pool, name):
            if not any(candidate.overlaps(t) for t in obstacles):
                return candidate
    raise AddressesExhausted(
        "no private IPv4 subnet is left that the host has no route to",
        hint="give the network a subnet under 'ipam: config:', or remove unused networks",
    )


def _slices(pool: IPv4Network, name: str) -> Iterator[IPv4Network]:
    count = 1 << (SLICE - pool.prefixlen)
    first = int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "big") % count
    base, size = int(pool.network_address), 1 << (32 - SLICE)
    for step in range(count):
        yield IPv4Network((base + (first + step) % count * size, SLICE))


def choose_subnet6(name: str, taken: Collection[Subnet]) -> IPv6Network:
    """Pick a unique local /64 by the hash of ``name`` (RFC 4193); collisions move on."""
    for attempt in range(64):
        digest = hashlib.sha256(f"{name}#{attempt}".encode()).digest()
        candidate = IPv6Network((b"\xfd" + digest[:7] + bytes(8), 64))
        if not any(candidate.overlaps(t) for t in taken if isinstance(t, IPv6Network) and t.prefixlen > 1):
            return candidate
    raise AddressesExhausted("no unique local IPv6 subnet is free")


def parse_subnet(text: str, what: str = "subnet") -> Subnet:
    """Read a CIDR text; host bits are forgiven. Raises NetworkFailure."""
    try:
        return ip_network(text, strict=False)
    except ValueError as error:
        raise NetworkFailure(f"{what} '{text}' is not a network in CIDR form: {error}") from None


def parse_address(text: str, what: str = "address") -> Address:
    """Read a plain address. Raises NetworkFailure."""
    try:
        return ip_address(text.split("/")[0])
    except ValueError:
        raise NetworkFailure(f"{what} '{text}' is not an IP address") from None


def gateway_of(subnet: Subnet, pool: Pool | None) -> Address:
    """The bridge's own address: what the pool says, else the first host of ``subnet``."""
    if pool is None or not pool.gateway:
        return subnet.network_address + (1 if subnet.num_addresses > 2 else 0)
    gateway = parse_address(pool.gateway, "gateway")
    if gateway not in subnet:
        raise NetworkFailure(f"gateway {gateway} is not in subnet {subnet}")
    return gateway


def next_free(subnet: Subnet, taken: Collection[Address], within: Subnet | None = None) -> Address:
    """Pick the lowest address of ``within`` (or ``subnet``) that nobody holds.

    Network and (IPv4) broadcast address are never given. Raises AddressesExhausted. O(len(taken)).
    """
    area = within or subnet
    low, high = int(area.network_address), int(area.broadcast_address)
    last = int(subnet.broadcast_address) if subnet.version == 4 and subnet.num_addresses > 2 else -1
    busy = {int(a) for a in taken if a.version == subnet.version}
    for value in range(low, high + 1):
        if value in busy or value == last or value == int(subnet.network_address):
            continue
        return type(subnet.network_address)(value)
    raise AddressesExhausted(
        f"no address is left in {area}", hint="use a larger subnet or ip_range for this network"
    )


def claim(text: str, subnet: Subnet, holders: Mapping[Address, str], network: str) -> Address:
    """Check a static address. Raises AddressTaken naming the holder, NetworkFailure when outside."""
    address = parse_address(text)
    if address not in subnet:
        raise NetworkFailure(
            f"address {address} is not in subnet {subnet} of network '{network}'",
            hint="choose an address inside the subnet, or change the subnet under 'ipam:'",
        )
    if address in holders:
        raise AddressTaken(
            f"address {address} on network '{network}' is held by {holders[address]}",
            hint="choose another address, or stop the holder",
        )
    return address


def clash(wanted: Subnet, taken: Iterable[tuple[Subnet, str]]) -> str:
    """Say who holds a subnet that overlaps ``wanted``; "" when nobody does."""
    for other, who in taken:
        if other.version == wanted.version and other.prefixlen > 1 and wanted.overlaps(other):
            return f"{other} of {who}"
    return ""


def covers(route: Subnet, subnet: Subnet) -> bool:
    """A route takes packets away that are for ``subnet``: it is as specific or more, and overlaps."""
    return route.version == subnet.version and route.prefixlen >= subnet.prefixlen and route.overlaps(subnet)


def pool_of(spec: NetworkSpec, version: int) -> Pool | None:
    """The first pool of a family that names a subnet."""
    for pool in spec.pools:
        if pool.subnet and parse_subnet(pool.subnet).version == version:
            return pool
    return None


def wanted_subnet(pool: Pool, named: list[tuple[Subnet, str]], hosts: list[tuple[Subnet, str]]) -> Subnet:
    """A subnet given in the file. Wider routes of the host are fine: ours is more specific."""
    subnet = parse_subnet(pool.subnet)
    inner = [(s, w) for s, w in hosts if s.version == subnet.version and s.prefixlen >= subnet.prefixlen]
    if who := clash(subnet, named + inner):
        raise AddressTaken(
            f"subnet {subnet} overlaps {who}", hint="choose another subnet, or leave the choice to pycompose"
        )
    return subnet


def choose_address(
    network: Network,
    static: str,
    former: str,
    holders: Mapping[Address, str],
    avoided: Set[Address],
    version: int,
) -> str:
    """One address: the static one, the former one if free, else the next free one; "" without the family.

    holders: who has what. avoided: former addresses of others, taken only when nothing else is left.
    """
    text = network.subnet4 if version == 4 else network.subnet6
    if not text:
        if static:
            raise NetworkFailure(f"network '{network.spec.name}' has no IPv{version} subnet for {static}")
        return ""
    subnet, pool = parse_subnet(text), pool_of(network.spec, version)
    taken = dict(holders)
    taken[parse_address(network.gateway4 if version == 4 else network.gateway6)] = "the gateway"
    for reserved in pool.reserved if pool else ():
        taken[parse_address(reserved, "aux_address")] = "aux_addresses"
    if static:
        return str(claim(static, subnet, taken, network.spec.name))
    if former and ip_address(former) in subnet and ip_address(former) not in taken.keys() | avoided:
        return former
    within = parse_subnet(pool.ip_range, "ip_range") if pool and pool.ip_range else None
    try:
        return str(next_free(subnet, taken.keys() | avoided, within))
    except AddressesExhausted:
        return str(next_free(subnet, taken.keys(), within))


def default_endpoint(plugged: Sequence[tuple[Network, Endpoint]]) -> tuple[Network, Endpoint] | None:
    """The endpoint that holds the default route: highest gw_priority, then priority, then name."""
    outward = [pair for pair in plugged if not pair[0].spec.internal]
    outward.sort(key=lambda p: (-p[1].spec.gw_priority, -p[1].spec.priority, p[0].spec.name))
    return outward[0] if outward else None


def subnets_of(network: Network) -> Iterator[Subnet]:
    for text in (network.subnet4, network.subnet6):
        if text:
            yield parse_subnet(text)
