"""Carry published ports that the kernel's IPv4 DNAT cannot: ``[::1]`` and the host's IPv6 addresses.

Comes in:  a bound socket of ``reserve``, the address of the container.
Goes out:  TCP connections and UDP conversations copied both ways on the running asyncio loop.
Not here:  binding (reserve).
IPv6 has no route_localnet, so [::1] needs a process; a container sees the host as the client.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from ipaddress import ip_address
from typing import Any, Protocol

BACKLOG = 512
UDP_IDLE = 60.0  # seconds until a silent UDP conversation is forgotten
UDP_CONVERSATIONS = 4096


class Forward(Protocol):
    """Something that copies; ``stop`` ends it and leaves the reserved socket bound."""

    def stop(self) -> None: ...


def forward(loop: asyncio.AbstractEventLoop, held: socket.socket, address: str, port: int) -> Forward:
    """Start to carry what arrives at ``held`` to ``address``:``port``; connections live on after ``stop``."""
    if held.type == socket.SOCK_STREAM:
        return Listener(loop, held, (address, port))
    return Conversations(loop, held, (address, port))


def _family(address: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ip_address(address).version == 6 else socket.AF_INET


class Listener:
    """A listening TCP socket; each connection is two ``Pipe`` protocols."""

    def __init__(self, loop: asyncio.AbstractEventLoop, held: socket.socket, target: tuple[str, int]) -> None:
        self._loop, self._held, self._target = loop, held, target
        self._tasks: set[asyncio.Task[None]] = set()
        # inherited by connections, whose TIME_WAIT would forbid to listen again
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        # accepted sockets inherit it, so that their TIME_WAIT does not keep the port from the next start
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        held.listen(BACKLOG)
        loop.add_reader(held, self._accept)

    def stop(self) -> None:
        """Refuse new connections. shutdown(2) takes a listening socket back to bound (Linux)."""
        self._loop.remove_reader(self._held)
        try:
            self._held.shutdown(socket.SHUT_RDWR)
            self._held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)  # nobody may bind beside us
        except OSError:
            pass

    def _accept(self) -> None:
        for _ in range(64):
            try:
                client, _ = self._held.accept()
            except (BlockingIOError, ConnectionAbortedError):
                return
            client.setblocking(False)
            task = self._loop.create_task(self._join(client))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _join(self, client: socket.socket) -> None:
        near = Pipe()
        try:
            _, far = await self._loop.create_connection(lambda: Pipe(near), *self._target)
        except OSError:
            _reset(client)
            return
        near.other = far
        try:
            await self._loop.connect_accepted_socket(lambda: near, client)
        except OSError:
            client.close()
            far.lost()


def _reset(client: socket.socket) -> None:
    """Close so that the client sees a reset, as from a port where nobody listens."""
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    client.close()


class Pipe(asyncio.Protocol):
    """One end of a connection: what it reads the other end writes; half-closes travel."""

    def __init__(self, other: Pipe | None = None) -> None:
        self.other = other
        self._transport: asyncio.Transport | None = None
        self._ended = False
        self._early: list[Callable[[], None]] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        for late in self._early:
            late()
        self._early.clear()

    def data_received(self, data: bytes) -> None:
        if self.other:
            self.other.write(data)

    def eof_received(self) -> bool:
        """Pass the half-close on; when both ends have said all, both are closed."""
        self._ended = True
        if self.other:
            self.other.finish()
            if self.other._ended:
                self.other.lost()
                return False
        return True

    def connection_lost(self, error: Exception | None) -> None:
        other, self.other = self.other, None
        if other:
            other.other = None
            other.lost()

    def pause_writing(self) -> None:
        if self.other and self.other._transport:
            self.other._transport.pause_reading()

    def resume_writing(self) -> None:
        if self.other and self.other._transport:
            self.other._transport.resume_reading()

    def write(self, data: bytes) -> None:
        if self._transport is None:
            self._early.append(lambda: self.write(data))
        else:
            self._transport.write(data)

    def finish(self) -> None:
        if self._transport is None:
            self._early.append(self.finish)
        elif self._transport.can_write_eof() and not self._transport.is_closing():
            self._transport.write_eof()

    def lost(self) -> None:
        if self._transport is None:
            self._early.append(self.lost)
        else:
            self._transport.close()


class Conversations:
    """UDP: one connected socket towards the container per client address, forgotten when silent."""

    def __init__(self, loop: asyncio.AbstractEventLoop, held: socket.socket, target: tuple[str, int]) -> None:
        self._loop, self._held, self._target = loop, held, target
        self._sockets: dict[object, tuple[socket.socket, float]] = {}
        loop.add_reader(held, self._from_clients)
        self._sweeper = loop.call_later(UDP_IDLE, self._sweep)

    def stop(self) -> None:
        self._loop.remove_reader(self._held)
        self._sweeper.cancel()
        for client in list(self._sockets):
            self._forget(client)

    def _from_clients(self) -> None:
        for _ in range(64):
            try:
                data, client = self._held.recvfrom(65535)
                self._towards(client).send(data)
            except BlockingIOError:
                return
            except OSError:
                continue  # a late ICMP error, or the container does not listen: UDP loses packets

    def _towards(self, client: object) -> socket.socket:
        known = self._sockets.get(client)
        if known is None:
            if len(self._sockets) >= UDP_CONVERSATIONS:
                self._forget(next(iter(self._sockets)))
            made = socket.socket(_family(self._target[0]), socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
            made.connect(self._target)
            self._loop.add_reader(made, self._from_container, made, client)
        else:
            made = known[0]
        self._sockets[client] = (made, self._loop.time())
        return made

    def _from_container(self, made: socket.socket, client: Any) -> None:
        for _ in range(64):
            try:
                self._held.sendto(made.recv(65535), client)
            except OSError:
                return

    def _forget(self, client: object) -> None:
        made, _ = self._sockets.pop(client)
        self._loop.remove_reader(made)
        made.close()

    def _sweep(self) -> None:
        limit = self._loop.time() - UDP_IDLE
        for client in [c for c, (_, seen) in self._sockets.items() if seen < limit]:
            self._forget(client)
        self._sweeper = self._loop.call_later(UDP_IDLE, self._sweep)
