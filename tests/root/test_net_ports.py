"""Published ports as seen from everywhere: loopback, the host's addresses, another machine, containers."""

from __future__ import annotations

import asyncio
import json
import os
import resource
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from netns.errors import NetworkFailure, PortBusy
from netns.network import Networks
from netns.nftables import messages as nft
from netns.nftables.apply import Firewall
from netns.spec import NetworkSpec, PortSpec
from tests.root.net_machine import HOST4, HOST6, Box, Machine, ask, here, in_a_machine, serving

WEB = PortSpec(target=80, published=8080)
UDP = socket.SOCK_DGRAM


@contextmanager
def published(machine: Machine, *ports: PortSpec) -> Iterator[tuple[Box, str]]:
    """A container that serves what it publishes, TCP and UDP."""
    machine.networks.create(NetworkSpec(name="n"))
    box = machine.box()
    connection = machine.plug(box, "web", "n", ports=ports)
    with serving(box, 80), serving(box, 80, UDP):
        yield box, connection.endpoints[0].ipv4


@in_a_machine
def test_ipv4_reaches_a_published_port_from_everywhere(machine: Machine) -> None:
    with published(machine, WEB) as (box, at):
        gateway = machine.networks.find("n").gateway4  # type: ignore[union-attr]
        machine.networks.create(NetworkSpec(name="other"))
        neighbour, stranger = machine.box(), machine.box()
        machine.plug(neighbour, "neighbour", "n")
        machine.plug(stranger, "stranger", "other")
        assert ask(here(), "127.0.0.1", 8080) == gateway
        assert ask(here(), "127.9.9.9", 8080) == gateway
        assert ask(here(), HOST4, 8080) == HOST4
        assert ask(machine.outside.socket(), HOST4, 8080) == "192.0.2.1"
        assert ask(neighbour.socket(), HOST4, 8080) == gateway
        assert ask(neighbour.socket(), gateway, 8080) == gateway
        assert ask(stranger.socket(), HOST4, 8080) == gateway
        assert ask(box.socket(), HOST4, 8080) == gateway  # its own published port
        assert ask(neighbour.socket(), at, 80) != "TimeoutError"


@in_a_machine
def test_udp_is_published_too_and_a_restart_is_met_at_once(machine: Machine) -> None:
    port = PortSpec(target=80, published=8080, protocol="udp")
    client = machine.outside.socket(UDP)
    client.connect((HOST4, 8080))
    with published(machine, port) as (box, _):
        assert ask(here(UDP), "127.0.0.1", 8080) != "TimeoutError"
        client.send(b"?")
        assert client.recv(100) == b"192.0.2.1"
    machine.networks.disconnect(box.id)
    client.send(b"?")  # now a conversation with the host itself, and it must not stick
    machine.plug(machine.box(), "nobody", "n")  # takes no address of the first
    second = machine.box()
    machine.plug(second, "again", "n", ports=(port,))
    with serving(second, 80, UDP):
        for _ in range(5):
            try:
                client.send(b"?")
                break
            except ConnectionRefusedError:
                continue
        assert client.recv(100) == b"192.0.2.1"
    client.close()


@in_a_machine
def test_a_port_on_one_address_is_found_there_only(machine: Machine) -> None:
    with published(machine, PortSpec(target=80, published=8080, host_ip="127.0.0.1")):
        assert ask(here(), "127.0.0.1", 8080) not in ("ConnectionRefusedError", "TimeoutError")
        assert ask(here(), HOST4, 8080) == "ConnectionRefusedError"
        assert ask(machine.outside.socket(), HOST4, 8080) == "ConnectionRefusedError"


