"""What a command can ask of the supervisor: one coroutine a verb.

Comes in:  a Call: the machine, JSON arguments, descriptors, where events go.
Goes out:  the ``result`` of the answer.
Not here:  decisions (``compose.plan``), effects (``compose.engine``).
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import os
import signal
import socket
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Any

from compose.engine import house, names, returning
from compose.engine.events import Emit, Event, step, warning
from compose.engine.execute import execute
from compose.engine.keeper import Keeper
from compose.engine.machine import ProjectMachine
from compose.engine.observe import observe
from compose.engine.oneoff import oneoff
from compose.errors import ComposeError, Several
from compose.load.bind import bind
from compose.model.project import Project
from compose.model.service import Condition
from compose.plan import teardown
from compose.plan.launch import ImageFacts
from compose.plan.networks import left_out, with_modes
from compose.plan.observed import ALIVE, Container, Observed
from compose.plan.reconcile import UpOptions, reconcile
from compose.plan.steps import Kind, Plan
from compose.plan.values import signal_number
from compose.supervisor import faulty
from runtime.spec import from_json
from runtime.state import write_json

SETTLED = 0.5  # seconds a container without a health check must have run to count as up


@dataclass(slots=True)
class Call:
    """One request under way. ``writing`` is held by verbs that change what exists."""

    machine: ProjectMachine
    arguments: dict[str, Any]
    emit: Emit
    writing: asyncio.Lock
    listeners: set[Callable[[Event], None]]
    fds: tuple[int, ...] = ()
    names: tuple[str, ...] = field(init=False)

    def __post_init__(self) -> None:
        self.names = tuple(self.arguments.get("services") or ())

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Events of containers (exits, health, restarts, warnings) go to this command as well."""
        self.listeners.add(self.emit)
        try:
            yield
        finally:
            self.listeners.discard(self.emit)

    def observe(self) -> Observed:
        """The machine now: what is on disk, but what is about to start again is "restarting"."""
        seen = observe(self.machine.places, self.machine.name)
        active = {keeper.id for keeper in self.machine.keepers.values() if keeper.active}
        containers = (
            dataclasses.replace(c, status="restarting") if c.id in active and c.status not in ALIVE else c
            for c in seen.containers
        )
        return dataclasses.replace(seen, containers=tuple(containers))

    def adopt_project(self) -> list[str]:
        """Take the project of the arguments as the current one; gives its start order."""
        machine, told = self.machine, self.arguments
        machine.project = house.apply(with_modes(bind(told["project"])), house.read(os.environ))
        for service, document in (told.get("images") or {}).items():
            machine.images[service] = from_json(ImageFacts, document)
        order = told.get("order")
        return list(order) if order else list(machine.project.services)

    @asynccontextmanager
    async def alone(self) -> Any:
        """No other request changes the project meanwhile; its events are this command's."""
        async with self.writing:
            with self.listening():
                yield


async def up(call: Call) -> dict[str, Any]:
    """Reconcile and execute; with ``wait`` return when all is running or healthy.

    arguments: project, order, images, options (fields of UpOptions), wait, wait_timeout, parallel.
    """
    async with call.alone():
        order = call.adopt_project()
        options = _options(UpOptions, call.arguments.get("options"))
        write_json(call.machine.run / "project.json", call.arguments["project"])
        options = dataclasses.replace(options, images={s: i.id for s, i in call.machine.images.items()})
        project = call.machine.project
        assert project is not None
        for text in left_out(project, order):
            call.emit(warning(text))
        plan = reconcile(project, order, call.observe(), options)
        _tell_orphans(call, plan)
        for name in plan.kept:
            call.emit(step("container", name, "Running"))
        call.machine.claim_names()
        names.refuse_of(call.machine.places, project, plan)
        call.machine.reserve(plan)
        try:
            with returning.announced(call.machine.run, plan):
                await execute(
                    plan, call.machine, call.emit, parallel=int(call.arguments.get("parallel") or 0)
                )
        finally:
            call.machine.release()
        if plan.kept:
            call.machine.attachments.look()
        if call.arguments.get("wait"):
            await _wait_all(call, tuple(order))
        return {"changed": len(plan.steps), "kept": list(plan.kept), "orphans": list(plan.orphans)}


