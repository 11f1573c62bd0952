"""The containers of one project, as its supervisor handles them.

Comes in:  ContainerSpecs and ids, on one asyncio loop.
Goes out:  states and exit records; ``on_exit`` is called for each container that ends.
Not here:  networks (plugged in between ``create`` and ``start``), restart decisions, images.

    spawner <---- requests ---- Runtime ----- one connection each -----> monitors
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import errno
import json
import os
import select
import signal as signals
import socket
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from runtime import state as records
from runtime.cgroup import apply as cgroup
from runtime.cgroup.layout import find, group
from runtime.errors import RuntimeFailure
from runtime.kernel import processes
from runtime.process import confinement, line
from runtime.process.messages import receive, revive, send, send_text
from runtime.process.spawner import write_status
from runtime.process.task import pack, task
from runtime.process.warm import Warm
from runtime.spec import ContainerSpec, ContainerState, ExecResult, ExecSpec, ExitRecord, from_json, to_json
from runtime.state import Place

OnExit = Callable[[str, ExitRecord], None]
_ENTRUSTED = 6  # besides the master of a terminal
_ADOPTION = 1.0  # seconds that living monitors have to introduce themselves


class _MonitorDied(RuntimeFailure):
    """Nobody is left to answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Created:
    """A container at its gate.

    netns:  path of its network namespace, to be plugged into.
    master: of its pty when stdio is "pass" and it has a tty; the caller's to close.
    """

    state: ContainerState
    netns: Path
    master: int | None = None
    warnings: tuple[str, ...] = ()


@dataclass(slots=True)
class _Link:
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


