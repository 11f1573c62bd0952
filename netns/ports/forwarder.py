"""Carry published ports that the kernel's translation cannot: a process of its own, run as a file.

Comes in:  on a SOCK_SEQPACKET descriptor, ``{"add": id, "target": [address, port]}`` with a bound socket,
           and ``{"remove": id}``.
Goes out:  TCP connections and UDP conversations copied both ways, by splice(2) and one epoll(7).
Not here:  when it runs (forward, in the supervisor), binding (reserve).

It may die at any time: the supervisor has the sockets and starts another one. When the supervisor dies, this
process stops to listen and ends with its last connection. Only the standard library is imported. What
strangers can make it hold is bounded: connections and conversations, of each port and in all.
"""

from __future__ import annotations

import fcntl
import json
import os
import resource
import select
import socket
import struct
import sys
import time
from collections.abc import Callable
from typing import Any

CONNECTIONS, CONNECTIONS_EACH = 8192, 4096
CONVERSATIONS, CONVERSATIONS_EACH = 4096, 1024
DESCRIPTORS = 32768
CONNECT_SECONDS, IDLE_SECONDS, PAUSE = 20.0, 60.0, 0.2
CHUNK, POOL, TURNS = 1 << 20, 32, 16
_IN, _OUT = select.EPOLLIN, select.EPOLLOUT
_SPLICE = os.SPLICE_F_MOVE | os.SPLICE_F_NONBLOCK if hasattr(os, "splice") else 0
_IP_PKTINFO, _IPV6_RECVPKTINFO, _IPV6_PKTINFO = 8, 49, 50


class Loop:
    """Descriptors and what to call when they are ready; a few timers."""

    def __init__(self) -> None:
        self._poll = select.epoll()
        self._calls: dict[int, Callable[[int], None]] = {}
        self._timers: list[tuple[float, Callable[[], None]]] = []
        self.pipes: list[tuple[int, int]] = []

    def watch(self, fd: int, events: int, call: Callable[[int], None]) -> None:
        if fd in self._calls:
            self._poll.modify(fd, events)
        else:
            self._poll.register(fd, events)
        self._calls[fd] = call

    def forget(self, fd: int) -> None:
        if self._calls.pop(fd, None):
            self._poll.unregister(fd)

    def later(self, seconds: float, call: Callable[[], None]) -> None:
        self._timers.append((time.monotonic() + seconds, call))

    def turn(self) -> None:
        now = time.monotonic()
        due = [call for at, call in self._timers if at <= now]
        self._timers = [timer for timer in self._timers if timer[0] > now]
        for call in due:
            call()
        wait = min((at for at, _ in self._timers), default=now + 60) - time.monotonic()
        for fd, events in self._poll.poll(max(0.0, wait)):
            if fd in self._calls:
                self._calls[fd](events)

    def pipe(self) -> tuple[int, int]:
        """An empty pipe; those that were given back are used again."""
        if self.pipes:
            return self.pipes.pop()
        made = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            fcntl.fcntl(made[1], 1031, CHUNK)  # F_SETPIPE_SZ
        except OSError:  # over the user's limit: it works with 64 KiB too
            pass
        return made

    def give_back(self, pipe: tuple[int, int], *, empty: bool) -> None:
        if empty and len(self.pipes) < POOL:
            self.pipes.append(pipe)
        else:
            os.close(pipe[0])
            os.close(pipe[1])


class Way:
    """One direction of a connection."""

    def __init__(self, source: socket.socket, target: socket.socket) -> None:
        self.source, self.target = source, target
        self.pipe: tuple[int, int] | None = None
        self.pending = 0
        self.ended = self.done = False

    def pump(self, loop: Loop) -> None:
        """Move what can be moved. Raises OSError when the connection is broken."""
        try:
            for _ in range(TURNS):
                if self.pending:
                    self.pending -= os.splice(
                        self.pipe[0],  # type: ignore[index]
                        self.target.fileno(),
                        self.pending,
                        flags=_SPLICE,
                    )
                elif self.ended:
                    self.done = True
                    self.target.shutdown(socket.SHUT_WR)
                    return self.release(loop)
                else:
                    self.pipe = self.pipe or loop.pipe()
                    self.pending = os.splice(self.source.fileno(), self.pipe[1], CHUNK, flags=_SPLICE)
                    self.ended = self.pending == 0
        except BlockingIOError:
            if not self.pending:
                self.release(loop)

    def release(self, loop: Loop) -> None:
        pipe, self.pipe = self.pipe, None
        if pipe:
            loop.give_back(pipe, empty=not self.pending)