@in_a_machine
def test_loopback_of_the_host_cannot_be_spoofed_or_reached_from_a_container(machine: Machine) -> None:
    local = here()
    local.bind(("127.0.0.1", 9999))
    local.listen()
    with published(machine, WEB) as (box, _):
        gateway = machine.networks.find("n").gateway4  # type: ignore[union-attr]
        script = f"ip address del 127.0.0.1/8 dev lo; ip route replace 127.0.0.0/8 via {gateway}"
        box.run("sh", "-c", f"echo 1 >/proc/sys/net/ipv4/conf/eth0/route_localnet; {script}")
        assert ask(box.socket(), "127.0.0.1", 9999) in ("TimeoutError", "OSError")
    local.close()


@in_a_machine
def test_ipv6_of_the_host_leads_to_a_container_with_ipv4_only(machine: Machine) -> None:
    async def body() -> None:
        udp = PortSpec(target=80, published=8080, protocol="udp")
        with published(machine, WEB, udp) as (box, _):
            for address in ("::1", HOST6):
                for kind in (socket.SOCK_STREAM, UDP):
                    made = here(kind, socket.AF_INET6)
                    assert "." in await asyncio.to_thread(ask, made, address, 8080)
            away = machine.outside.socket(family=socket.AF_INET6)
            assert "." in await asyncio.to_thread(ask, away, HOST6, 8080)
            machine.networks.disconnect(box.id, keep_ports=True)
            box.run("ip", "link", "del", "eth0")
            made = here(family=socket.AF_INET6)
            assert await asyncio.to_thread(ask, made, "::1", 8080) == "ConnectionRefusedError"
            again = box_again(machine, box)
            machine.plug(again, "web", "n", ports=(WEB, udp))
            with serving(again, 80):
                made = here(family=socket.AF_INET6)
                assert "." in await asyncio.to_thread(ask, made, "::1", 8080)

    asyncio.run(body())


def box_again(machine: Machine, box: Box) -> Box:
    again = machine.box()
    again.id = box.id
    return again


@in_a_machine
def test_the_kernel_leads_ipv6_where_the_network_has_it_and_the_client_is_seen(machine: Machine) -> None:
    async def body() -> None:
        machine.networks.create(NetworkSpec(name="n", ipv6=True))
        box = machine.box()
        ports = (WEB, PortSpec(target=80, published=8090, host_ip="2001:db8::5"))
        machine.plug(box, "web", "n", ports=ports)
        with serving(box, 80, family=socket.AF_INET6):
            away = machine.outside.socket(family=socket.AF_INET6)
            assert await asyncio.to_thread(ask, away, HOST6, 8080) == "2001:db8::1"
            assert ask(machine.outside.socket(family=socket.AF_INET6), HOST6, 8080) == "2001:db8::1"
            assert ask(machine.outside.socket(family=socket.AF_INET6), HOST6, 8090) == "2001:db8::1"
            assert ask(here(family=socket.AF_INET6), HOST6, 8080) == HOST6
            assert ask(box.socket(family=socket.AF_INET6), HOST6, 8080) != "TimeoutError"  # its own port
            made = here(family=socket.AF_INET6)
            assert "." in await asyncio.to_thread(ask, made, "::1", 8080)
            assert ask(here(family=socket.AF_INET6), "::1", 8090) == "ConnectionRefusedError"

    asyncio.run(body())


@in_a_machine
def test_udp_is_answered_from_the_address_that_was_asked(machine: Machine) -> None:
    subprocess.run(["ip", "-6", "address", "add", "2001:db8::6/64", "dev", "up0", "nodad"], check=True)

    async def body() -> None:
        with published(machine, PortSpec(target=80, published=8080, protocol="udp")):
            for address in (HOST6, "2001:db8::6"):
                away = machine.outside.socket(
                    UDP, socket.AF_INET6
                )  # connected: takes answers from there only
                assert "." in await asyncio.to_thread(ask, away, address, 8080)

    asyncio.run(body())