class Runtime:
    """The containers of one project. One per supervisor; one asyncio loop, no threads."""

    def __init__(
        self, run: Path, data: Path, *, revive: Sequence[str], on_exit: OnExit, warm: Warm | None = None
    ) -> None:
        """run: RUN/<project>; data: DATA/projects/<project>; revive: argv that starts a supervisor again.

        warm: a spawner that was started earlier, to be used when the project has none yet.
        """
        self._warm = warm
        self.run, self.data = run, data
        self._revive, self._on_exit = list(revive), on_exit
        self._links: dict[str, _Link] = {}
        self._spawner: socket.socket | None = None
        self._spawned: subprocess.Popen[bytes] | None = None
        self._server: socket.socket | None = None
        self._known = asyncio.Event()  # set whenever somebody introduced itself
        self._guests: set[socket.socket] = set()
        self._closing = False

    # --- beginning and end

    async def open(self) -> None:
        """Listen for monitors and have a spawner: the one that outlived the last supervisor, or a new one."""
        for directory in (self.run / "containers", self.data / "containers"):
            directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._loop = asyncio.get_running_loop()
        processes.prctl(processes.PR_SET_CHILD_SUBREAPER, 1)
        self._server = line.listen(self.run)
        self._loop.add_reader(self._server, self._accept)
        free = line.lock(self.run / "spawner.lock")
        if free is None:
            await self._until(lambda: self._spawner is not None, _ADOPTION)
        else:
            os.close(free)
        if self._spawner is None:
            self._start_spawner()
        elif self._warm is not None:
            self._warm.cancel()
            self._warm = None

    async def adopt(self) -> list[ContainerState]:
        """Find every container again after a takeover; one that ended meanwhile is "exited"."""
        states = {state.id: state for _, state in records.containers(self.run, self.data)}
        running = {id for id, state in states.items() if state.status in ("running", "paused")}
        await self._until(lambda: running <= self._links.keys(), 0.3)
        for id in running - self._links.keys():
            self._ask_adoption(id, [])
        await self._until(lambda: running <= self._links.keys(), _ADOPTION)
        return [
            self._links[id].state if id in self._links else records.read(self.run, self.data, id)
            for id in states
        ]

    async def close(self) -> None:
        """End the spawner, after it has emptied the trash; only when no container runs."""
        self._closing = True
        self._tell_spawner({"do": "sweep"})
        self._tell_spawner({"do": "close"})
        spawner, self._spawner = self._spawner, None
        if spawner is not None:
            self._loop.remove_reader(spawner)
            await self._gone(spawner)
            spawner.close()
        if self._spawned is not None:
            self._spawned.wait()
        for link in list(self._links.values()):
            self._drop(link)
        for guest in self._guests:
            self._loop.remove_reader(guest)
            guest.close()
        if self._server is not None:
            self._loop.remove_reader(self._server)
            self._server.close()
        with contextlib.suppress(OSError):
            (self.data / "trash").rmdir()
        for name in (line.SOCKET, "spawner.lock", "revive.lock"):
            (self.run / name).unlink(missing_ok=True)

    # --- the life of a container

    async def create(self, spec: ContainerSpec, passed: Sequence[int] = ()) -> Created:
        """Make ``spec`` up to its gate; also for each further start of the same id (its upper layer is kept).

        passed: three descriptors when stdio is "pass" without a tty; they stay the caller's.
        Raises RuntimeFailure; then nothing of this attempt is left but the record.
        """
        place = Place(self.run, self.data, spec.id)
        place.record.mkdir(parents=True, exist_ok=True, mode=0o700)
        place.kept.mkdir(parents=True, exist_ok=True, mode=0o711)
        records.write_json(place.kept / "spec.json", spec)
        (place.record / "seccomp").write_bytes(confinement.of(spec))
        try:
            link, message = await self._request_creation(spec, passed)
        except _MonitorDied:  # or the spawner, with the request in its hands
            link, message = await self._request_creation(spec, passed)
        link.state = from_json(ContainerState, message["created"])
        self._keep(link, spec)
        master = link.handed.pop() if link.handed and spec.stdio == "pass" else None
        return Created(
            state=link.state,
            netns=Path(f"/proc/{link.state.pid}/ns/net"),
            master=master,
            warnings=tuple(message["warnings"]),
        )

    async def _request_creation(
        self, spec: ContainerSpec, passed: Sequence[int]
    ) -> tuple[_Link, dict[str, Any]]:
        asked = pack(task(spec, Place(self.run, self.data, spec.id)))
        link, theirs = self._link(spec)
        try:
            self._tell_spawner(asked, [theirs.fileno(), *passed])
        finally:
            theirs.close()
        return link, await self._reply(link)

    async def start(self, id: str) -> ContainerState:
        """Open the gate; returns when execve(2) has succeeded.

        Raises NotExecutable, CommandNotFound or RuntimeFailure; the container is as if never started.
        """
        link = self._links.get(id)
        if link is None:
            raise RuntimeFailure(f"container {id[:12]} has not been created")
        link.started = True
        send(link.channel, {"do": "start"})
        try:
            message = await self._reply(link)
        except RuntimeFailure:
            link.started = False
            raise
        link.state = from_json(ContainerState, message["started"])
        return link.state

    async def signal(self, id: str, signum: int) -> None:
        """Send ``signum`` to pid 1. Raises RuntimeFailure when the container does not run."""
        link = self._links.get(id)
        state = link.state if link else records.read(self.run, self.data, id)
        try:
            pidfd = os.pidfd_open(state.pid) if state.pid else -1
        except ProcessLookupError:
            pidfd = -1
        if pidfd < 0:
            raise RuntimeFailure(f"container '{state.name}' is not running", exit_code=1)
        try:
            if records.alive(state.pid, state.start_time):
                with contextlib.suppress(ProcessLookupError):
                    signals.pidfd_send_signal(pidfd, signum)
        finally:
            os.close(pidfd)

    async def freeze(self, id: str, *, frozen: bool) -> None:
        """Pause a running container, or let a paused one go on; its state says "paused" meanwhile."""
        place = Place(self.run, self.data, id)
        state = records.read(self.run, self.data, id)
        wanted = "running" if frozen else "paused"
        if state.status != wanted:
            raise RuntimeFailure(f"container '{state.name}' is not {wanted}", exit_code=1)
        parent = records.read_spec(self.data, id).limits.parent
        cgroup.freeze(group(find(), self.run.name, id, parent), frozen=frozen)
        records.write_json(
            place.record / "state.json", dataclasses.replace(state, status="paused" if frozen else "running")
        )

    async def wait(self, id: str) -> ExitRecord:
        """Wait for the end of a container that runs, or tell how it ended."""
        link = self._links.get(id)
        if link is not None:
            return await asyncio.shield(link.exited)
        record = records.read(self.run, self.data, id).exit
        if record is None:
            raise RuntimeFailure(f"container {id[:12]} has not been started")
        return record

    async def execute(self, id: str, spec: ExecSpec) -> ExecResult:
        """Run a command in the container, done by the spawner; output is at most 4096 bytes.

        Raises NotExecutable or CommandNotFound as a start does, RuntimeFailure when it does not run.
        """
        message = await self._ask({"do": "exec", "id": id, "exec": to_json(spec)})
        if message is None:  # the spawner may have died with the request in its hands
            message = await self._ask({"do": "exec", "id": id, "exec": to_json(spec)})
        if message is None:
            raise RuntimeFailure("the process that runs commands in containers died; try again")
        if "error" in message:
            raise revive(message["error"])
        return from_json(ExecResult, message["result"])

    async def _ask(self, request: dict[str, Any]) -> dict[str, Any] | None:
        """Send a request with a connection for its answer; None when that was closed without one."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setblocking(False)
        try:
            self._tell_spawner(request, [theirs.fileno()])
        finally:
            theirs.close()
        try:
            await self._readable(ours)
            return receive(ours)[0]
        finally:
            ours.close()

    def entrust(self, id: str, fds: Sequence[int]) -> None:
        """Have the container's monitor hold duplicates of ``fds`` (at most 6), instead of earlier ones.

        They outlive this process: the next one finds them with ``entrusted`` after ``adopt``. ``fds`` stay
        the caller's. Nothing happens when the container neither runs nor waits at its gate.
        """
        link = self._links.get(id)
        if link is None:
            return
        assert len(fds) <= _ENTRUSTED, "a message takes eight descriptors"
        link.entrusted, before = [os.dup(fd) for fd in fds], link.entrusted
        for fd in before:
            os.close(fd)
        self._hand_over(link)

    def entrusted(self, id: str) -> list[int]:
        """Duplicates of what was entrusted to the container's monitor; the caller's to close."""
        link = self._links.get(id)
        return [os.dup(fd) for fd in link.entrusted] if link else []

    def _hand_over(self, link: _Link) -> None:
        with contextlib.suppress(OSError):  # a monitor that died: the next one gets them
            send(link.channel, {"do": "keep"}, link.entrusted)

    async def discard(self, id: str) -> None:
        """Take back a container that waits at its gate, such as when its network could not be had."""
        link = self._links.get(id)
        if link is None or link.started:
            return
        send(link.channel, {"do": "discard"})
        await self._gone(link.channel)
        self._drop(link)

    async def remove(self, id: str) -> None:
        """Remove everything of a container that does not run; large trees are deleted later. Idempotent."""
        if id in self._links:
            await self.discard(id)
        if id in self._links and not self._links[id].exited.done():
            raise RuntimeFailure(f"container {id[:12]} is running", hint="stop it first")
        place = Place(self.run, self.data, id)
        with contextlib.suppress(RuntimeFailure):
            parent = records.read_spec(self.data, id).limits.parent
            await self._remove_group(id, parent)
        if place.record.exists():
            _remove_record(place.record)
        if place.kept.exists():
            trash = self.data / "trash"
            trash.mkdir(exist_ok=True, mode=0o700)
            place.kept.rename(trash / f"{id[:12]}-{time.time_ns()}")
            self._tell_spawner({"do": "sweep"})

    # --- inside

    async def _remove_group(self, id: str, parent: str) -> None:
        """The monitor is about to do the same: whoever comes second finds nothing."""
        for _ in range(100):
            try:
                cgroup.remove(group(find(), self.run.name, id, parent), patience=0.0)
                return
            except OSError as error:
                if error.errno != errno.EBUSY:
                    raise
                await asyncio.sleep(0.01)

    def _link(self, spec: ContainerSpec) -> tuple[_Link, socket.socket]:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setblocking(False)
        state = ContainerState(id=spec.id, name=spec.name, status="created")
        link = _Link(spec.id, ours, state, self._loop.create_future())
        self._links[spec.id] = link
        self._loop.add_reader(ours, self._hear, link)
        return link, theirs

    async def _reply(self, link: _Link) -> dict[str, Any]:
        link.reply = self._loop.create_future()
        message = await link.reply
        if "error" in message:
            self._drop(link)
            raise revive(message["error"])
        if "died" in message:
            raise _MonitorDied("the monitor of the container died")
        return message

    def _hear(self, link: _Link) -> None:
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
                self._keep(link, records.read_spec(self.data, link.id))
            if link.entrusted:
                self._hand_over(link)
        elif "exited" in message:
            self._ended(link, from_json(ExitRecord, message["exited"]))
        elif link.reply is not None and not link.reply.done():
            link.reply.set_result(message)

    def _ended(self, link: _Link, record: ExitRecord) -> None:
        self._drop(link)
        if not link.exited.done():
            link.exited.set_result(record)
            self._on_exit(link.id, record)

    def _lost(self, link: _Link) -> None:
        """A monitor died or ended: answer who waits, and have its container adopted when that still runs."""
        self._drop(link, close_kept=False)
        if link.reply is not None and not link.reply.done():
            link.release()
            link.reply.set_result({"died": True})
            return
        if not link.started or self._closing:
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
        self._ask_adoption(link.id, master, link)

    def _watch_orphan(self, link: _Link) -> None:
        """Pid 1 may be our child now (when the spawner died before its monitor): then we learn its status."""
        try:
            pidfd = os.pidfd_open(link.state.pid)
        except ProcessLookupError:
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

    def _ask_adoption(self, id: str, master: Sequence[int], before: _Link | None = None) -> None:
        """Have the spawner fork a monitor for a container that has none; it may do so by itself as well."""
        spec = records.read_spec(self.data, id)
        link, theirs = self._link(spec)
        link.started = True
        link.state = before.state if before else records.read(self.run, self.data, id)
        if before is not None:
            link.exited, link.kept, link.entrusted = before.exited, before.kept, before.entrusted
        try:
            self._tell_spawner({"do": "adopt", "id": id}, [theirs.fileno(), *master[:1]])
        finally:
            theirs.close()

    def _keep(self, link: _Link, spec: ContainerSpec) -> None:
        """Hold pipes and terminal open, so that nothing in them is lost while no monitor has them."""
        if spec.stdio != "log":
            return
        if spec.tty:
            link.kept, link.handed = link.handed, []
            return
        flags = os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC
        record = Place(self.run, self.data, spec.id).record
        link.kept = [os.open(record / name, flags) for name in ("stdout", "stderr")]

    def _drop(self, link: _Link, *, close_kept: bool = True) -> None:
        self._loop.remove_reader(link.channel)
        link.channel.close()
        if self._links.get(link.id) is link:
            del self._links[link.id]
        handed, link.handed = link.handed, []
        for fd in handed:
            os.close(fd)
        if close_kept:
            link.release()

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
        if message is not None and "spawner" in message and self._spawner is None:
            self._use_spawner(guest)
        elif message is not None and "monitor" in message:
            self._readmit(guest, message, fds)
        else:
            guest.close()  # somebody who only looked whether we are there
        self._known.set()

    def _readmit(self, guest: socket.socket, message: dict[str, Any], fds: list[int]) -> None:
        id = message["monitor"]
        before = self._links.get(id)
        exited = before.exited if before else self._loop.create_future()
        split = len(fds) - message["kept"]
        fds, entrusted = fds[:split], fds[split:]
        link = _Link(id, guest, from_json(ContainerState, message["state"]), exited, handed=fds, started=True)
        link.entrusted = entrusted
        spec = records.read_spec(self.data, id)
        if spec.tty and not fds and before is not None and before.kept:
            send(guest, {"do": "master"}, before.kept[:1])
            link.handed, before.kept = before.kept, []
        if before is not None and not entrusted and before.entrusted:
            link.entrusted, before.entrusted = before.entrusted, []
            self._hand_over(link)
        if before is not None:
            self._drop(before)
        self._links[id] = link
        self._keep(link, spec)
        self._loop.add_reader(guest, self._hear, link)

    def _start_spawner(self) -> None:
        warm, self._warm = self._warm or Warm(), None
        self._spawned = warm.process
        task = {"run": str(self.run), "data": str(self.data), "revive": self._revive}
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # killed already: its end is heard
            send(warm.channel, task)
        self._use_spawner(warm.channel)

    def _use_spawner(self, channel: socket.socket) -> None:
        self._spawner = channel
        channel.setblocking(False)
        self._loop.add_reader(channel, self._spawner_lost)

    def _spawner_lost(self) -> None:
        """It never speaks after its introduction, so this is its end: start another one."""
        assert self._spawner is not None
        self._loop.remove_reader(self._spawner)
        self._spawner.close()
        self._spawner = None
        if self._spawned is not None:
            self._spawned.wait()
            self._spawned = None
        if not self._closing:
            self._start_spawner()

    def _tell_spawner(self, message: dict[str, Any] | bytes, fds: Sequence[int] = ()) -> None:
        """Requests are small and the spawner forks at once, so its socket is never full for long."""
        for _ in range(2):
            if self._spawner is None:
                return
            try:
                while True:
                    try:
                        text = message if isinstance(message, bytes) else json.dumps(message).encode()
                        send_text(self._spawner, text, fds)
                        return
                    except BlockingIOError:
                        select.select([], [self._spawner], [], 1.0)
            except (BrokenPipeError, ConnectionResetError):
                self._spawner_lost()

    async def _until(self, done: Callable[[], bool], seconds: float) -> None:
        """Wait for introductions until ``done`` or the time is up."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while not done():
                    self._known.clear()
                    await self._known.wait()

    async def _readable(self, connection: socket.socket) -> None:
        ready: asyncio.Future[None] = self._loop.create_future()
        self._loop.add_reader(connection, _wake, ready)
        try:
            await ready
        finally:
            self._loop.remove_reader(connection)

    async def _gone(self, connection: socket.socket) -> None:
        """Wait until the other side has closed."""
        self._loop.remove_reader(connection)
        while True:
            await self._readable(connection)
            try:
                if receive(connection)[0] is None:
                    return
            except OSError:
                return


def _wake(ready: asyncio.Future[None]) -> None:
    if not ready.done():
        ready.set_result(None)


def _remove_record(directory: Path) -> None:
    """Delete RUN/<project>/containers/<id>: a handful of small files and an empty mount point."""
    for entry in os.scandir(directory):
        if entry.is_dir(follow_symlinks=False):
            Path(entry.path).rmdir()
        else:
            Path(entry.path).unlink()
    directory.rmdir()
