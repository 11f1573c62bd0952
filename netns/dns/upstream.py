"""Ask the resolvers of the host: all at once, again after a second, the other way when one stays silent.

Comes in:  a query as it came, the servers.
Goes out:  one call of ``done`` with the reply, or None after five seconds.
Not here:  which queries go out at all (server).
"""

from __future__ import annotations

import asyncio
import os
import socket
import struct
from collections.abc import Callable, Sequence
from pathlib import Path

from netns.dns.message import NOERROR, NXDOMAIN, answers, code_of
from netns.naming import nameservers

Done = Callable[[bytes | None], None]
RESOLV_CONF = Path("/etc/resolv.conf")
RACERS = 3
AGAIN = (0.8, 1.8)  # seconds after which unanswered datagrams are sent again
BY_STREAM, GIVE_UP = 2.8, 5.0
BY_DATAGRAM = 1.0  # a question that came by TCP, to resolvers that do not speak it


class Resolvers:
    """The nameservers of the host, read again when the file changes."""

    def __init__(self, path: Path = RESOLV_CONF) -> None:
        self._path = path
        self._stamp: tuple[int, int] | None = None
        self._servers: tuple[str, ...] = ()

    def current(self) -> tuple[str, ...]:
        try:
            status = self._path.stat()
            stamp = (status.st_mtime_ns, status.st_ino)
            if stamp != self._stamp:
                self._servers, self._stamp = nameservers(self._path.read_text()), stamp
        except OSError:
            self._servers, self._stamp = (), None
        return self._servers


class Exchange:
    """One query under way. Servers are "address", "address%scope" or "address#port"."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        query: bytes,
        servers: Sequence[str],
        done: Done,
        *,
        stream: bool,
    ) -> None:
        self._loop, self._done = loop, done
        self._asker = query[:2]
        self._query = os.urandom(2) + query[2:]
        self._targets = [target for server in servers[:RACERS] for target in _resolve(server)]
        self._sockets: list[socket.socket] = []
        self._worse: bytes | None = None
        self._refusals = 0
        self._timers = [loop.call_later(GIVE_UP, self._finish, None)]
        self._tasks: list[asyncio.Task[None]] = []
        if stream:
            self._by_stream()
            self._timers.append(loop.call_later(BY_DATAGRAM, self._by_datagram))
        else:
            self._by_datagram()
            self._timers += [loop.call_later(delay, self._send_again) for delay in AGAIN]
            self._timers.append(loop.call_later(BY_STREAM, self._by_stream))
        if not self._targets:
            loop.call_soon(self._finish, None)

    def cancel(self) -> None:
        """Stop without calling ``done``."""
        for timer in self._timers:
            timer.cancel()
        for task in self._tasks:
            task.cancel()
        for used in self._sockets:
            self._loop.remove_reader(used)
            used.close()
        self._sockets = []

    def _by_datagram(self) -> None:
        for family, address in self._targets:
            try:
                made = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
            except OSError:
                continue
            self._sockets.append(made)
            try:
                made.connect(address)
                made.send(self._query)
            except OSError:
                continue
            self._loop.add_reader(made, self._read, made)

    def _send_again(self) -> None:
        for used in self._sockets:
            try:
                used.send(self._query)
            except OSError:
                continue

    def _read(self, used: socket.socket) -> None:
        try:
            reply = used.recv(65535)
        except BlockingIOError:
            return
        except OSError:  # ICMP: nobody listens there
            self._loop.remove_reader(used)
            return
        if answers(self._query, reply):
            self._judge(reply)

    def _judge(self, reply: bytes) -> None:
        """A real answer wins at once; a refusal only when every server refused."""
        if code_of(reply) in (NOERROR, NXDOMAIN):
            return self._finish(reply)
        self._worse = reply
        self._refusals += 1
        if self._refusals >= len(self._targets):
            self._finish(reply)

    def _by_stream(self) -> None:
        self._tasks = [self._loop.create_task(self._talk(target)) for target in self._targets]

    async def _talk(self, target: tuple[int, tuple[object, ...]]) -> None:
        try:
            reader, writer = await asyncio.open_connection(str(target[1][0]), int(str(target[1][1])))
        except OSError:
            return
        try:
            writer.write(struct.pack(">H", len(self._query)) + self._query)
            size = struct.unpack(">H", await reader.readexactly(2))[0]
            reply = await reader.readexactly(size)
        except (OSError, asyncio.IncompleteReadError):
            return
        finally:
            writer.close()
        if answers(self._query, reply):
            self._judge(reply)

    def _finish(self, reply: bytes | None) -> None:
        self.cancel()
        reply = reply or self._worse
        self._done(self._asker + reply[2:] if reply else None)


def _resolve(server: str) -> list[tuple[int, tuple[object, ...]]]:
    """The socket address of a nameserver text; nothing when it is not an address."""
    host, _, port = server.partition("#")
    try:
        flags = socket.AI_NUMERICHOST | socket.AI_NUMERICSERV
        found = socket.getaddrinfo(host, int(port or 53), type=socket.SOCK_DGRAM, flags=flags)
    except (OSError, ValueError):
        return []
    return [(family, address) for family, _, _, _, address in found[:1]]
