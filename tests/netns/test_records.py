"""Netlink packing, the rules as data, and records on disk."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netns.leases import Lease, Leases
from netns.netlink import attr, attributes, each, nest
from netns.nftables import ruleset
from netns.spec import Endpoint, EndpointSpec, Network, NetworkSpec, Pool, PortSpec

SPEC = NetworkSpec(
    name="n", project="shop", pools=(Pool(subnet="10.0.0.0/24", reserved=("10.0.0.9",)),), labels={"a": "b"}
)
NETWORK = Network(spec=SPEC, bridge="br-x.1", subnet4="10.0.0.0/24", gateway4="10.0.0.1")


@given(st.lists(st.tuples(st.integers(1, 99), st.binary(max_size=40))))
def test_attributes_come_back_as_they_were_packed(pairs: list[tuple[int, bytes]]) -> None:
    packed = b"".join(attr(kind, payload) for kind, payload in pairs)
    assert len(packed) % 4 == 0
    assert list(each(packed)) == pairs


@given(st.binary(max_size=60))
def test_no_bytes_break_the_reader(data: bytes) -> None:
    attributes(data)


def test_nested_attributes_are_marked_and_read_without_the_mark() -> None:
    packed = nest(5, attr(1, b"x"))
    assert struct.unpack_from("=H", packed, 2)[0] == 0x8005
    assert attributes(attributes(packed)[5]) == {1: b"x"}


def test_a_network_has_a_table_of_its_own() -> None:
    assert ruleset.table_name(NETWORK) == "pycompose_br_x_1"
    words = [message.about for message in ruleset.network_rules(NETWORK)]
    assert words[:3] == [
        "add table pycompose_br_x_1",
        "delete table pycompose_br_x_1",
        "add table pycompose_br_x_1",
    ]
    assert words.count("add rule to pycompose_br_x_1 forward") == 4
    internal = Network(spec=NetworkSpec(name="n", internal=True), bridge="br", subnet4="10.0.0.0/24")
    assert [m.about for m in ruleset.network_rules(internal)].count(
        "add rule to pycompose_br postrouting"
    ) == 2


def test_ports_on_one_address_live_in_a_map_of_their_own() -> None:
    web = Endpoint(spec=EndpointSpec(network="n", container="c"), ipv4="10.0.0.2", ipv6="fd00::2")
    anywhere, six = ruleset.add_port(NETWORK, PortSpec(target=80, published=8080), web)
    (at,) = ruleset.add_port(NETWORK, PortSpec(target=80, published=8080, host_ip="127.0.0.1"), web)
    assert six.about == "add element to pycompose_br_x_1 ports6"
    assert ruleset.add_port(NETWORK, PortSpec(target=80, published=8080, host_ip="::1"), web) == []
    assert anywhere.about == "add element to pycompose_br_x_1 ports"
    assert at.about == "add element to pycompose_br_x_1 ports_at"
    assert b"\x7f\0\0\1\6\0\0\0\x1f\x90\0\0" in at.body
    assert b"\x0a\0\0\2\0\x50\0\0" in at.body


def test_records_come_back_as_they_were_written(tmp_path: Path) -> None:
    leases = Leases(tmp_path)
    leases.write_network(NETWORK)
    spec = EndpointSpec(network="n", container="a" * 64, names=("web",), link_local=("169.254.1.1",))
    lease = Lease(
        endpoint=Endpoint(spec=spec, ipv4="10.0.0.2", interface="eth0"),
        project="shop",
        link="pcv1",
        ports=(PortSpec(target=80, published=8080),),
    )
    leases.write(lease)
    assert leases.network("n") == NETWORK
    assert Leases(tmp_path).networks() == [NETWORK]
    assert leases.of_network("n") == [lease]
    assert leases.of_container("a" * 64) == [lease]
    leases.forget(lease)
    leases.forget(lease)
    assert leases.of_network("n") == leases.of_container("a" * 64) == []
    leases.forget_network("n")
    assert leases.network("n") is None
    assert leases.networks() == []


@pytest.mark.parametrize("text", ["", "{", "[]", "null"])
def test_a_half_written_record_counts_as_none(tmp_path: Path, text: str) -> None:
    leases = Leases(tmp_path)
    leases.write_network(NETWORK)
    (tmp_path / "networks/n/network.json").write_text(text)
    assert leases.network("n") is None