class Connection:
    """A client and its connection to the container."""

    def __init__(self, port: TcpPort, near: socket.socket, target: tuple[str, int]) -> None:
        self._port, self._loop = port, port.loop
        near.setblocking(False)
        family = socket.AF_INET6 if ":" in target[0] else socket.AF_INET
        far = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
        self.near, self.far = near, far
        for end in (near, far):
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            end.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        self._ways = (Way(near, far), Way(far, near))
        self._connected = self._closed = False
        far.connect_ex(target)
        self._loop.watch(far.fileno(), _OUT, self._connecting)
        self._loop.later(CONNECT_SECONDS, self._patience)

    def _patience(self) -> None:
        if not self._connected:
            self.close()

    def _connecting(self, _: int) -> None:
        if self.far.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            return self.close()
        self._connected = True
        self._ready(0)

    def _ready(self, events: int) -> None:
        try:
            for way in self._ways:
                if not way.done:
                    way.pump(self._loop)
        except OSError:
            return self.close()
        if all(way.done for way in self._ways) or events & select.EPOLLERR:
            return self.close(reset=False)
        there, back = self._ways
        for end, out, into in ((self.near, there, back), (self.far, back, there)):
            wanted = (0 if out.ended or out.pending else _IN) | (_OUT if into.pending else 0)
            self._loop.watch(end.fileno(), wanted, self._ready)

    def close(self, *, reset: bool = True) -> None:
        """End both sides; ``reset`` as from a port where nobody listens any more."""
        if self._closed:
            return
        self._closed = True
        self._port.connections.discard(self)
        for end in (self.near, self.far):
            self._loop.forget(end.fileno())
            if reset:
                end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            end.close()
        for way in self._ways:
            way.release(self._loop)


class TcpPort:
    """A listening socket and its connections."""

    def __init__(self, all_: Forwarder, held: socket.socket, target: tuple[str, int]) -> None:
        self.loop, self._all, self.held, self._target = all_.loop, all_, held, target
        self.connections: set[Connection] = set()
        self._deaf = False
        self._listen()

    def _listen(self) -> None:
        if not self._deaf:
            self.loop.watch(self.held.fileno(), _IN, self._accept)

    def _accept(self, events: int) -> None:
        for _ in range(64):
            try:
                client, _ = self.held.accept()
            except (BlockingIOError, ConnectionAbortedError):
                return
            except OSError:  # no descriptors or no memory: others may give some back
                self.loop.forget(self.held.fileno())
                return self.loop.later(PAUSE, self._listen)
            full = len(self.connections) >= CONNECTIONS_EACH or self._all.connections() >= self._all.most
            try:
                if full:
                    raise OSError("too many connections")
                self.connections.add(Connection(self, client, self._target))
            except OSError:
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                client.close()

    def deafen(self) -> None:
        """Take no new connection."""
        if not self._deaf:
            self._deaf = True
            self.loop.forget(self.held.fileno())
            self.held.close()

    def close(self) -> None:
        self.deafen()
        for connection in list(self.connections):
            connection.close()