async def _wait_all(call: Call, services: tuple[str, ...]) -> None:
    limit = call.arguments.get("wait_timeout") or None
    keepers = [keeper for name in services for keeper in call.machine.of(name)]
    try:
        async with asyncio.timeout(limit):
            await asyncio.gather(*(_until_up(call, keeper) for keeper in keepers))
    except TimeoutError:
        late = [k.name for k in keepers if not _is_up(k)]
        raise ComposeError(f"not ready after {limit} s: {', '.join(late)}", hint=_why_late(keepers)) from None


def _is_up(keeper: Keeper) -> bool:
    return keeper.running and (keeper.launch.health is None or keeper.health == "healthy")


def _why_late(keepers: list[Keeper]) -> str:
    words = [f"{k.name}: {k.why_unhealthy()}" for k in keepers if not _is_up(k) and k.why_unhealthy()]
    return "; ".join(words)


def _awaited_to_end(project: Project, service: str) -> bool:
    """Whether another service waits for ``service`` to complete: then its success is as good as running."""
    needs = (other.depends_on.get(service) for other in project.services.values())
    return any(need is not None and need.condition is Condition.COMPLETED for need in needs)


async def _until_up(call: Call, keeper: Keeper) -> None:
    machine = call.machine
    if keeper.launch.health is not None:
        if not _is_up(keeper):
            call.emit(step("container", keeper.name, "Waiting"))
            await machine.until_healthy(keeper)
            call.emit(step("container", keeper.name, "Healthy"))
        return
    assert machine.project is not None
    while (left := keeper.started_at + SETTLED - time.time() if keeper.running else None) is None or left > 0:
        if not keeper.active:
            code = keeper.exit.code if keeper.exit else None
            if code == 0 and _awaited_to_end(machine.project, keeper.launch.service):
                return
            raise ComposeError(
                f"container {keeper.name} exited ({code})",
                hint=f"see 'pycompose logs {keeper.launch.service}'",
            )
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(machine.changed(), left)


async def down(call: Call) -> dict[str, Any]:
    """Stop and remove; arguments: project, options (fields of DownOptions)."""
    async with call.alone():
        call.adopt_project()
        assert call.machine.project is not None
        options = _options(teardown.DownOptions, call.arguments.get("options"))
        plan = teardown.down(call.machine.project, call.observe(), options)
        _tell_orphans(call, plan)
        await execute(plan, call.machine, call.emit, keep_going=True)
        if not call.machine.keepers:
            call.machine.forget()
        return {"changed": len(plan.steps), "orphans": list(plan.orphans)}


async def start(call: Call) -> dict[str, Any]:
    """Start stopped containers of the named services."""
    async with call.alone():
        order = call.adopt_project()
        assert call.machine.project is not None
        plan = teardown.start(call.machine.project, order, _chosen(call))
        await execute(plan, call.machine, call.emit)
        if call.arguments.get("wait"):
            await _wait_all(call, call.names or tuple(call.machine.project.services))
        return {"changed": len(plan.steps)}


async def stop(call: Call) -> dict[str, Any]:
    """Stop running containers; arguments: services, timeout."""
    async with call.alone():
        plan = teardown.stop(_chosen(call), call.arguments.get("timeout"))
        await execute(plan, call.machine, call.emit, keep_going=True)
        return {"changed": len(plan.steps)}


async def restart(call: Call) -> dict[str, Any]:
    """Stop and start; arguments: project, order, services, timeout, no_deps."""
    async with call.alone():
        order = call.adopt_project()
        project = call.machine.project
        assert project is not None
        containers = _chosen(call)
        if call.names and not call.arguments.get("no_deps"):
            wanted = teardown.with_restarted_dependents(project, call.names)
            containers = [c for c in call.observe().containers if c.service in wanted and not c.oneoff]
        plan = teardown.restart(project, order, containers, call.arguments.get("timeout"))
        with returning.announced(call.machine.run, plan):
            await execute(plan, call.machine, call.emit)
        for item in plan.steps:
            if item.kind is Kind.START:
                call.machine.shop.note("restart", call.machine.named(item.id).launch)
        return {"changed": len(plan.steps)}


async def remove(call: Call) -> dict[str, Any]:
    """``rm``; arguments: services, stop, volumes, timeout."""
    async with call.alone():
        plan = teardown.remove(
            _chosen(call),
            stop_first=bool(call.arguments.get("stop")),
            timeout=call.arguments.get("timeout"),
            volumes=bool(call.arguments.get("volumes")),
        )
        await execute(plan, call.machine, call.emit, keep_going=True)
        return {"changed": len(plan.steps), "names": [s.name for s in plan.steps if s.kind == "remove"]}


