"""Names inside containers, asked with dig(1) and with getaddrinfo(3)."""

from __future__ import annotations

import asyncio
import socket
import struct
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager

import pytest

from netns.dns import message
from netns.dns.server import Server
from netns.netlink import inside
from netns.network import Networks, build_network
from netns.spec import EndpointSpec, NetworkSpec
from tests.root.net_machine import Box, Machine, in_a_machine
from tests.support.programs import program

NAMESERVER = ("127.0.0.11", 53)


def query(name: str, kind: int = message.A, number: int = 7) -> bytes:
    """A question as a stub resolver sends it."""
    head = struct.pack(">6H", number, 0x0100, 1, 0, 0, 0)
    return head + message.encode_name(name) + struct.pack(">HH", kind, message.IN)


def ask(
    box: Box, name: str, kind: int = message.A, *, stream: bool = False, patience: float = 8
) -> tuple[int, list[str]]:
    """Answer code and addresses (or pointer targets, as bytes in hex) that the box gets for ``name``."""
    data = query(name, kind)
    with box.socket(socket.SOCK_STREAM if stream else socket.SOCK_DGRAM) as made:
        made.settimeout(patience)
        made.connect(NAMESERVER)
        if stream:
            made.sendall(struct.pack(">H", len(data)) + data)
            size = struct.unpack(">H", made.recv(2))[0]
            reply = made.recv(size)
        else:
            made.send(data)
            reply = made.recv(4096)
    return read(reply, len(data))


def read(reply: bytes, at: int) -> tuple[int, list[str]]:
    found = []
    for _ in range(struct.unpack_from(">H", reply, 6)[0]):
        kind, _, ttl, size = struct.unpack_from(">HHIH", reply, at + 2)
        assert ttl == 0
        data = reply[at + 12 : at + 12 + size]
        families = {message.A: socket.AF_INET, message.AAAA: socket.AF_INET6}
        found.append(socket.inet_ntop(families[kind], data) if kind in families else data.hex())
        at += 12 + size
    return message.code_of(reply), found


@contextmanager
def attached(server: Server, box: Box, *networks: str, dns: tuple[str, ...] = ()) -> Iterator[None]:
    server.attach(box.id, box.netns, networks, dns=dns)
    try:
        yield
    finally:
        server.detach(box.id)


def on_a_loop(machine: Machine, body: Callable[[Server], Awaitable[None]], upstream: list[str]) -> None:
    async def run() -> None:
        server = Server(asyncio.get_running_loop(), machine.networks, upstream)
        try:
            await body(server)
        finally:
            server.close()

    asyncio.run(run())


@pytest.mark.smoke("dig")
@in_a_machine
def test_services_replicas_aliases_and_containers_have_names(machine: Machine) -> None:
    machine.networks.create(NetworkSpec(name="shop_default", ipv6=True))
    asker, one, two = machine.box(), machine.box(), machine.box()
    machine.plug(asker, "asker", "shop_default")
    endpoints = []
    for n, box in enumerate((one, two)):
        spec = EndpointSpec(
            network="shop_default", container=box.id, container_name=f"shop-web-{n}", names=("web", "WWW")
        )
        endpoints += machine.networks.connect(box.netns, [spec]).endpoints
    both = {endpoint.ipv4 for endpoint in endpoints}

    async def body(server: Server) -> None:
        with attached(server, asker, "shop_default"):
            answers = [await asyncio.to_thread(ask, asker, "web") for _ in range(30)]
            assert all(set(found) == both for _, found in answers)
            assert len({tuple(found) for _, found in answers}) == 2  # in an order of chance
            for name in ("WEB", "www", "web.shop_default"):
                assert set((await asyncio.to_thread(ask, asker, name))[1]) == both
            for name in ("shop-web-0", one.id[:12]):
                assert await asyncio.to_thread(ask, asker, name) == (0, [endpoints[0].ipv4])
            six = await asyncio.to_thread(ask, asker, "shop-web-0", message.AAAA)
            assert six == (0, [endpoints[0].ipv6])
            assert await asyncio.to_thread(ask, asker, "web", 15) == (0, [])  # MX: NODATA
            by_stream = await asyncio.to_thread(lambda: ask(asker, "web", stream=True))
            assert set(by_stream[1]) == both
            reverse = ".".join(reversed(endpoints[0].ipv4.split("."))) + ".in-addr.arpa"
            pointer = await asyncio.to_thread(ask, asker, reverse, message.PTR)
            assert pointer == (0, [message.encode_name("shop-web-0.shop_default").hex()])
            said = await asyncio.to_thread(asker.run, program("dig"), "+short", "web", "@127.0.0.11")
            assert set(said.split()) == both

    on_a_loop(machine, body, [])


@in_a_machine
def test_a_container_sees_the_names_of_its_own_networks_only(machine: Machine) -> None:
    machine.networks.create(NetworkSpec(name="front"))
    machine.networks.create(NetworkSpec(name="back"))
    web, db, proxy = machine.box(), machine.box(), machine.box()
    machine.plug(web, "web", "front", "back")
    at = machine.plug(db, "db", "back").endpoints[0].ipv4
    machine.plug(proxy, "proxy", "front")

    async def body(server: Server) -> None:
        with attached(server, web, "front", "back"), attached(server, proxy, "front"):
            assert await asyncio.to_thread(ask, web, "db") == (0, [at])
            assert await asyncio.to_thread(ask, proxy, "db") == (message.SERVFAIL, [])

    on_a_loop(machine, body, [])


