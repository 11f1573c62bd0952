"""Ask the resolvers of the host in their order, each with a short head start over the next.

Comes in:  a query as it came, the servers.
Goes out:  one call of ``done`` with the reply, or None after five seconds.
Not here:  which queries go out at all, how many at a time (server).

The first that answers decides, but "no such name" of a later one waits for those before it, so that the
inner names of a company or a VPN are found although a public resolver is quicker. One that stays silent is
remembered and asked last for a while.
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
SERVERS = 3  # MAXNS of resolv.conf(5)
HEAD_START = 0.25  # seconds
SILENT, REMEMBERED = 2.0, 30.0  # seconds without an answer, and how long that is held against a server
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


class Memory:
    """Which servers did not answer lately."""

    def __init__(self) -> None:
        self._silent: dict[str, float] = {}  # server -> until when
        self._tasks: set[asyncio.Task[None]] = set()

    def watch(self, query: bytes, quiet: Sequence[Asked]) -> None:
        """See whether servers that were overtaken answer at all."""
        task = asyncio.get_running_loop().create_task(_watched(self, query, quiet))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def close(self) -> None:
        for task in self._tasks:
            task.cancel()

    def ordered(self, servers: Sequence[str], now: float) -> list[str]:
        """``servers``, those that were silent last."""
        return sorted(servers[:SERVERS], key=lambda server: self._silent.get(server, 0.0) > now)

    def answered(self, server: str) -> None:
        self._silent.pop(server, None)

    def silent(self, server: str, now: float) -> None:
        self._silent[server] = now + REMEMBERED


class Asked:
    """One server in one exchange. reply: None while it may still answer; b"" when it failed."""

    def __init__(self, server: str, target: tuple[int, tuple[object, ...]]) -> None:
        self.server, self.target = server, target
        self.socket: socket.socket | None = None
        self.begun = False
        self.reply: bytes | None = None


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
        memory: Memory | None = None,
    ) -> None:
        self._loop, self._done = loop, done
        self._asker = query[:2]
        self._query = os.urandom(2) + query[2:]
        self._memory = memory or Memory()
        ordered = self._memory.ordered(servers, loop.time())
        self._asked = [Asked(server, target) for server in ordered for target in _resolve(server)]
        self._worse: bytes | None = None
        self._finished = False
        self._stream = stream
        self._timers = [loop.call_later(GIVE_UP, self._finish, None)]
        self._tasks: list[asyncio.Task[None]] = []
        if not self._asked:
            loop.call_soon(self._finish, None)
            return
        self._timers.append(loop.call_later(SILENT, self._patience_ends))
        if stream:
            self._timers.append(loop.call_later(BY_DATAGRAM, self._all_by_datagram))
        else:
            self._timers += [loop.call_later(delay, self._send_again) for delay in AGAIN]
            self._timers.append(loop.call_later(BY_STREAM, self._all_by_stream))
        self._next()

    def cancel(self) -> None:
        """Stop without calling ``done``."""
        self._finished = True
        for timer in self._timers:
            timer.cancel()
        for task in self._tasks:
            task.cancel()
        for asked in self._asked:
            self._close(asked)

    def _next(self) -> None:
        """Ask the next server, if nobody has answered yet."""
        waiting = next((asked for asked in self._asked if not asked.begun), None)
        if self._finished or waiting is None:
            return
        waiting.begun = True
        self._timers.append(self._loop.call_later(HEAD_START, self._next))
        if self._stream:
            self._by_stream(waiting)
        else:
            self._by_datagram(waiting)

    def _by_datagram(self, asked: Asked) -> None:
        family, address = asked.target
        try:
            kind = socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC
            asked.socket = made = socket.socket(family, kind)
            made.connect(address)
            made.send(self._query)
        except OSError:  # no route, no descriptors
            return self._failed(asked)
        self._loop.add_reader(made, self._read, asked)

    def _all_by_datagram(self) -> None:
        for asked in self._asked:
            if asked.begun and not asked.reply and asked.socket is None:
                asked.reply = None
                self._by_datagram(asked)

    def _send_again(self) -> None:
        for asked in self._asked:
            if asked.socket is not None and asked.reply is None:
                try:
                    asked.socket.send(self._query)
                except OSError:
                    continue

    def _read(self, asked: Asked) -> None:
        assert asked.socket is not None
        try:
            reply = asked.socket.recv(65535)
        except BlockingIOError:
            return
        except OSError:  # ICMP: nobody listens there
            return self._failed(asked)
        if answers(self._query, reply):
            self._judge(asked, reply)

    def _judge(self, asked: Asked, reply: bytes) -> None:
        self._memory.answered(asked.server)
        self._close(asked)
        if code_of(reply) not in (NOERROR, NXDOMAIN):
            self._worse = reply
            return self._failed(asked)
        asked.reply = reply
        self._decide()

    def _failed(self, asked: Asked) -> None:
        """It refused or cannot be reached: the next one is asked at once."""
        self._close(asked)
        asked.reply = asked.reply or b""
        self._loop.call_soon(self._next)
        self._decide()

    def _decide(self) -> None:
        """A name that was found decides at once; "no such name" when nobody before may still know it."""
        if self._finished:
            return
        for asked in self._asked:
            if asked.reply and _found(asked.reply):
                return self._finish(asked.reply)
        for asked in self._asked:
            if asked.reply:
                return self._finish(asked.reply)
            if asked.reply is None:
                return
        self._finish(None)

    def _patience_ends(self) -> None:
        """Who has been silent until now has no say any more; if others answered, that is remembered."""
        first = next((asked for asked in self._asked if asked.reply), None)
        for asked in self._asked:
            if asked.begun and asked.reply is None and first is not None:
                self._memory.silent(asked.server, self._loop.time())
                asked.reply = b""
        if first is not None:
            self._decide()

    def _all_by_stream(self) -> None:
        for asked in self._asked:
            if not asked.reply:
                self._by_stream(asked)

    def _by_stream(self, asked: Asked) -> None:
        self._tasks.append(self._loop.create_task(self._talk(asked)))

    async def _talk(self, asked: Asked) -> None:
        _, address = asked.target
        try:
            reader, writer = await asyncio.open_connection(str(address[0]), int(str(address[1])))
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
        if answers(self._query, reply) and not self._finished:
            self._judge(asked, reply)

    def _close(self, asked: Asked) -> None:
        if asked.socket is not None:
            self._loop.remove_reader(asked.socket)
            asked.socket.close()
            asked.socket = None

    def _finish(self, reply: bytes | None) -> None:
        if self._finished:
            return
        quiet = [asked for asked in self._asked if asked.begun and asked.reply is None]
        self.cancel()
        if reply and quiet:  # found by a later one: is the earlier one dead, or only slow?
            self._memory.watch(self._query, quiet)
        reply = reply or self._worse
        self._done(self._asker + reply[2:] if reply else None)


async def _watched(memory: Memory, query: bytes, quiet: Sequence[Asked]) -> None:
    """Ask silent servers once more, for what is remembered about them only."""
    loop = asyncio.get_running_loop()

    async def one(asked: Asked) -> None:
        family, address = asked.target
        with socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC) as made:
            made.connect(address)
            made.send(query)
            await asyncio.wait_for(loop.sock_recv(made, 4096), SILENT)

    for asked in quiet:
        try:
            await one(asked)
        except (OSError, TimeoutError):
            memory.silent(asked.server, loop.time())


def _found(reply: bytes) -> bool:
    """The reply has records: the name exists there, with this type."""
    return code_of(reply) == NOERROR and reply[6:8] != b"\0\0"


def _resolve(server: str) -> list[tuple[int, tuple[object, ...]]]:
    """The socket address of a nameserver text; nothing when it is not an address."""
    host, _, port = server.partition("#")
    try:
        flags = socket.AI_NUMERICHOST | socket.AI_NUMERICSERV
        found = socket.getaddrinfo(host, int(port or 53), type=socket.SOCK_DGRAM, flags=flags)
    except (OSError, ValueError):
        return []
    return [(family, address) for family, _, _, _, address in found[:1]]