async def kill(call: Call) -> dict[str, Any]:
    """Send a signal at once, whatever else is under way; arguments: services or ids, signal."""
    number = signal_number(str(call.arguments.get("signal") or "SIGKILL"))
    ids = call.arguments.get("ids") or [c.id for c in _chosen(call, oneoff=True)]
    keepers = [k for k in call.machine.keepers.values() if k.id in ids and k.active]
    with call.listening():
        for keeper in keepers:
            call.emit(step("container", keeper.name, "Killing"))
            await keeper.kill(number)
        if number == signal.SIGKILL:
            for keeper in keepers:
                while keeper.running:
                    await call.machine.changed()
        for keeper in keepers:
            call.emit(step("container", keeper.name, "Killed"))
    return {"changed": len(keepers)}


async def pause(call: Call) -> dict[str, Any]:
    """Freeze running containers."""
    return await _freeze(call, "running", "Paused", frozen=True)


async def unpause(call: Call) -> dict[str, Any]:
    """Thaw paused containers."""
    return await _freeze(call, "paused", "Unpaused", frozen=False)


async def _freeze(call: Call, status: str, word: str, *, frozen: bool) -> dict[str, Any]:
    verb = "pause" if frozen else "unpause"
    async with call.alone():
        chosen = [c for c in _chosen(call) if c.status in ("running", "paused")]
        for container in chosen:
            if container.status == status:
                await call.machine.runtime.freeze(container.id, frozen=frozen)
                call.emit(step("container", container.name, word))
                call.machine.shop.note(verb, call.machine.keepers[container.id].launch)
        state = "is already paused" if frozen else "is not paused"
        others = [ComposeError(f"container {c.name} {state}") for c in chosen if c.status != status]
        if others:
            raise Several(others)
        return {"changed": len(chosen)}


async def run(call: Call) -> dict[str, Any]:
    """One container of its own for one command; see ``engine.oneoff`` for the arguments."""
    order = call.adopt_project()
    return await oneoff(call.machine, order, call.arguments, call.fds, call.emit, call.writing)


async def leave(call: Call) -> dict[str, Any]:
    """The person has left the terminal of a ``run`` container; arguments: id. Its master comes along."""
    keeper = call.machine.named(str(call.arguments["id"]))
    call.machine.runtime.leave(keeper.id, call.fds[0])
    keeper.left = True
    call.machine.touch()
    return {}


async def terminal(call: Call) -> dict[str, Any]:
    """Hand over the master of a container's terminal; arguments: id. A socket that takes it comes along."""
    master = call.machine.runtime.terminal(str(call.arguments["id"]))
    with socket.socket(fileno=os.dup(call.fds[0])) as channel:
        socket.send_fds(channel, [b"m"], [master])
    return {}


async def events(call: Call) -> dict[str, Any]:
    """Stream what happens to containers until the command goes or nothing runs any more."""
    with call.listening():
        call.emit({"event": "watching"})
        while call.machine.busy or not call.arguments.get("until_idle"):
            await call.machine.changed()
    return {}


def _options(kind: Any, told: Mapping[str, Any] | None) -> Any:
    return from_json(kind, told or {})


def _tell_orphans(call: Call, plan: Plan) -> None:
    if plan.orphans and not call.arguments.get("ignore_orphans"):
        call.emit(
            warning(
                f"found orphan containers ({', '.join(plan.orphans)}) of this project; "
                "remove or rename of a service in the file leaves them, '--remove-orphans' cleans up"
            )
        )


def _chosen(call: Call, *, oneoff: bool = False) -> list[Container]:
    found = call.observe().containers
    wanted = [c for c in found if (oneoff or not c.oneoff) and (not call.names or c.service in call.names)]
    return sorted(wanted, key=lambda c: (c.service, c.number))


Verb = Callable[[Call], Awaitable[dict[str, Any]]]
VERBS: dict[str, Verb] = {
    "up": up,
    "down": down,
    "start": start,
    "stop": stop,
    "restart": restart,
    "rm": remove,
    "kill": kill,
    "pause": pause,
    "unpause": unpause,
    "run": run,
    "cut": faulty.cut,
    "heal": faulty.heal,
    "fault": faulty.fault,
    "leave": leave,
    "terminal": terminal,
    "events": events,
}