class UdpPort:
    """A bound socket; one connected socket towards the container for each client and address of the host."""

    def __init__(self, all_: Forwarder, held: socket.socket, target: tuple[str, int]) -> None:
        self.loop, self._all, self.held, self._target = all_.loop, all_, held, target
        self._six = held.family == socket.AF_INET6
        if self._six:
            held.setsockopt(socket.IPPROTO_IPV6, _IPV6_RECVPKTINFO, 1)
        else:
            held.setsockopt(socket.IPPROTO_IP, _IP_PKTINFO, 1)
        self.conversations: dict[Any, list[Any]] = {}  # (client, our address) -> [socket, last seen]
        self.connections: set[Connection] = set()
        self.loop.watch(held.fileno(), _IN, self._from_clients)
        self.loop.later(IDLE_SECONDS, self._sweep)
        self._closed = False

    def _from_clients(self, _: int) -> None:
        for _ in range(64):
            try:
                data, told, _, client = self.held.recvmsg(65535, 64)
            except BlockingIOError:
                return
            except OSError:
                continue  # a late ICMP error
            try:
                self._towards(client, self._our_address(told)).send(data)
            except OSError:
                continue  # the container does not listen, or no descriptors: UDP loses packets

    def _our_address(self, told: list[tuple[int, int, bytes]]) -> bytes:
        """The control message that makes an answer leave from the address that was asked."""
        for _, kind, data in told:
            if self._six and kind == _IPV6_PKTINFO:
                link = data[16:20] if data[:2] == b"\xfe\x80" else bytes(4)
                return data[:16] + link
            if not self._six and kind == _IP_PKTINFO:
                return bytes(4) + data[4:8] + bytes(4)
        return b""

    def _towards(self, client: Any, ours: bytes) -> socket.socket:
        known = self.conversations.pop((client, ours), None)
        if known is None:
            while self.conversations and (
                len(self.conversations) >= CONVERSATIONS_EACH or self._all.conversations() >= CONVERSATIONS
            ):
                self._forget(next(iter(self.conversations)))
            family = socket.AF_INET6 if ":" in self._target[0] else socket.AF_INET
            made = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
            made.connect(self._target)
            self.loop.watch(made.fileno(), _IN, lambda _: self._from_container(made, client, ours))
            known = [made, 0.0]
        known[1] = time.monotonic()
        self.conversations[client, ours] = known
        return known[0]  # type: ignore[no-any-return]

    def _from_container(self, made: socket.socket, client: Any, ours: bytes) -> None:
        level, kind = (socket.IPPROTO_IPV6, _IPV6_PKTINFO) if self._six else (socket.IPPROTO_IP, _IP_PKTINFO)
        for _ in range(64):
            try:
                data = made.recv(65535)
                self.held.sendmsg([data], [(level, kind, ours)] if ours else [], 0, client)
            except OSError:
                return

    def _forget(self, key: Any) -> None:
        made = self.conversations.pop(key)[0]
        self.loop.forget(made.fileno())
        made.close()

    def _sweep(self) -> None:
        limit = time.monotonic() - IDLE_SECONDS
        for key in [key for key, (_, seen) in self.conversations.items() if seen < limit]:
            self._forget(key)
        if not self._closed:
            self.loop.later(IDLE_SECONDS / 4, self._sweep)

    def deafen(self) -> None:
        self.close()

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            self.loop.forget(self.held.fileno())
            self.held.close()
            for key in list(self.conversations):
                self._forget(key)


class Forwarder:
    """All ports of one project."""

    def __init__(self, control: socket.socket) -> None:
        self.loop, self._control = Loop(), control
        self.ports: dict[int, TcpPort | UdpPort] = {}
        self._ending = False
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        wanted = DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, DESCRIPTORS)
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))
        self.most = min(CONNECTIONS, max(soft, wanted) // 4)  # two sockets each, pipes for those that wait
        self.loop.watch(control.fileno(), _IN, self._told)

    def connections(self) -> int:
        return sum(len(port.connections) for port in self.ports.values())

    def conversations(self) -> int:
        return sum(len(port.conversations) for port in self.ports.values() if isinstance(port, UdpPort))

    def run(self) -> None:
        while not self._ending or self.connections():
            self.loop.turn()

    def _told(self, _: int) -> None:
        data, handles, _, _ = socket.recv_fds(self._control, 4096, 1)
        if not data:  # the supervisor has gone: the next one listens, what is open goes on
            self._ending = True
            self.loop.forget(self._control.fileno())
            for port in self.ports.values():
                port.deafen()
            return
        order = json.loads(data)
        if "remove" in order:
            port = self.ports.pop(order["remove"], None)  # type: ignore[arg-type]
            if port:
                port.close()
            return
        held = socket.socket(fileno=handles[0])
        held.setblocking(False)
        kind = TcpPort if held.type & socket.SOCK_STREAM else UdpPort
        self.ports[order["add"]] = kind(self, held, tuple(order["target"]))


if __name__ == "__main__":
    Forwarder(socket.socket(fileno=int(sys.argv[1]))).run()
