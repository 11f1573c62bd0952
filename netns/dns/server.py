"""Answer names at 127.0.0.11:53 inside the network namespace of every container.

Comes in:  a container's namespace and the names of its networks.
Goes out:  answers by UDP and TCP; the socket a question comes from tells who asks.
Not here:  packets (message), who is called what (zone), asking the host's resolvers (upstream).

The truth is the endpoint records on disk: they are read again when their directory changes, so a
network shared by two projects is answered alike by both supervisors.
"""

from __future__ import annotations

import asyncio
import os
import socket
import struct
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from random import randrange
from typing import Any, Protocol

from netns.dns import message
from netns.dns.upstream import Exchange, Memory, Resolvers
from netns.dns.zone import Names, Zone, names_of, replies
from netns.errors import NetworkFailure
from netns.naming import LOCAL_RESOLVER
from netns.netlink import inside
from netns.nftables.apply import Firewall
from netns.nftables.ruleset import resolver_rules
from netns.spec import Endpoint, Network

BURST = 64  # datagrams taken from one socket before others get their turn
CACHED = 2048
EXCHANGES, EXCHANGES_EACH = 192, 128  # questions forwarded at a time, in all and of one container
QUEUE, PATIENCE = 2048, 4.5  # questions of one container that wait for their turn, and seconds they do
UNREAD = 1 << 20  # bytes of answers that a TCP client may leave unread
STREAMS = 64  # TCP connections of one container
STREAM_IDLE = 10.0
FAILED = 50  # look-ups without success that are remembered
SETTLED = 0.05  # seconds after which the change time of a directory can be trusted


class Directory(Protocol):
    """Where networks and endpoints are looked up: ``netns.network.Networks``."""

    def find(self, name: str) -> Network | None: ...
    def endpoints(self, name: str) -> list[Endpoint]: ...
    def endpoints_directory(self, name: str) -> Path: ...
    def claimed(self, name: str) -> Iterable[str]: ...


class Book:
    """The names of every network in use, each read again when its records change."""

    def __init__(self, directory: Directory) -> None:
        self._directory = directory
        self._known: dict[str, tuple[int, Names]] = {}

    def names(self, network: str) -> Names | None:
        """The current names of ``network``, the same object until they change; one stat(2)."""
        try:
            stamp = os.stat(self._directory.endpoints_directory(network)).st_mtime_ns
        except FileNotFoundError:
            self._known.pop(network, None)
            return None
        known = self._known.get(network)
        if known and known[0] == stamp:
            return known[1]
        found = self._directory.find(network)
        if found is None:
            return None
        names = names_of(found, self._directory.endpoints(network), self._directory.claimed(network))
        # a second change within the clock's tick would leave the same stamp: do not trust it yet
        trusted = time.time_ns() - stamp > SETTLED * 1e9
        self._known[network] = (stamp if trusted else 0, names)
        return names


