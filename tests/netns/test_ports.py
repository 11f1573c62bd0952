"""Reservations and the IPv6 forwarder on the loopback of whoever runs the tests."""

from __future__ import annotations

import asyncio
import os
import socket
from pathlib import Path
from typing import cast

import pytest

from netns.errors import PortBusy
from netns.nftables.ruleset import families
from netns.ports.forward import Forwards
from netns.ports.reserve import Reservations, fits, sweep_notes
from netns.spec import PortSpec

LOCAL = "127.0.0.1"


def test_a_held_port_fits_what_the_file_wants_again() -> None:
    held = PortSpec(target=80, published=8001, host_ip="")
    assert fits(PortSpec(target=80), held)
    assert fits(PortSpec(target=80, published=8000, last_published=8002), held)
    assert not fits(PortSpec(target=80, published=8000), held)
    assert not fits(PortSpec(target=81), held)
    assert not fits(PortSpec(target=80, protocol="udp"), held)


def test_a_host_ip_chooses_the_family() -> None:
    assert families("") == (True, True)
    assert families("0.0.0.0") == (True, False)
    assert families("::1") == (False, True)


def test_a_reservation_is_bound_and_refuses_connections(tmp_path: Path) -> None:
    reservations = Reservations(tmp_path)
    (port,) = reservations.reserve(
        "a" * 64, (PortSpec(target=80, host_ip=LOCAL),), name="web-1", project="shop"
    )
    with socket.socket() as client:
        assert client.connect_ex((LOCAL, port.published)) != 0
    assert reservations.reserve("a" * 64, (PortSpec(target=80, host_ip=LOCAL),)) == (port,)
    other = Reservations(tmp_path)
    words = (
        rf"{port.published}/tcp is already in use by container 'web-1' of project 'shop' \(pid {os.getpid()}"
    )
    with pytest.raises(PortBusy, match=words):
        other.reserve("b" * 64, (port,))
    assert other.of("b" * 64) == []
    reservations.release("a" * 64)
    other.reserve("b" * 64, (port,))
    other.close()
    assert list((tmp_path / "ports").iterdir()) == []


def test_a_port_of_a_stranger_is_busy_with_pid_and_command(tmp_path: Path) -> None:
    with socket.socket() as stranger:
        stranger.bind((LOCAL, 0))
        stranger.listen()
        taken = stranger.getsockname()[1]
        with pytest.raises(
            PortBusy,
            match=rf"port 127.0.0.1:{taken}/tcp is already in use by pid {os.getpid()} \(",
        ) as caught:
            Reservations(tmp_path).reserve("a" * 64, (PortSpec(target=80, published=taken, host_ip=LOCAL),))
        assert "publish another port" in caught.value.hint


def test_all_ports_are_reserved_or_none(tmp_path: Path) -> None:
    reservations = Reservations(tmp_path)
    free = PortSpec(target=1, host_ip=LOCAL)
    (taken,) = reservations.reserve("a" * 64, (free,))
    with pytest.raises(PortBusy):
        reservations.reserve("b" * 64, (free, taken))
    assert len(list((tmp_path / "ports").iterdir())) == 1
    reservations.close()


def test_notes_of_dead_processes_are_swept(tmp_path: Path) -> None:
    notes = tmp_path / "ports"
    notes.mkdir()
    (notes / "tcp-80-any.json").write_text('{"pid":4194305,"project":"p","container":"c"}')
    (notes / "tcp-81-any.json").write_text("half")
    (notes / "tcp-82-any.json").write_text(f'{{"pid":{os.getpid()},"project":"p","container":"c"}}')
    sweep_notes(tmp_path)
    assert [path.name for path in notes.iterdir()] == ["tcp-82-any.json"]


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    data = await reader.read()  # until the client's half-close has travelled
    writer.write(data[::-1])
    await writer.drain()
    writer.close()


def test_half_closed_connections_are_forwarded_and_stop_listens_no_more() -> None:
    async def body() -> None:
        server = await asyncio.start_server(echo, LOCAL, 0)
        with socket.socket() as probe:
            probe.bind((LOCAL, 0))
            at = probe.getsockname()[1]
        held = socket.socket()
        held.setblocking(False)
        held.bind((LOCAL, at))
        forwards = Forwards(asyncio.get_running_loop())
        for _ in range(2):
            running = forwards.add(held, LOCAL, server.sockets[0].getsockname()[1])
            reader, writer = await asyncio.open_connection(LOCAL, at)
            writer.write(b"abc" * 100_000)
            writer.write_eof()
            assert await reader.read() == b"cba" * 100_000
            writer.close()
            await writer.wait_closed()
            forwards.remove(running)
            with pytest.raises(ConnectionRefusedError):
                await asyncio.open_connection(LOCAL, at)
        forwards.close()
        held.close()
        server.close()
        await server.wait_closed()
        await asyncio.sleep(0.05)

    asyncio.run(body())


def test_nobody_behind_the_port_is_a_reset_not_a_hang() -> None:
    async def body() -> None:
        with socket.socket() as nobody:
            nobody.bind((LOCAL, 0))
            held = socket.socket()
            held.setblocking(False)
            held.bind((LOCAL, 0))
            forwards = Forwards(asyncio.get_running_loop())
            forwards.add(held, LOCAL, nobody.getsockname()[1])
            reader, writer = await asyncio.open_connection(*held.getsockname())
            with pytest.raises(ConnectionResetError):
                await asyncio.wait_for(reader.read(), 2)
            writer.close()
            forwards.close()
            held.close()

    asyncio.run(body())


def test_udp_conversations_find_their_way_back() -> None:
    async def body() -> None:
        loop = asyncio.get_running_loop()

        class Upper(asyncio.DatagramProtocol):
            def connection_made(self, transport: asyncio.BaseTransport) -> None:
                self.transport = transport

            def datagram_received(self, data: bytes, who: tuple[str, int]) -> None:
                cast(asyncio.DatagramTransport, self.transport).sendto(data.upper(), who)

        transport, _ = await loop.create_datagram_endpoint(Upper, local_addr=(LOCAL, 0))
        held = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        held.setblocking(False)
        held.bind((LOCAL, 0))
        forwards = Forwards(loop)
        forwards.add(held, LOCAL, transport.get_extra_info("sockname")[1])
        clients = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(3)]
        for n, client in enumerate(clients):
            client.setblocking(False)
            client.connect(held.getsockname())
            client.send(b"client%d" % n)
        for n, client in enumerate(clients):
            assert await asyncio.wait_for(loop.sock_recv(client, 100), 2) == b"CLIENT%d" % n
            client.close()
        forwards.close()
        held.close()
        transport.close()
        await asyncio.sleep(0)

    asyncio.run(body())