@in_a_machine
def test_endpoints_that_come_and_go_are_seen_at_once_even_of_another_supervisor(machine: Machine) -> None:
    machine.networks.create(NetworkSpec(name="shared"))
    web, late = machine.box(), machine.box()
    machine.plug(web, "web", "shared")
    other = Networks(machine.run, "blog")

    async def body(server: Server) -> None:
        with attached(server, web, "shared"):
            for _ in range(5):
                assert (await asyncio.to_thread(ask, web, "late"))[0] == message.SERVFAIL
                spec = EndpointSpec(network="shared", container=late.id, names=("late",))
                at = other.connect(late.netns, [spec]).endpoints[0].ipv4
                assert await asyncio.to_thread(ask, web, "late") == (0, [at])
                other.disconnect(late.id)
                late.run("ip", "link", "del", "eth0")

    on_a_loop(machine, body, [])
    other.close()


@contextmanager
def upstream(box: Box, *, datagrams: bool = True) -> Iterator[None]:
    """A resolver in ``box`` that says 203.0.113.7 to everything, by UDP (unless silent) and TCP."""
    loop = asyncio.get_running_loop()
    with inside(box.netns):
        udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        tcp = socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    udp.bind(("", 53))
    tcp.bind(("", 53))
    tcp.listen()

    def reply(data: bytes) -> bytes:
        question = message.parse(data)
        assert question is not None
        return message.answer(question, [message.address_record("203.0.113.7")])

    def by_datagram() -> None:
        data, who = udp.recvfrom(4096)
        if datagrams:
            udp.sendto(reply(data), who)

    def by_stream() -> None:
        connection, _ = tcp.accept()
        connection.settimeout(2)
        threading.Thread(target=speak, args=(connection,)).start()

    def speak(connection: socket.socket) -> None:
        with connection:
            data = connection.recv(4096)[2:]
            answer = reply(data)
            connection.sendall(struct.pack(">H", len(answer)) + answer)

    loop.add_reader(udp, by_datagram)
    loop.add_reader(tcp, by_stream)
    try:
        yield
    finally:
        for made in (udp, tcp):
            loop.remove_reader(made)
            made.close()


@in_a_machine
def test_other_names_go_to_the_resolvers_of_the_host(machine: Machine) -> None:
    machine.networks.create(NetworkSpec(name="n"))
    machine.networks.create(NetworkSpec(name="inner", internal=True))
    web, db = machine.box(), machine.box()
    machine.plug(web, "web", "n")
    machine.plug(db, "db", "inner")

    async def body(server: Server) -> None:
        with upstream(machine.outside), attached(server, web, "n"), attached(server, db, "inner"):
            assert await asyncio.to_thread(ask, web, "example.org") == (0, ["203.0.113.7"])
            assert await asyncio.to_thread(lambda: ask(web, "example.org", stream=True)) == (
                0,
                ["203.0.113.7"],
            )
            assert await asyncio.to_thread(ask, db, "example.org") == (message.SERVFAIL, [])
            assert await asyncio.to_thread(ask, web, "web", message.AAAA) == (0, [])

    # the first two do not answer: it is a race
    on_a_loop(machine, body, ["192.0.2.77", "127.0.0.1", "192.0.2.1"])


@in_a_machine
def test_a_resolver_that_is_silent_by_udp_is_asked_by_tcp(machine: Machine) -> None:
    machine.networks.create(NetworkSpec(name="n"))
    web = machine.box()
    machine.plug(web, "web", "n")

    async def body(server: Server) -> None:
        with upstream(machine.outside, datagrams=False), attached(server, web, "n", dns=("192.0.2.1",)):
            assert await asyncio.to_thread(ask, web, "example.org") == (0, ["203.0.113.7"])

    on_a_loop(machine, body, ["192.0.2.99"])


@in_a_machine
def test_a_container_may_have_its_own_server_on_port_53(machine: Machine) -> None:
    machine.networks.create(NetworkSpec(name="n"))
    web, pihole = machine.box(), machine.box()
    machine.plug(web, "web", "n")
    at = machine.plug(pihole, "pihole", "n").endpoints[0].ipv4

    async def body(server: Server) -> None:
        with attached(server, pihole, "n"), upstream(pihole), attached(server, web, "n", dns=(at,)):
            assert await asyncio.to_thread(ask, pihole, "pihole") == (0, [at])
            assert await asyncio.to_thread(ask, web, "example.org") == (0, ["203.0.113.7"])

    on_a_loop(machine, body, [])


@in_a_machine
def test_a_new_supervisor_answers_in_place_of_the_dead_one(machine: Machine) -> None:
    machine.networks.create(NetworkSpec(name="n"))
    web = machine.box()
    at = machine.plug(web, "web", "n").endpoints[0].ipv4

    async def body(server: Server) -> None:
        for _ in range(2):
            with attached(server, web, "n"):
                assert await asyncio.to_thread(ask, web, "web") == (0, [at])
            # nobody refuses meanwhile: a stub resolver waits and asks again
            with pytest.raises(TimeoutError):
                await asyncio.to_thread(lambda: ask(web, "web", patience=0.3))

    on_a_loop(machine, body, [])


@in_a_machine
def test_builds_have_a_network_with_names_and_leave_nothing(machine: Machine) -> None:
    first, second = machine.box(), machine.box()
    with build_network(machine.run) as connect, build_network(machine.run) as other:
        connect(first.netns)
        other(second.netns)
        names = {e.spec.container_name: e.ipv4 for e in machine.networks.endpoints("pycompose_builds")}
        for name, address in names.items():
            assert ask(first, name) == (0, [address])
    assert machine.networks.all() == []
