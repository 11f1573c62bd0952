"""One container from its record to its end: start, health, restart policy, stop, removal.

Comes in:  a Launch, the rooms it is made with (Workshop).
Goes out:  effects by ``runtime`` and ``netns``; ``engine.json`` and events for everybody else.
Not here:  which containers there should be (``compose.plan``), in what order (``engine.execute``).
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import os
import signal
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from compose.engine import ground
from compose.engine.attach import Attachments
from compose.engine.chronicle import Note
from compose.engine.events import Emit, warning
from compose.engine.execute import FAILURES
from compose.engine.through import through
from compose.errors import ComposeError, StepFailed, sentence
from compose.model.project import Project
from compose.plan.launch import Launch
from runtime.container import Runtime
from runtime.errors import RuntimeFailure
from runtime.policy import health, restart
from runtime.spec import ContainerSpec, ExecResult, ExecSpec, ExitRecord
from runtime.state import write_json

_ENDING = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGABRT)


@dataclasses.dataclass(slots=True)
class Workshop:
    """What every keeper of a project works with.

    record: gives DATA/projects/<project>/containers/<id>; touch: wakes who waits in ``changed``.
    owner:  the container of the project in whose network namespace another one lives.
    """

    runtime: Runtime
    attachments: Attachments
    emit: Emit
    touch: Callable[[], None]
    record: Callable[[str], Path]
    volumes: Path
    owner: Callable[[Launch], Keeper | None]
    changed: Callable[[], Awaitable[None]]
    note: Note


class Keeper:
    """The one who looks after one container. All methods run on the supervisor's loop."""

    def __init__(self, launch: Launch, shop: Workshop, facts: dict[str, Any] | None = None) -> None:
        self.launch = launch
        self.shop = shop
        known = facts or {}
        self.health: str = known.get("health", "")
        self.health_log: list[dict[str, Any]] = known.get("health_log", [])
        self.restarts: int = known.get("restarts", 0)
        self.stopped: bool = known.get("stopped", False)
        self.ports: list[dict[str, Any]] = known.get("ports", [])
        self.exit: ExitRecord | None = None
        self.preparing = False  # its volumes are in use from here on
        self.prepared = False
        self.running = False
        self._sent = 0  # the last signal that somebody sent
        self.left = False  # whether the person at its terminal has gone and lets it run on
        self.started_at = 0.0
        self._health_task: asyncio.Task[None] | None = None
        self._restart_task: asyncio.Task[None] | None = None
        self._pause: asyncio.Future[None] | None = None  # what a restart waits for before it begins
        self._attempts = self.restarts

    @property
    def id(self) -> str:
        """64 hex digits."""
        return self.launch.spec.id

    @property
    def name(self) -> str:
        """The container's name."""
        return self.launch.spec.name

    @property
    def active(self) -> bool:
        """Running, about to run, or waiting for its restart."""
        return self.running or self.prepared or self._restart_task is not None

    # -- start --------------------------------------------------------------------------------------

    async def prepare(self, project: Project | None, passed: tuple[int, ...] = ()) -> int | None:
        """Make namespaces, root and network; pid 1 waits at the gate. Gives a pty's master, if asked for.

        Raises errors of the three packages; nothing is left behind then.
        """
        if project is not None:  # somebody asked for it: its restart policy begins anew
            await self._no_restart()
            if self.running:
                return None
            self.stopped = False
            self._attempts = self.restarts = 0
        self.preparing = True
        try:
            return await self._prepared(project, passed)
        finally:
            self.preparing = False

    async def _prepared(self, project: Project | None, passed: tuple[int, ...]) -> int | None:
        await ground.mount_volumes(self.launch, self.shop.volumes)
        spec = ground.prepare(self.launch, project, self.shop.volumes, self.shop.record(self.id))
        return await through(self._made(spec, passed))

    async def _made(self, spec: ContainerSpec, passed: tuple[int, ...]) -> int | None:
        attachments = self.shop.attachments
        created = await self.shop.runtime.create(attachments.held.into(spec), passed)
        self.prepared = True
        for text in created.warnings:
            self.shop.emit(warning(f"{self.name}: {text}"))
        try:
            self.ports = attachments.plug(self.launch, created.netns)
            self.shop.runtime.entrust(self.id, attachments.sockets(self.launch))
        except BaseException:
            await self.discard()
            raise
        return created.master

    async def open(self) -> None:
        """Open the gate; returns when the program runs and its ``post_start`` hooks have ended well."""
        if self.running:
            return
        await through(self._opened())
        for hook in self.launch.post_start:
            await self._hook(hook, "post_start")

    async def _opened(self) -> None:
        self.exit, self._sent = None, 0
        self.health = "starting" if self.launch.health else ""
        await self.shop.runtime.start(self.id)
        self.prepared, self.running = False, True
        self.started_at = time.time()
        self._save()
        self.shop.note("start", self.launch)
        self._watch_health()

    async def discard(self) -> None:
        """Undo ``prepare``: end the process at the gate, free its addresses and ports."""
        if not self.prepared:
            return
        self.prepared = False
        await through(self.shop.runtime.discard(self.id))
        self.shop.attachments.unplug(self.launch)

    async def _hook(self, hook: ExecSpec, kind: str) -> None:
        result = await self.shop.runtime.execute(self.id, hook)
        if result.code != 0:
            raise StepFailed(
                f"{kind} hook of '{self.launch.service}' exited with {result.code}",
                hint=result.output.strip().splitlines()[-1] if result.output.strip() else "",
            )

    # -- stop ---------------------------------------------------------------------------------------

    async def stop(self, timeout: float | None = None) -> None:
        """Run ``pre_stop``, send the stop signal, wait the grace period, then SIGKILL.

        timeout: seconds instead of the service's grace; negative waits for ever.
        """
        self.stopped = True
        await self._no_restart()
        self._save()
        if not self.running:
            return await self.discard()
        if self.launch.pre_stop:  # a hook cannot enter what is paused
            self.shop.runtime.thaw(self.id)
        for hook in self.launch.pre_stop:
            try:
                await self._hook(hook, "pre_stop")
            except StepFailed as error:
                self.shop.emit(warning(error.message))
        grace = self.launch.spec.stop_grace if timeout is None else timeout
        await self._signal(self.launch.spec.stop_signal)
        self.shop.runtime.thaw(self.id)  # after the signal, so that it is the first thing to be seen
        try:
            async with asyncio.timeout(None if grace < 0 else grace):
                await self._ended()
        except TimeoutError:
            await self._signal(signal.SIGKILL)
            await self._ended()
        self.shop.note("stop", self.launch)

    async def kill(self, signum: int) -> None:
        """Send a signal; an end by it counts as wanted, whatever the restart policy says."""
        if signum in (*_ENDING, self.launch.spec.stop_signal):
            self.stopped = True
            await self._no_restart()
            self._save()
        self._sent = signum
        await self._signal(signum)
        if signum == signal.SIGKILL:
            self.shop.runtime.thaw(self.id)

    async def _signal(self, signum: int) -> None:
        if self.running:
            self.shop.note("kill", self.launch, signal=int(signum))
            with contextlib.suppress(RuntimeFailure):  # it has just ended; its exit record is on the way
                await self.shop.runtime.signal(self.id, signum)

    async def _ended(self) -> None:
        if self.running:
            await self.shop.runtime.wait(self.id)

    async def remove(self, *, with_anonymous: bool) -> None:
        """Remove record, writable layer and, ``with_anonymous``, its anonymous volumes."""
        await self._no_restart()
        await through(self._removed(with_anonymous))

    async def _removed(self, with_anonymous: bool) -> None:
        self.shop.attachments.unplug(self.launch, for_good=True)
        ground.remove_files(self.launch)
        await self.shop.runtime.remove(self.id)
        self.shop.note("destroy", self.launch)
        if with_anonymous:
            ground.remove_anonymous(self.launch, self.shop.volumes)

    # -- what happens to it -------------------------------------------------------------------------

    def exited(self, record: ExitRecord) -> None:
        """Its pid 1 has ended: free the network, tell, and start it again if the policy says so."""
        if self._health_task is not None:
            self._health_task.cancel()
            self._health_task = None
        was_running, self.running = self.running, False
        self.exit = record
        if not was_running:
            return
        self.shop.attachments.unplug(self.launch)
        self.health = ""
        if self._sent and record.code == 128 + self._sent:
            self.stopped = True
        ran_for = time.time() - self.started_at
        if record.oom:
            self.shop.note("oom", self.launch)
        self.shop.note("die", self.launch, exitCode=record.code, execDuration=int(ran_for))
        if ran_for >= 10:
            self._attempts = 0
        delay = restart.decide(self.launch.restart, record, self._attempts, ran_for, self.stopped)
        if delay is not None:
            self._plan_restart(delay)
        self._save()
        self.shop.emit(self._exit_event(record, delay))
        self.shop.touch()

    def _exit_event(self, record: ExitRecord, delay: float | None) -> dict[str, Any]:
        return {
            "event": "exited",
            "id": self.id,
            "name": self.name,
            "service": self.launch.service,
            "number": self.launch.number,
            "code": record.code,
            "reason": record.reason,
            "oom": record.oom,
            "restarting": delay is not None,
            "stopped": self.stopped,
        }

    def schedule_restart(self) -> None:
        """After a takeover: start it again if it ended while nobody watched and its policy says so."""
        if self.exit is None or self.stopped:
            return
        delay = restart.decide(self.launch.restart, self.exit, self._attempts, 0.0, self.stopped)
        if delay is not None:
            self._plan_restart(delay)
        self._save()

    async def _restart(self, delay: float) -> None:
        """Start it again after ``delay`` seconds, unless ``_no_restart`` ends the pause before."""
        try:
            if await self._cut_short(delay):
                return
            self._attempts += 1
            self.restarts += 1
            await self._owner_runs()
            await self.prepare(None)
            await self.open()
            self.shop.emit({"event": "restart", "name": self.name, "service": self.launch.service})
        except FAILURES as error:
            await self.discard()
            self.shop.emit(warning(f"{self.name} cannot be restarted: {sentence(error)}"))
        finally:
            if self._restart_task is asyncio.current_task():  # else the next one is planned
                self._restart_task = self._pause = None
            if not self.running:
                self._save()
            self.shop.touch()

    async def _owner_runs(self) -> None:
        """Wait for a container about to start again, in whose network namespace this one lives."""
        while (owner := self.shop.owner(self.launch)) is not None and owner.active:
            if owner.running or owner.prepared:
                return
            await self.shop.changed()

    async def _cut_short(self, delay: float) -> bool:
        """Sit out the pause; whether it was ended before its time."""
        assert self._pause is not None
        try:
            await asyncio.wait_for(self._pause, delay)
        except TimeoutError:
            return False
        return True

    def _plan_restart(self, delay: float) -> None:
        self._pause = asyncio.get_running_loop().create_future()
        self._restart_task = asyncio.ensure_future(self._restart(delay))

    async def _no_restart(self) -> None:
        """End the pause before a restart; a restart that has begun is waited for, and then it runs."""
        while (task := self._restart_task) is not None and task is not asyncio.current_task():
            if self._pause is not None and not self._pause.done():
                self._pause.set_result(None)
            await asyncio.wait([task])

    # -- health -------------------------------------------------------------------------------------

    def resume(self, started_at: float) -> None:
        """After a takeover: it runs; watch its health again."""
        self.running = True
        self.started_at = started_at or time.time()
        self._watch_health()

    def _watch_health(self) -> None:
        if self.launch.health is not None:
            self._health_task = asyncio.ensure_future(self._probe())

    async def _probe(self) -> None:
        spec = self.launch.health
        assert spec is not None
        probe = ExecSpec(argv=spec.test, timeout=spec.timeout)
        started = time.monotonic()
        state, delay = health.next_state(spec, health.HealthState(), None, 0.0)
        while self.running:
            await asyncio.sleep(delay)
            result = await self._probed(probe)
            state, delay = health.next_state(spec, state, result, time.monotonic() - started)
            entry = {"at": time.time(), "code": result.code, "output": result.output}
            self.health_log = [*self.health_log, entry][-5:]
            if state.status != self.health and self.running:
                self.health = state.status
                self._save()
                self.shop.note(f"health_status: {state.status}", self.launch)
                self.shop.emit(
                    {
                        "event": "health",
                        "name": self.name,
                        "service": self.launch.service,
                        "health": state.status,
                    }
                )
                self.shop.touch()

    async def _probed(self, probe: ExecSpec) -> ExecResult:
        """Run the check once; a program that is not there is a failed check."""
        try:
            return await self.shop.runtime.execute(self.id, probe)
        except RuntimeFailure as error:
            return ExecResult(code=error.exit_code, output=error.message)

    def why_unhealthy(self) -> str:
        """The last probe's word, for an error message."""
        if not self.health_log:
            return ""
        last = self.health_log[-1]
        text = str(last["output"]).strip().splitlines()
        return f"its check exited with {last['code']}" + (f": {text[-1]}" if text else "")

    # -- records ------------------------------------------------------------------------------------

    def _save(self) -> None:
        """Write ``engine.json``; a full disk must not keep a container from being stopped or removed."""
        known = {
            "health": self.health,
            "health_log": self.health_log,
            "restarts": self.restarts,
            "stopped": self.stopped,
            "restarting": self._restart_task is not None and not self.running,
            "ports": self.ports,
        }
        try:
            write_json(self.shop.record(self.id) / "engine.json", known)
        except OSError as error:
            self.shop.emit(warning(f"the state of {self.name} cannot be written: {sentence(error)}"))


def new_id() -> str:
    """A fresh container id: 64 hex digits."""
    return os.urandom(32).hex()


def not_healthy(keeper: Keeper) -> ComposeError:
    """The error for a dependent of a container that is not and will not be healthy."""
    return ComposeError(
        f"dependency failed to start: container {keeper.name} is unhealthy", hint=keeper.why_unhealthy()
    )