@in_a_machine
def test_the_forwarder_may_die_and_is_bounded(machine: Machine) -> None:
    async def body() -> None:
        with published(machine, WEB):
            made = here(family=socket.AF_INET6)
            assert "." in await asyncio.to_thread(ask, made, "::1", 8080)
            forwards = machine.networks._publishing._forwards
            assert forwards is not None
            os.kill(forwards.pid, 9)
            made = here(family=socket.AF_INET6)
            made.settimeout(5)
            assert "." in await asyncio.to_thread(ask, made, "::1", 8080)
            assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] == 256  # ours is not raised

    resource.setrlimit(resource.RLIMIT_NOFILE, (256, 300))
    asyncio.run(body())


@in_a_machine
def test_more_clients_than_descriptors_are_refused_and_others_served_afterwards(machine: Machine) -> None:
    async def body() -> None:
        with published(machine, WEB, PortSpec(target=80, published=8080, protocol="udp")):
            crowd = [socket.socket(socket.AF_INET6) for _ in range(200)]
            for one in crowd:
                one.settimeout(5)
            assert await asyncio.to_thread(attempt, crowd) > 50
            for one in crowd:
                one.close()
            flood = [socket.socket(socket.AF_INET6, UDP) for _ in range(200)]
            for one in flood:
                one.connect(("::1", 8080))
                one.send(b"?")
            await asyncio.sleep(0.5)
            for one in flood:
                one.close()
            for kind in (socket.SOCK_STREAM, UDP):
                made = here(kind, socket.AF_INET6)
                assert "." in await asyncio.to_thread(ask, made, "::1", 8080)

    resource.setrlimit(resource.RLIMIT_NOFILE, (300, 300))
    asyncio.run(body())


def attempt(crowd: list[socket.socket]) -> int:
    """How many of ``crowd`` are refused or reset when all connect."""
    refused = 0
    for one in crowd:
        try:
            one.connect(("::1", 8080))
        except OSError:
            refused += 1
    for one in crowd:
        try:
            refused += not one.recv(1)
        except OSError:
            refused += 1
    return refused


@in_a_machine
def test_a_port_on_one_ipv6_address_is_found_there_only(machine: Machine) -> None:
    async def body() -> None:
        with published(machine, PortSpec(target=80, published=8080, host_ip="::1")):
            made = here(family=socket.AF_INET6)
            assert "." in await asyncio.to_thread(ask, made, "::1", 8080)
            for address, family in ((HOST6, socket.AF_INET6), ("127.0.0.1", socket.AF_INET)):
                answer = await asyncio.to_thread(ask, here(family=family), address, 8080)
                assert answer == "ConnectionRefusedError"

    asyncio.run(body())


@in_a_machine
def test_a_container_with_ipv6_only_is_published_too(machine: Machine) -> None:
    async def body() -> None:
        machine.networks.create(NetworkSpec(name="six", ipv4=False, ipv6=True))
        box = machine.box()
        (endpoint,) = machine.plug(box, "web", "six", ports=(WEB,)).endpoints
        assert endpoint.ipv4 == ""
        listener = box.socket(family=socket.AF_INET6)
        listener.bind(("::", 80))
        listener.listen()
        for address, family in (("::1", socket.AF_INET6), ("127.0.0.1", socket.AF_INET)):
            reader = asyncio.to_thread(ask, here(family=family), address, 8080)
            task = asyncio.create_task(reader)
            connection, _ = await asyncio.to_thread(listener.accept)
            connection.sendall(b"hello")
            connection.close()
            assert await task == "hello"
        listener.close()
        await asyncio.sleep(0.1)

    asyncio.run(body())