class Server:
    """All resolvers of one supervisor, on its loop."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, networks: Directory, upstream: Sequence[str] | None = None
    ) -> None:
        """upstream: nameservers instead of those in the host's resolv.conf."""
        self._loop = loop
        self._book = Book(networks)
        self._resolvers = Resolvers()
        self._upstream = tuple(upstream) if upstream is not None else None
        self._clients: dict[str, Client] = {}
        self._exchanges: set[Exchange] = set()
        self._memory = Memory()
        self.failed: dict[
            tuple[str, str], float
        ] = {}  # (container, name) that nobody knew -> when, the latest last
        self.on_failure: Callable[[], None] = lambda: None

    def missed(self, container: str, reply: bytes, name: str) -> None:
        """Remember a name that nobody knew."""
        if message.code_of(reply) == message.NXDOMAIN:
            self.failed.pop((container, name), None)
            self.failed[container, name] = time.time()
            while len(self.failed) > FAILED:
                del self.failed[next(iter(self.failed))]
            self.on_failure()

    def attach(
        self,
        container: str,
        netns: Path,
        networks: Sequence[str],
        *,
        dns: Sequence[str] = (),
        links: Mapping[str, str] | None = None,
        held: Sequence[int] = (),
    ) -> None:
        """Serve ``container`` from now on; its loopback must be up. Replaces an earlier attachment.

        networks: in the order in which they are asked. dns: nameservers of the service, "" for the host's.
        links: names that this container alone has for others, alias to name.
        held: what ``sockets`` gave to a process before us, ours now: what waits in them is answered.
        Raises NetworkFailure when the kernel refuses.
        """
        self.detach(container)
        try:
            if held:
                datagrams, streams = (socket.socket(fileno=number) for number in held)
            else:
                datagrams, streams = open_sockets(netns)
        except OSError as error:
            raise NetworkFailure(f"no name server for container {container[:12]}: {error.strerror}") from None
        self._clients[container] = Client(
            container, self, datagrams, streams, tuple(networks), tuple(dns), links or {}
        )

    def sockets(self, container: str) -> tuple[int, ...]:
        """Descriptors through which ``container`` is served, to be kept alive by another process."""
        client = self._clients.get(container)
        return client.sockets() if client else ()

    def detach(self, container: str) -> None:
        """Stop serving ``container``; nothing happens when it is not served."""
        if client := self._clients.pop(container, None):
            client.close()

    def close(self) -> None:
        for container in list(self._clients):
            self.detach(container)
        for exchange in list(self._exchanges):
            exchange.cancel()
        self._exchanges.clear()
        self._memory.close()

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        return self._loop

    def zone(self, networks: Sequence[str], links: Mapping[str, str]) -> Zone:
        found = (self._book.names(network) for network in networks)
        return Zone(tuple(names for names in found if names), links)

    @property
    def full(self) -> bool:
        """No further question can be forwarded now."""
        return len(self._exchanges) >= EXCHANGES

    def forward(
        self, query: bytes, servers: Sequence[str], done: Callable[[bytes | None], None], *, stream: bool
    ) -> None:
        """Ask ``servers`` or the host's."""
        chosen = servers or (self._upstream if self._upstream is not None else self._resolvers.current())
        if not chosen:
            return done(None)

        def finished(reply: bytes | None) -> None:
            self._exchanges.discard(exchange)
            done(reply)
            for client in list(self._clients.values()):
                client.advance()

        exchange = Exchange(self._loop, query, chosen, finished, stream=stream, memory=self._memory)
        self._exchanges.add(exchange)


class Client:
    """One container: its sockets, its networks, and answers already made."""

    def __init__(
        self,
        container: str,
        server: Server,
        datagrams: socket.socket,
        streams: socket.socket,
        networks: tuple[str, ...],
        dns: tuple[str, ...],
        links: Mapping[str, str],
    ) -> None:
        self._container, self._server = container, server
        self._networks, self._dns, self._links = networks, dns, links
        self._datagrams, self._listener = datagrams, streams
        self._streams: set[Stream] = set()
        self._zone = Zone((), {})
        self._made: dict[bytes, Sequence[bytes]] = {}
        self._waiting = 0
        self._queue: deque[tuple[float, bytes, Callable[[bytes | None], None], bool]] = deque()
        server.loop.add_reader(datagrams, self._read)
        server.loop.add_reader(streams, self._accept)

    def sockets(self) -> tuple[int, int]:
        """The UDP and the listening TCP socket."""
        return self._datagrams.fileno(), self._listener.fileno()

    def close(self) -> None:
        for used in (self._datagrams, self._listener):
            self._server.loop.remove_reader(used)
            used.close()
        for stream in list(self._streams):
            stream.close()

    def reply(self, data: bytes, send: Callable[[bytes], None], *, stream: bool = False) -> None:
        """Answer one query, now or when somebody else has."""
        question = message.parse(data)
        if question is None:
            if len(data) >= 12 and not data[2] & 0x80:
                send(data[:2] + b"\x80\x01" + bytes(8))  # FORMERR
            return
        found = replies(self._zone, question, stream=stream)
        if found:
            if not stream and len(self._made) < CACHED:
                self._made[data[2:]] = [reply[2:] for reply in found]
            return send(found[randrange(len(found))])
        failure = message.answer(question, (), message.SERVFAIL, stream=stream)
        if not (self._zone.outward or self._dns) or len(self._queue) >= QUEUE:
            return send(failure)

        def finish(reply: bytes | None) -> None:
            if reply:
                self._server.missed(self._container, reply, question.name)
            send(reply or failure)

        self._queue.append((self._server.loop.time(), data, finish, stream))
        self.advance()

    def advance(self) -> None:
        """Forward questions that wait, as many as may be under way."""
        while self._queue and self._waiting < EXCHANGES_EACH and not self._server.full:
            at, data, answer, stream = self._queue.popleft()
            if self._server.loop.time() - at > PATIENCE:
                answer(None)
                continue

            def done(reply: bytes | None, answer: Callable[[bytes | None], None] = answer) -> None:
                self._waiting -= 1
                answer(reply)

            self._waiting += 1
            self._server.forward(data, self._dns, done, stream=stream)

    def refresh(self) -> None:
        """Look whether the records changed; answers already made are dropped then."""
        zone = self._server.zone(self._networks, self._links)
        if len(self._made) >= CACHED or [id(n) for n in zone.networks] != [
            id(n) for n in self._zone.networks
        ]:
            self._zone = zone
            self._made.clear()

    def _read(self) -> None:
        self.refresh()
        receive, send, made = self._datagrams.recvfrom, self._datagrams.sendto, self._made
        for _ in range(BURST):
            try:
                data, asker = receive(4096)
            except OSError:
                return
            known = made.get(data[2:])
            if known is None:
                self.reply(data, self._sender(asker))
                continue
            try:
                send(data[:2] + known[randrange(len(known))], asker)
            except OSError:
                continue

    def _sender(self, asker: Any) -> Callable[[bytes], None]:
        def send(reply: bytes) -> None:
            try:
                self._datagrams.sendto(reply, asker)
            except OSError:  # the container is gone, or its queue is full: it will ask again
                pass

        return send

    def _accept(self) -> None:
        try:
            made, _ = self._listener.accept()
        except OSError:
            return
        if len(self._streams) >= STREAMS:
            made.close()
            return
        made.setblocking(False)
        self._streams.add(Stream(self._server.loop, self, made, self._streams))


