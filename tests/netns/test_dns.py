"""Packets and zones, without sockets."""

from __future__ import annotations

import struct

from hypothesis import given
from hypothesis import strategies as st

from netns.dns import message
from netns.dns.message import Question
from netns.dns.zone import Zone, names_of, replies
from netns.spec import Endpoint, EndpointSpec, Network, NetworkSpec


def query(name: str, kind: int = message.A, *, size: int = 0, space: int = message.IN) -> bytes:
    extra = b"\0" + struct.pack(">HHIH", message.OPT, size, 0, 0) if size else b""
    head = struct.pack(">6H", 99, 0x0100, 1, 0, 0, 1 if size else 0)
    return head + message.encode_name(name) + struct.pack(">HH", kind, space) + extra


def parsed(data: bytes) -> Question:
    question = message.parse(data)
    assert question is not None
    return question


def endpoint(ip: str, *names: str, container: str = "a" * 64, title: str = "", six: str = "") -> Endpoint:
    spec = EndpointSpec(network="n", container=container, container_name=title, names=names)
    return Endpoint(spec=spec, ipv4=ip, ipv6=six)


def zone(*endpoints: Endpoint, internal: bool = False) -> Zone:
    network = Network(spec=NetworkSpec(name="n", internal=internal), bridge="br", subnet4="10.0.0.0/24")
    return Zone((names_of(network, endpoints),))


def counts(reply: bytes) -> tuple[int, int, bool]:
    """(code, answers, truncated)"""
    return message.code_of(reply), struct.unpack_from(">H", reply, 6)[0], bool(reply[2] & 2)


def test_a_question_is_read_in_lower_case_with_its_limits() -> None:
    question = parsed(query("WEB.Shop", message.AAAA, size=4000))
    assert (question.name, question.kind, question.edns, question.limit) == ("web.shop", 28, True, 4000)
    assert parsed(query("web")).limit == 512


@given(st.binary(max_size=80))
def test_no_datagram_breaks_the_parser(data: bytes) -> None:
    message.parse(data)
    message.parse(query("web")[:12] + data)


def test_responses_and_broken_queries_are_not_questions() -> None:
    good = query("web")
    for bad in (
        good[:-1],
        good[:12],
        b"",
        good[:2] + b"\x80\0" + good[4:],
        good[:12] + b"\xc0\x0c" + good[14:],
    ):
        assert message.parse(bad) is None


def test_the_answer_repeats_the_question_and_owns_up_to_it() -> None:
    data = query("WeB", size=1232)
    reply = message.answer(parsed(data), [message.address_record("10.0.0.2")])
    assert reply[:2] == data[:2]
    assert reply[12 : 12 + 9] == data[12 : 12 + 9]  # letters as they were asked
    assert reply[2] & 0x84 == 0x84  # a response, authoritative
    assert counts(reply) == (0, 1, False)
    assert reply.endswith(b"\0\0\x29\x04\xd0" + bytes(6))
    assert message.answers(data, reply)
    assert not message.answers(query("other"), reply)


def test_what_does_not_fit_is_left_out_and_marked() -> None:
    records = [message.address_record(f"10.0.0.{n}") for n in range(1, 101)]
    assert counts(message.answer(parsed(query("web")), records)) == (0, 30, True)
    assert len(message.answer(parsed(query("web")), records)) <= 512
    assert counts(message.answer(parsed(query("web")), records, stream=True)) == (0, 100, False)
    assert counts(message.answer(parsed(query("web", size=4096)), records)) == (0, 100, False)


def test_reverse_names() -> None:
    assert message.reverse_address("2.0.18.172.in-addr.arpa") == "172.18.0.2"
    assert message.reverse_address("1." + "0." * 23 + "8.b.d.0.1.0.0.2.ip6.arpa") == "2001:db8::1"
    for name in ("web", "x.in-addr.arpa", "1.2.in-addr.arpa", "g.ip6.arpa", "300.1.1.1.in-addr.arpa"):
        assert message.reverse_address(name) == ""


def test_replicas_share_a_name_and_are_answered_in_turns() -> None:
    both = zone(endpoint("10.0.0.2", "web", title="n-web-1"), endpoint("10.0.0.3", "Web", container="b" * 64))
    turns = replies(both, parsed(query("web")), stream=False)
    assert turns is not None
    assert len(turns) == 2
    assert turns[0] != turns[1]
    assert both.addresses("web.n") == ["10.0.0.2", "10.0.0.3"]
    assert both.addresses("n-web-1") == ["10.0.0.2"]
    assert both.addresses("b" * 12) == ["10.0.0.3"]


def test_own_names_are_never_forwarded_whatever_is_asked() -> None:
    own = zone(endpoint("10.0.0.2", "web"))
    for kind in (message.AAAA, 15, 33, 65):
        found = replies(own, parsed(query("web", kind)), stream=False)
        assert found is not None
        assert counts(found[0]) == (0, 0, False)
    assert replies(own, parsed(query("example.org")), stream=False) is None
    found = replies(own, parsed(query("web", space=3)), stream=False)  # CHAOS: ours, and nothing there
    assert found is not None
    assert counts(found[0]) == (0, 0, False)


def test_addresses_of_our_subnets_have_names_or_do_not_exist() -> None:
    own = zone(endpoint("10.0.0.2", "web", title="n-web-1"))
    found = replies(own, parsed(query("2.0.0.10.in-addr.arpa", message.PTR)), stream=False)
    assert found is not None
    assert message.encode_name("n-web-1.n") in found[0]
    nobody = replies(own, parsed(query("9.0.0.10.in-addr.arpa", message.PTR)), stream=False)
    assert nobody is not None
    assert counts(nobody[0]) == (message.NXDOMAIN, 0, False)
    assert replies(own, parsed(query("1.1.1.1.in-addr.arpa", message.PTR)), stream=False) is None


def test_internal_networks_alone_lead_nowhere() -> None:
    assert not zone(internal=True).outward
    assert zone().outward


def test_names_of_what_does_not_run_are_ours_without_an_address() -> None:
    network = Network(spec=NetworkSpec(name="shop_n"), bridge="br")
    own = Zone((names_of(network, [], ["DB", "storage"]),))
    assert own.addresses("db") == own.addresses("storage") == []
    assert own.addresses("anything.shop_n") == []
    assert own.addresses("example.org") is None
    assert own.addresses("localhost") == ["127.0.0.1", "::1"]


def test_a_link_is_a_name_for_the_linker_alone() -> None:
    network = Network(spec=NetworkSpec(name="n"), bridge="br")
    web = Endpoint(spec=EndpointSpec(network="n", container="c", names=("dbtest",)), ipv4="10.0.0.2")
    db = Endpoint(spec=EndpointSpec(network="n", container="d", names=("db",)), ipv4="10.0.0.3")
    names = names_of(network, [web, db])
    assert Zone((names,), {"db": "dbtest"}).addresses("db") == ["10.0.0.2"]
    assert Zone((names,)).addresses("db") == ["10.0.0.3"]


def test_the_second_network_answers_what_is_only_known_on_the_first() -> None:
    first = names_of(Network(spec=NetworkSpec(name="a"), bridge="a"), [], ["db"])
    runs = Endpoint(spec=EndpointSpec(network="b", container="c", names=("db",)), ipv4="10.0.0.2")
    second = names_of(Network(spec=NetworkSpec(name="b"), bridge="b"), [runs])
    assert Zone((first, second)).addresses("db") == ["10.0.0.2"]
