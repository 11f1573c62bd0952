"""Choosing subnets and addresses, without a kernel."""

from __future__ import annotations

from ipaddress import IPv4Network, ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netns import ipam
from netns.errors import AddressesExhausted, AddressTaken, NetworkFailure
from netns.spec import Endpoint, EndpointSpec, Network, NetworkSpec, Pool


def network(subnet: str = "10.0.0.0/24", gateway: str = "10.0.0.1", **spec: object) -> Network:
    name = str(spec.pop("name", "n"))
    return Network(spec=NetworkSpec(name=name, **spec), bridge="br", subnet4=subnet, gateway4=gateway)  # type: ignore[arg-type]


def choose(net: Network, *, static: str = "", former: str = "", held: str = "", avoided: str = "") -> str:
    holders = {ip_address(text): f"'{text}'" for text in held.split()}
    return ipam.choose_address(net, static, former, holders, {ip_address(t) for t in avoided.split()}, 4)


def test_the_same_name_gets_the_same_subnet_as_long_as_it_is_free() -> None:
    first = ipam.choose_subnet("shop_default", [])
    assert first == ipam.choose_subnet("shop_default", [])
    assert first.prefixlen == 22
    assert first.subnet_of(IPv4Network("172.16.0.0/12"))
    assert ipam.choose_subnet("shop_default", [first]) != first


@given(st.lists(st.ip_addresses(v=4, network="172.16.0.0/12"), max_size=30), st.text(min_size=1, max_size=8))
def test_a_chosen_subnet_overlaps_nothing_that_is_taken(addresses: list[object], name: str) -> None:
    taken = [ip_network(f"{address}/24", strict=False) for address in addresses]
    assert not any(ipam.choose_subnet(name, taken).overlaps(other) for other in taken)  # type: ignore[arg-type]


def test_a_default_route_split_in_two_is_no_obstacle() -> None:
    assert ipam.choose_subnet("n", [ip_network("0.0.0.0/0"), ip_network("128.0.0.0/1")])


def test_the_second_and_third_pool_follow_the_first() -> None:
    taken = [ip_network("172.16.0.0/12")]
    assert ipam.choose_subnet("n", taken).subnet_of(IPv4Network("10.0.0.0/8"))
    taken.append(ip_network("10.0.0.0/8"))
    assert ipam.choose_subnet("n", taken).subnet_of(IPv4Network("192.168.0.0/16"))
    with pytest.raises(AddressesExhausted):
        ipam.choose_subnet("n", [*taken, ip_network("192.168.0.0/16")])


def test_ipv6_subnets_are_unique_local() -> None:
    chosen = ipam.choose_subnet6("n", [])
    assert chosen.prefixlen == 64
    assert chosen.subnet_of(ip_network("fd00::/8"))  # type: ignore[arg-type]
    assert ipam.choose_subnet6("n", [chosen]) != chosen


def test_addresses_are_given_lowest_first_without_network_gateway_and_broadcast() -> None:
    small = network("10.0.0.0/29", "10.0.0.1")
    given_: list[str] = []
    for _ in range(5):
        given_.append(choose(small, held=" ".join(given_)))
    assert given_ == [f"10.0.0.{n}" for n in (2, 3, 4, 5, 6)]
    with pytest.raises(AddressesExhausted, match=r"no address is left in 10\.0\.0\.0/29"):
        choose(small, held=" ".join(given_))


def test_the_former_address_comes_back_and_those_of_others_are_spared() -> None:
    assert choose(network(), former="10.0.0.9") == "10.0.0.9"
    assert choose(network(), former="10.0.0.9", held="10.0.0.9") == "10.0.0.2"
    assert choose(network(), former="10.7.0.9") == "10.0.0.2"
    assert choose(network(), avoided="10.0.0.2 10.0.0.3") == "10.0.0.4"
    assert choose(network("10.0.0.0/30"), avoided="10.0.0.2") == "10.0.0.2"


def test_ip_range_and_reserved_addresses_are_honoured() -> None:
    pool = Pool(subnet="10.0.0.0/24", ip_range="10.0.0.64/28", reserved=("10.0.0.64",))
    net = network(pools=(pool,))
    assert choose(net) == "10.0.0.65"
    assert choose(net, static="10.0.0.200") == "10.0.0.200"
    with pytest.raises(AddressTaken, match="aux_addresses"):
        choose(net, static="10.0.0.64")


def test_a_static_address_that_cannot_be_is_refused_with_the_reason() -> None:
    with pytest.raises(NetworkFailure, match=r"10\.1\.0\.1 is not in subnet 10\.0\.0\.0/24 of network 'n'"):
        choose(network(), static="10.1.0.1")
    with pytest.raises(AddressTaken, match="held by the gateway"):
        choose(network(), static="10.0.0.1")
    with pytest.raises(NetworkFailure, match="'ten' is not an IP address"):
        choose(network(), static="ten")
    with pytest.raises(NetworkFailure, match=r"gateway 10.1.0.1 is not in subnet"):
        ipam.gateway_of(ip_network("10.0.0.0/24"), Pool(gateway="10.1.0.1"))
    with pytest.raises(NetworkFailure, match=r"'10.0.0.0/99' is not a network in CIDR form"):
        ipam.parse_subnet("10.0.0.0/99")


def test_a_wanted_subnet_may_lie_inside_a_route_but_not_over_one() -> None:
    hosts = [
        (ip_network("10.0.0.0/8"), "a route of the host"),
        (ip_network("192.168.1.0/24"), "a route of the host"),
    ]
    assert str(ipam.wanted_subnet(Pool(subnet="10.5.0.0/24"), [], hosts)) == "10.5.0.0/24"  # type: ignore[arg-type]
    with pytest.raises(AddressTaken, match=r"192\.168\.1\.0/24 of a route of the host"):
        ipam.wanted_subnet(Pool(subnet="192.168.0.0/16"), [], hosts)  # type: ignore[arg-type]


def test_the_default_route_follows_gateway_priority_then_priority_then_name() -> None:
    def pair(name: str, *, internal: bool = False, **spec: int) -> tuple[Network, Endpoint]:
        made = EndpointSpec(network=name, container="c", **spec)  # type: ignore[arg-type]
        return network(name=name, internal=internal), Endpoint(spec=made)

    def winner(*pairs: tuple[Network, Endpoint]) -> str:
        chosen = ipam.default_endpoint(pairs)
        return chosen[0].spec.name if chosen else ""

    assert winner(pair("b"), pair("a")) == "a"
    assert winner(pair("b", priority=1), pair("a")) == "b"
    assert winner(pair("b", priority=9), pair("a", gw_priority=1)) == "a"
    assert winner(pair("b"), pair("a", internal=True)) == "b"
    assert winner(pair("a", internal=True)) == ""