@in_a_machine
def test_a_large_transfer_over_ipv6_arrives_whole(machine: Machine) -> None:
    size = 20_000_000

    async def body() -> None:
        machine.networks.create(NetworkSpec(name="n"))
        box = machine.box()
        machine.plug(box, "web", "n", ports=(WEB,))
        listener = box.socket()
        listener.bind(("", 80))
        listener.listen()
        client = here(family=socket.AF_INET6)

        def send() -> None:
            connection, _ = listener.accept()
            connection.settimeout(10)
            connection.sendall(bytes(size))
            assert connection.recv(10) == b"bye"
            connection.close()

        def receive() -> int:
            client.connect(("::1", 8080))
            got = 0
            while got < size:
                got += len(client.recv(65536))
            client.sendall(b"bye")
            client.shutdown(socket.SHUT_WR)
            return got + len(client.recv(10))

        _, got = await asyncio.gather(asyncio.to_thread(send), asyncio.to_thread(receive))
        assert got == size
        listener.close()
        client.close()
        await asyncio.sleep(0.1)  # both ends were closed: the forwarder notices

    asyncio.run(body())


@in_a_machine
def test_an_established_connection_survives_others_coming_and_going(machine: Machine) -> None:
    machine.networks.create(NetworkSpec(name="n"))
    box, other = machine.box(), machine.box()
    machine.plug(box, "web", "n", ports=(WEB,))
    listener = box.socket()
    listener.bind(("", 80))
    listener.listen()
    client = here()
    client.connect(("127.0.0.1", 8080))
    connection, _ = listener.accept()
    machine.plug(other, "other", "n", ports=(PortSpec(target=80, published=8081),))
    machine.networks.create(NetworkSpec(name="m"))
    machine.networks.disconnect(other.id)
    machine.networks.remove("m")
    client.send(b"still")
    assert connection.recv(10) == b"still"
    for made in (client, connection, listener):
        made.close()


@in_a_machine
def test_a_stopped_container_publishes_nothing(machine: Machine) -> None:
    with published(machine, WEB) as (box, _):
        machine.networks.disconnect(box.id)
        assert ask(here(), "127.0.0.1", 8080) == "ConnectionRefusedError"
        free = here()
        free.bind(("", 8080))
        free.close()


@in_a_machine
def test_ephemeral_ports_and_ranges_find_a_free_one(machine: Machine) -> None:
    machine.networks.create(NetworkSpec(name="n"))
    ranged = PortSpec(target=80, published=8000, last_published=8002)
    one, two, three = machine.box(), machine.box(), machine.box()
    first = machine.plug(one, "one", "n", ports=(PortSpec(target=80), ranged)).ports
    second = machine.plug(two, "two", "n", ports=(ranged,)).ports
    assert first[0].published > 1024
    assert (first[1].published, second[0].published) == (8000, 8001)
    assert machine.networks.published(one.id) == first
    machine.plug(three, "three", "n", ports=(ranged,))
    with pytest.raises(PortBusy, match="no port of 8000-8002/tcp is free"):
        machine.networks.reserve("f" * 64, (ranged,))