class Stream:
    """One TCP connection: messages with a length of two bytes before each (RFC 1035 4.2.2)."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, client: Client, made: socket.socket, open_: set[Stream]
    ) -> None:
        self._loop, self._client, self._socket, self._open = loop, client, made, open_
        self._input, self._output = bytearray(), bytearray()
        self._timer = loop.call_later(STREAM_IDLE, self.close)
        loop.add_reader(made, self._read)

    def close(self) -> None:
        if self._socket.fileno() < 0:
            return
        self._timer.cancel()
        self._loop.remove_reader(self._socket)
        self._loop.remove_writer(self._socket)
        self._socket.close()
        self._open.discard(self)

    def _read(self) -> None:
        try:
            data = self._socket.recv(65536)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            return self.close()
        self._input += data
        self._client.refresh()
        while len(self._input) >= 2:
            size = struct.unpack_from(">H", self._input)[0]
            if len(self._input) < size + 2:
                break
            query = bytes(self._input[2 : size + 2])
            del self._input[: size + 2]
            self._client.reply(query, self._send, stream=True)

    def _send(self, reply: bytes) -> None:
        if self._socket.fileno() < 0:
            return
        self._output += struct.pack(">H", len(reply)) + reply
        self._write()

    def _write(self) -> None:
        try:
            sent = self._socket.send(self._output)
        except BlockingIOError:
            sent = 0
        except OSError:
            return self.close()
        del self._output[:sent]
        if len(self._output) > UNREAD:
            return self.close()
        if self._output:
            self._loop.add_writer(self._socket, self._write)
        else:
            self._loop.remove_writer(self._socket)


def open_sockets(netns: Path) -> tuple[socket.socket, socket.socket]:
    """UDP and TCP sockets behind 127.0.0.11:53 inside ``netns``; they stay there.

    They sit on free ports and packets are rewritten, so that port 53 stays free for the container's own
    programs; without nf_tables they sit on port 53 itself.
    """
    with inside(netns), ExitStack() as undo:
        try:
            datagrams, streams = _bound(0, undo)
            ports = {"udp": datagrams.getsockname()[1], "tcp": streams.getsockname()[1]}
            with closing(Firewall()) as firewall:
                try:
                    firewall.commit(resolver_rules(LOCAL_RESOLVER, ports))
                except FileExistsError:  # a supervisor before us
                    firewall.commit(resolver_rules(LOCAL_RESOLVER, ports, again=True))
        except OSError:
            undo.close()
            datagrams, streams = _bound(53, undo)
        undo.pop_all()
    return datagrams, streams


def _bound(port: int, undo: ExitStack) -> tuple[socket.socket, socket.socket]:
    flags = socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC
    datagrams = undo.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM | flags))
    streams = undo.enter_context(socket.socket(socket.AF_INET, socket.SOCK_STREAM | flags))
    streams.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    datagrams.bind((LOCAL_RESOLVER, port))
    streams.bind((LOCAL_RESOLVER, port))
    streams.listen(STREAMS)
    return datagrams, streams
