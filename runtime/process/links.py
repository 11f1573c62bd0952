"""A Runtime's connections to the monitors of its containers.

Comes in:  messages of monitors; monitors (and a spawner) that come to a new supervisor.
Goes out:  answers to who waits, exit records; the adoption of containers whose monitor died.
Not here:  what is asked of a container (``runtime.container``), the spawner's connection (``servant``).
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from runtime import state as records
from runtime.errors import RuntimeFailure
from runtime.process import line
from runtime.process.messages import receive, revive, send
from runtime.process.servant import Servant
from runtime.process.spawner import write_status
from runtime.spec import ContainerSpec, ContainerState, ExitRecord, from_json
from runtime.state import Place

OnExit = Callable[[str, ExitRecord], None]


class MonitorDied(RuntimeFailure):
    """Nobody is left to answer."""


@dataclass(slots=True)
class Link:
    """The connection to one monitor.

    kept: descriptors that keep pipes and terminal alive without it.
    entrusted: our duplicates of what it holds for us.
    """

    id: str
    channel: socket.socket
    state: ContainerState
    exited: asyncio.Future[ExitRecord]
    reply: asyncio.Future[dict[str, Any]] | None = None
    handed: list[int] = field(default_factory=list)
    kept: list[int] = field(default_factory=list)
    entrusted: list[int] = field(default_factory=list)
    started: bool = False

    def release(self) -> None:
        """Close what is held for the monitor."""
        fds = self.kept + self.entrusted
        self.kept, self.entrusted = [], []
        for fd in fds:
            os.close(fd)


class Links:
    """One Link per container that runs or waits at its gate; one asyncio loop."""

    def __init__(self, run: Path, data: Path, spawner: Servant, on_exit: OnExit) -> None:
        self.run, self.data = run, data
        self._spawner, self._on_exit = spawner, on_exit
        self.by_id: dict[str, Link] = {}
        self.closing = False
        self._server: socket.socket | None = None
        self._known = asyncio.Event()  # set whenever somebody introduced itself
        self._guests: set[socket.socket] = set()

    def listen(self) -> None:
        """Open the door at which monitors and spawner report to a new supervisor."""
        self._loop = asyncio.get_running_loop()
        self._server = line.listen(self.run)
        self._loop.add_reader(self._server, self._accept)

    def close(self) -> None:
        """Close everything; monitors that still live notice it."""
        for link in list(self.by_id.values()):
            self.drop(link)
        for guest in self._guests:
            self._loop.remove_reader(guest)
            guest.close()
        if self._server is not None:
            self._loop.remove_reader(self._server)
            self._server.close()

    def add(self, spec: ContainerSpec) -> tuple[Link, socket.socket]:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setblocking(False)
        state = ContainerState(id=spec.id, name=spec.name, status="created")
        link = Link(spec.id, ours, state, self._loop.create_future())
        self.by_id[spec.id] = link
        self._loop.add_reader(ours, self._hear, link)
        return link, theirs

    async def reply(self, link: Link) -> dict[str, Any]:
        link.reply = self._loop.create_future()
        message = await link.reply
        if "error" in message:
            self.drop(link)
            raise revive(message["error"])
        if "died" in message:
            raise MonitorDied("the monitor of the container died")
        return message

    def keep(self, link: Link, spec: ContainerSpec) -> None:
        """Hold pipes and terminal open, so that nothing in them is lost while no monitor has them."""
        if spec.stdio != "log":
            return
        if spec.tty:
            link.kept, link.handed = link.handed, []
            return
        flags = os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC
        record = Place(self.run, self.data, spec.id).record
        link.kept = [os.open(record / name, flags) for name in ("stdout", "stderr")]

    def drop(self, link: Link, *, close_kept: bool = True) -> None:
        """Forget a connection. Idempotent."""
        if link.channel.fileno() >= 0:
            self._loop.remove_reader(link.channel)
            link.channel.close()
        if self.by_id.get(link.id) is link:
            del self.by_id[link.id]
        handed, link.handed = link.handed, []
        for fd in handed:
            os.close(fd)
        if close_kept:
            link.release()

    def hand_over(self, link: Link) -> None:
        with contextlib.suppress(OSError):  # a monitor that died: the next one gets them
            send(link.channel, {"do": "keep"}, link.entrusted)

    def ask_adoption(self, id: str, master: Sequence[int], before: Link | None = None) -> None:
        """Have the spawner fork a monitor for a container that has none; it may do so by itself as well."""
        spec = records.read_spec(self.data, id)
        link, theirs = self.add(spec)
        link.started = True
        link.state = before.state if before else records.read(self.run, self.data, id)
        if before is not None:
            link.exited, link.kept, link.entrusted = before.exited, before.kept, before.entrusted
        try:
            with contextlib.suppress(RuntimeFailure):  # no spawner can be had: the container runs on without
                self._spawner.tell({"do": "adopt", "id": id}, [theirs.fileno(), *master[:1]])
        finally:
            theirs.close()

    async def until(self, done: Callable[[], bool], seconds: float) -> None:
        """Wait for introductions until ``done`` or the time is up."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while not done():
                    self._known.clear()
                    await self._known.wait()

    def _hear(self, link: Link) -> None:
        """One message of a monitor, or its end."""
        try:
            message, fds = receive(link.channel)
        except BlockingIOError:
            return
        except OSError:
            message, fds = None, []
        link.handed += fds
        if message is None:
            self._lost(link)
        elif "monitor" in message:  # the new monitor of a container that we asked to have adopted
            link.state = from_json(ContainerState, message["state"])
            if not link.kept:
                self.keep(link, records.read_spec(self.data, link.id))
            if link.entrusted:
                self.hand_over(link)
        elif "exited" in message:
            self._ended(link, from_json(ExitRecord, message["exited"]))
        elif link.reply is not None and not link.reply.done():
            link.reply.set_result(message)

    def _ended(self, link: Link, record: ExitRecord) -> None:
        self.drop(link)
        if not link.exited.done():
            link.exited.set_result(record)
            self._on_exit(link.id, record)

    def _lost(self, link: Link) -> None:
        """A monitor died or ended: answer who waits, and have its container adopted when that still runs."""
        self.drop(link, close_kept=False)
        if link.reply is not None and not link.reply.done():
            link.release()
            link.reply.set_result({"died": True})
            return
        if not link.started or self.closing:
            link.release()
            return
        self._reap(link.state.monitor)
        record = records.read(self.run, self.data, link.id).exit
        if record is not None:
            link.release()
            self._ended(link, record)
            return
        self._watch_orphan(link)
        master = [fd for fd in link.kept if os.isatty(fd)]
        self.ask_adoption(link.id, master, link)

    def _watch_orphan(self, link: Link) -> None:
        """Pid 1 may be our child now (when the spawner died before its monitor): then we learn its status."""
        try:
            pidfd = os.pidfd_open(link.state.pid)
        except OSError:  # ESRCH; EINVAL or ENOENT from some kernels while it is being reaped
            self._reap_orphan(link.id, link.state.pid)
            return
        self._loop.add_reader(pidfd, self._orphan_ended, pidfd, link.id, link.state.pid)

    def _orphan_ended(self, pidfd: int, id: str, pid: int) -> None:
        self._loop.remove_reader(pidfd)
        os.close(pidfd)
        self._reap_orphan(id, pid)

    def _reap_orphan(self, id: str, pid: int) -> None:
        with contextlib.suppress(ChildProcessError):
            done, status = os.waitpid(pid, os.WNOHANG)
            if done:
                write_status(Place(self.run, self.data, id), pid, status)

    def _reap(self, pid: int) -> None:
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, os.WNOHANG)

    def _accept(self) -> None:
        """A monitor or a spawner that has lost its supervisor comes to us; only our own user is heard."""
        assert self._server is not None
        try:
            guest, _ = self._server.accept()
        except BlockingIOError:
            return
        guest.setblocking(False)
        if line.peer(guest)[1] != os.geteuid():
            guest.close()
            return
        self._guests.add(guest)
        self._loop.add_reader(guest, self._welcome, guest)

    def _welcome(self, guest: socket.socket) -> None:
        self._loop.remove_reader(guest)
        self._guests.discard(guest)
        try:
            message, fds = receive(guest)
        except OSError:
            message, fds = None, []
        if message is not None and "spawner" in message and self._spawner.channel is None:
            self._spawner.use(guest)
        elif message is not None and "monitor" in message:
            self._readmit(guest, message, fds)
        else:
            guest.close()  # somebody who only looked whether we are there
        self._known.set()

    def _readmit(self, guest: socket.socket, message: dict[str, Any], fds: list[int]) -> None:
        id = message["monitor"]
        before = self.by_id.get(id)
        exited = before.exited if before else self._loop.create_future()
        split = len(fds) - message["kept"]
        fds, entrusted = fds[:split], fds[split:]
        link = Link(id, guest, from_json(ContainerState, message["state"]), exited, handed=fds, started=True)
        link.entrusted = entrusted
        spec = records.read_spec(self.data, id)
        if spec.tty and not fds and before is not None and before.kept:
            send(guest, {"do": "master"}, before.kept[:1])
            link.handed, before.kept = before.kept, []
        if before is not None and not entrusted and before.entrusted:
            link.entrusted, before.entrusted = before.entrusted, []
            self.hand_over(link)
        if before is not None:
            self.drop(before)
        self.by_id[id] = link
        self.keep(link, spec)
        self._loop.add_reader(guest, self._hear, link)