@in_a_machine
def test_a_busy_port_names_its_holder(machine: Machine) -> None:
    server = subprocess.Popen([sys.executable, "-m", "http.server", "8080"], stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            with here() as probe:
                if probe.connect_ex(("127.0.0.1", 8080)) == 0:
                    break
            time.sleep(0.02)
        with pytest.raises(
            PortBusy,
            match=rf"port 8080/tcp is already in use by pid {server.pid} \(.*http\.server 8080\)",
        ):
            machine.networks.reserve("a" * 64, (PortSpec(target=1, published=9000), WEB))
        machine.networks.reserve("b" * 64, (PortSpec(target=1, published=9000),))
    finally:
        server.kill()
        server.wait()
    machine.networks.reserve("a" * 64, (WEB,))
    words = "port 8080/tcp is already in use by container 'web-1' of project 'shop'"
    other = Networks(machine.run, "blog")
    machine.networks.reserve("a" * 64, (WEB,), name="web-1")
    note = json.loads(next((machine.run / "ports").glob("tcp-8080-*")).read_text())
    assert note["pid"] == os.getpid()
    with pytest.raises(PortBusy) as caught:
        other.reserve("c" * 64, (WEB,))
    assert caught.value.message.startswith(words.replace("web-1", note["container"]))
    other.close()


@in_a_machine
def test_what_cannot_be_published_is_refused_with_a_reason(machine: Machine) -> None:
    with pytest.raises(NetworkFailure, match="sctp cannot be published"):
        machine.networks.reserve("a" * 64, (PortSpec(target=80, published=80, protocol="sctp"),))
    with pytest.raises(NetworkFailure, match=r"the host has no such address"):
        machine.networks.reserve("a" * 64, (PortSpec(target=80, published=80, host_ip="203.0.113.9"),))


@in_a_machine
def test_connections_in_time_wait_do_not_hold_a_port(machine: Machine) -> None:
    listener = here()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as servers do
    listener.bind(("127.0.0.1", 8080))
    listener.listen()
    client = here()
    client.connect(("127.0.0.1", 8080))
    accepted, _ = listener.accept()
    accepted.close()
    client.close()
    listener.close()
    assert "1F90" in Path("/proc/net/tcp").read_text()
    machine.networks.reserve("a" * 64, (WEB,))


@in_a_machine
def test_another_supervisor_takes_over(machine: Machine) -> None:
    with published(machine, WEB) as (box, at):
        machine.networks.close()  # as after kill -9: sockets gone, rules and records there
        heir = Networks(machine.run, "shop")
        connection = heir.adopt(box.id)
        assert connection is not None
        assert connection.endpoints[0].ipv4 == at
        assert ask(here(), HOST4, 8080) == HOST4
        with pytest.raises(PortBusy):
            Networks(machine.run).reserve("f" * 64, (WEB,))
        assert heir.adopt("f" * 64) is None
        heir.disconnect(box.id)
        assert ask(here(), HOST4, 8080) == "ConnectionRefusedError"
        heir.close()


@in_a_machine
def test_a_port_that_a_lost_record_left_behind_is_taken_over(machine: Machine) -> None:
    with published(machine, WEB) as (box, _):
        machine.networks.close()
        next((machine.run / "networks/n/endpoints").iterdir()).unlink()
        box.run("ip", "link", "del", "eth0")
        machine.plug(machine.box(), "other", "n")
        assert machine.plug(box, "web", "n", ports=(WEB,)).ports == (WEB,)
        assert ask(here(), HOST4, 8080) == HOST4


@in_a_machine
def test_a_container_that_is_connected_twice_is_connected_once(machine: Machine) -> None:
    with published(machine, WEB) as (box, at):
        again = box_again(machine, box)
        assert machine.plug(again, "web", "n", ports=(WEB,)).endpoints[0].ipv4 == at
        assert len(machine.networks.endpoints("n")) == 1


@in_a_machine
def test_a_carried_port_is_subject_to_the_input_rules_of_the_host(machine: Machine) -> None:
    async def body() -> None:
        port = PortSpec(target=80, published=8080, carried=True)
        with published(machine, port, PortSpec(target=80, published=8081)), closing(Firewall()) as firewall:
            away = machine.outside.socket()
            assert "." in await asyncio.to_thread(ask, away, HOST4, 8080)
            assert "." in await asyncio.to_thread(ask, here(), "127.0.0.1", 8080)
            place = nft.nest(4, nft.number(1, nft.INPUT), nft.number(2, 0))
            parts = (
                nft.text(1, "theirs"),
                nft.text(3, "in"),
                place,
                nft.number(5, nft.DROP),
                nft.text(7, "filter"),
            )
            closed = nft.message(3, *parts, flags=nft.Flag.CREATE, about="add chain theirs in")
            firewall.commit([nft.table("theirs"), closed])
            away = machine.outside.socket()
            assert await asyncio.to_thread(ask, away, HOST4, 8080) == "TimeoutError"
            away = machine.outside.socket()
            assert (
                await asyncio.to_thread(ask, away, HOST4, 8081) == "192.0.2.1"
            )  # the kernel leads it past INPUT
            firewall.commit([nft.delete_table("theirs")])

    asyncio.run(body())
