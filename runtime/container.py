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
import os
import signal as signals
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runtime import state as records
from runtime.cgroup import apply as cgroup
from runtime.cgroup.layout import find, group
from runtime.errors import RuntimeFailure
from runtime.kernel import processes
from runtime.process import confinement, line
from runtime.process.links import Link, Links, MonitorDied, OnExit
from runtime.process.messages import revive, send
from runtime.process.servant import Servant, gone
from runtime.process.task import pack, task
from runtime.process.warm import Warm
from runtime.spec import ContainerSpec, ContainerState, ExecResult, ExecSpec, ExitRecord, from_json, to_json
from runtime.state import Place

_ENTRUSTED = 6  # besides the master of a terminal
_ADOPTION = 1.0  # seconds that living monitors have to introduce themselves


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


class Runtime:
    """The containers of one project. One per supervisor; one asyncio loop, no threads."""

    def __init__(
        self, run: Path, data: Path, *, revive: Sequence[str], on_exit: OnExit, warm: Warm | None = None
    ) -> None:
        """run: RUN/<project>; data: DATA/projects/<project>; revive: argv that starts a supervisor again.

        warm: a spawner that was started earlier, to be used when the project has none yet.
        """
        self.run, self.data = run, data
        self._spawner = Servant(run, data, revive, warm)
        self._links = Links(run, data, self._spawner, on_exit)

    # --- beginning and end

    async def open(self) -> None:
        """Listen for monitors and have a spawner: the one that outlived the last supervisor, or a new one."""
        for directory in (self.run / "containers", self.data / "containers"):
            records.close(directory)
        processes.set_subreaper(True)
        self._links.listen()
        free = line.lock(self.run / "spawner.lock")
        if free is None:
            await self._links.until(lambda: self._spawner.channel is not None, _ADOPTION)
        else:
            os.close(free)
        self._spawner.begin()

    async def adopt(self) -> list[ContainerState]:
        """Find every container again after a takeover; one that ended meanwhile is "exited"."""
        states = {state.id: state for _, state in records.containers(self.run, self.data)}
        running = {id for id, state in states.items() if state.status in ("running", "paused")}
        await self._links.until(lambda: running <= self._links.by_id.keys(), 0.3)
        for id in running - self._links.by_id.keys():
            self._links.ask_adoption(id, [])
        await self._links.until(lambda: running <= self._links.by_id.keys(), _ADOPTION)
        return [
            self._links.by_id[id].state if id in self._links.by_id else records.read(self.run, self.data, id)
            for id in states
        ]

    async def close(self) -> None:
        """End the spawner, after it has emptied the trash; only when no container runs."""
        self._links.closing = True
        await self._spawner.close()
        self._links.close()
        with contextlib.suppress(OSError):
            (self.data / "trash").rmdir()
        for name in (line.SOCKET, line.EXEC_SOCKET, "spawner.lock", "revive.lock"):
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
        except MonitorDied:  # or the spawner, with the request in its hands
            link, message = await self._request_creation(spec, passed)
        link.state = from_json(ContainerState, message["created"])
        self._links.keep(link, spec)
        master = link.handed.pop() if link.handed and spec.stdio == "pass" else None
        return Created(
            state=link.state,
            netns=Path(f"/proc/{link.state.pid}/ns/net"),
            master=master,
            warnings=tuple(message["warnings"]),
        )

    async def _request_creation(
        self, spec: ContainerSpec, passed: Sequence[int]
    ) -> tuple[Link, dict[str, Any]]:
        asked = pack(task(spec, Place(self.run, self.data, spec.id)))
        link, theirs = self._links.add(spec)
        try:
            self._spawner.tell(asked, [theirs.fileno(), *passed])
        except RuntimeFailure:
            self._links.drop(link)
            raise
        finally:
            theirs.close()
        return link, await self._links.reply(link)

    async def start(self, id: str) -> ContainerState:
        """Open the gate; returns when execve(2) has succeeded.

        Raises NotExecutable, CommandNotFound or RuntimeFailure; the container is as if never started.
        """
        link = self._links.by_id.get(id)
        if link is None:
            raise RuntimeFailure(f"container {id[:12]} has not been created")
        link.started = True
        send(link.channel, {"do": "start"})
        try:
            message = await self._links.reply(link)
        except RuntimeFailure:
            link.started = False
            raise
        link.state = from_json(ContainerState, message["started"])
        return link.state

    def leave(self, id: str, master: int) -> None:
        """Give the monitor the terminal of a container that runs with stdio "pass": it logs what comes.

        The caller of the container has left; ``master`` stays the caller's.
        """
        link = self._links.by_id.get(id)
        if link is not None:
            send(link.channel, {"do": "master"}, [master])

    def terminal(self, id: str) -> int:
        """The master of the terminal of a container with stdio "log"; stays ours. Raises RuntimeFailure."""
        link = self._links.by_id.get(id)
        masters = [fd for fd in (*link.kept, *link.handed) if os.isatty(fd)] if link is not None else []
        if not masters:
            raise RuntimeFailure(f"container {id[:12]} has no terminal", exit_code=1)
        return masters[0]

    async def signal(self, id: str, signum: int) -> None:
        """Send ``signum`` to pid 1. Raises RuntimeFailure when the container does not run."""
        link = self._links.by_id.get(id)
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
        state = records.read(self.run, self.data, id)
        wanted = "running" if frozen else "paused"
        if state.status != wanted:
            raise RuntimeFailure(f"container '{state.name}' is not {wanted}", exit_code=1)
        self._set_frozen(state, frozen=frozen)

    def thaw(self, id: str) -> None:
        """Let a paused container go on, if it is one: a frozen process takes no signal, not even SIGKILL."""
        state = records.read(self.run, self.data, id)
        if state.status == "paused":
            self._set_frozen(state, frozen=False)

    def _set_frozen(self, state: ContainerState, *, frozen: bool) -> None:
        id = state.id
        parent = records.read_spec(self.data, id).limits.parent
        cgroup.freeze(group(find(), self.run.name, id, parent), frozen=frozen)
        records.write_json(
            Place(self.run, self.data, id).record / "state.json",
            dataclasses.replace(state, status="paused" if frozen else "running"),
        )

    async def wait(self, id: str) -> ExitRecord:
        """Wait for the end of a container that runs, or tell how it ended."""
        link = self._links.by_id.get(id)
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
        asked = {"do": "exec", "id": id}
        message = await self._spawner.ask(asked, to_json(spec))
        if message is None:  # the spawner may have died with the request in its hands
            message = await self._spawner.ask(asked, to_json(spec))
        if message is None:
            raise RuntimeFailure("the process that runs commands in containers died; try again")
        if "error" in message:
            raise revive(message["error"])
        return from_json(ExecResult, message["result"])

    def entrust(self, id: str, fds: Sequence[int]) -> None:
        """Have the container's monitor hold duplicates of ``fds`` (at most 6), instead of earlier ones.

        They outlive this process: the next one finds them with ``entrusted`` after ``adopt``. ``fds`` stay
        the caller's. Nothing happens when the container neither runs nor waits at its gate.
        """
        link = self._links.by_id.get(id)
        if link is None:
            return
        assert len(fds) <= _ENTRUSTED, "a message takes eight descriptors"
        link.entrusted, before = [os.dup(fd) for fd in fds], link.entrusted
        for fd in before:
            os.close(fd)
        self._links.hand_over(link)

    def entrusted(self, id: str) -> list[int]:
        """Duplicates of what was entrusted to the container's monitor; the caller's to close."""
        link = self._links.by_id.get(id)
        return [os.dup(fd) for fd in link.entrusted] if link else []

    async def discard(self, id: str) -> None:
        """Take back a container that waits at its gate, such as when its network could not be had."""
        link = self._links.by_id.get(id)
        if link is None or link.started:
            return
        send(link.channel, {"do": "discard"})
        await gone(link.channel)
        self._links.drop(link)

    async def remove(self, id: str) -> None:
        """Remove everything of a container that does not run; large trees are deleted later. Idempotent."""
        if id in self._links.by_id:
            await self.discard(id)
        if id in self._links.by_id and not self._links.by_id[id].exited.done():
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
            with contextlib.suppress(RuntimeFailure):  # the next spawner's first sweep will do
                self._spawner.tell({"do": "sweep"})

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


def _remove_record(directory: Path) -> None:
    """Delete RUN/<project>/containers/<id>: a handful of small files and an empty mount point.

    The spawner may be writing a status into it: then it is done once more.
    """
    for last in (False, False, True):
        for entry in os.scandir(directory):
            if entry.is_dir(follow_symlinks=False):
                Path(entry.path).rmdir()
            else:
                Path(entry.path).unlink(missing_ok=True)
        try:
            directory.rmdir()
            return
        except OSError as error:
            if last or error.errno != errno.ENOTEMPTY:
                raise
