"""Run the steps of a plan: each as soon as what it comes after is done. No decision is taken here.

Comes in:  a Plan, a Machine that can do each kind of step, an ``emit`` for progress.
Goes out:  effects; StepFailed (or an ExceptionGroup for a teardown) when something failed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Protocol

from compose.engine.events import Emit, step, warning
from compose.engine.through import through
from compose.errors import ComposeError, sentence
from compose.model.service import Condition
from compose.plan.steps import Kind, Plan, Step, Wait
from netns.errors import NetworkFailure, NetworkInUse
from runtime.errors import RuntimeFailure

FAILURES = (ComposeError, RuntimeFailure, NetworkFailure, OSError)


class Machine(Protocol):
    """What a plan can be executed on."""

    async def create_network(self, name: str) -> None:
        """Make a network of the project."""

    async def remove_network(self, name: str) -> None:
        """Remove a network nobody is on."""

    async def create_volume(self, name: str) -> None:
        """Make a named volume of the project."""

    async def remove_volume(self, name: str) -> None:
        """Remove a volume and its data."""

    async def create(self, step: Step) -> None:
        """Make the record of a new container."""

    async def prepare(self, step: Step) -> None:
        """Make its namespaces and plug its networks in; pid 1 waits."""

    async def open(self, step: Step) -> None:
        """Let pid 1 go."""

    async def discard(self, step: Step) -> None:
        """Undo ``prepare``."""

    async def stop(self, step: Step) -> None:
        """Ask the container to end, then make it end."""

    async def remove(self, step: Step) -> None:
        """Remove a stopped container."""

    async def wait_for(self, wait: Wait, emit: Emit) -> None:
        """Return when the condition holds; raise ComposeError when it cannot hold any more."""


WORDS = {
    Kind.CREATE_NETWORK: ("network", "Creating", "Created"),
    Kind.REMOVE_NETWORK: ("network", "Removing", "Removed"),
    Kind.CREATE_VOLUME: ("volume", "Creating", "Created"),
    Kind.REMOVE_VOLUME: ("volume", "Removing", "Removed"),
    Kind.CREATE: ("container", "Creating", "Created"),
    Kind.START: ("container", "Starting", "Started"),
    Kind.STOP: ("container", "Stopping", "Stopped"),
    Kind.REMOVE: ("container", "Removing", "Removed"),
}


async def execute(
    plan: Plan, machine: Machine, emit: Emit, *, keep_going: bool = False, parallel: int = 0
) -> None:
    """Run every step of ``plan``, independent ones side by side.

    keep_going: a teardown goes on after a failure and raises an ExceptionGroup at the end; otherwise
                the first failure ends the run, after the steps already under way.
    parallel:   at most that many steps at a time; 0 means no limit.
    """
    await _Run(plan, machine, emit, keep_going, parallel).run()


class _Run:
    def __init__(self, plan: Plan, machine: Machine, emit: Emit, keep_going: bool, parallel: int) -> None:
        self.plan = plan
        self.machine = machine
        self.emit = emit
        self.keep_going = keep_going
        self.places = asyncio.Semaphore(parallel) if parallel > 0 else None
        self.done = [asyncio.get_running_loop().create_future() for _ in plan.steps]
        self.prepared = [asyncio.get_running_loop().create_future() for _ in plan.steps]
        self.failures: list[Exception] = []
        self.tasks: list[asyncio.Task[None]] = []

    async def run(self) -> None:
        self.tasks = [asyncio.ensure_future(self._step(n, s)) for n, s in enumerate(self.plan.steps)]
        try:
            await self._all()
        except asyncio.CancelledError:
            for task in self.tasks:  # once: a second time would break into what they take back
                task.cancel()
            await through(self._all())
            raise
        for task in self.tasks:
            task.result()
        if len(self.failures) == 1:
            raise self.failures[0]
        if self.failures:
            raise ExceptionGroup("several steps failed", self.failures)

    async def _all(self) -> None:
        if self.tasks:
            await asyncio.wait(self.tasks)

    async def _step(self, number: int, step: Step) -> None:
        ok = False
        try:
            before = [await self.done[n] for n in step.after]
            if self.keep_going or (all(before) and not self.failures):
                ok = await self._perform(step, number)
        finally:
            for future in (self.done[number], self.prepared[number]):
                if not future.done():
                    future.set_result(ok)

    async def _perform(self, item: Step, number: int) -> bool:
        kind, doing, did = WORDS[item.kind]
        try:
            if item.kind is Kind.START:
                return await self._start(item, number)
            self.emit(step(kind, item.name, doing, item.reason))
            await self._effect(item)
            self.emit(step(kind, item.name, did))
            return True
        except FAILURES as error:
            if isinstance(error, NetworkInUse) and self.keep_going:  # another project's containers are on it
                self.emit(step(kind, item.name, "Resource is still in use", error.message))
                return True
            self._failed(kind, item, error)
            return False

    def _failed(self, kind: str, item: Step, error: Exception) -> None:
        self.emit(step(kind, item.name, "Error", sentence(error)))
        self.failures.append(error)

    async def _effect(self, item: Step) -> None:
        if self.places is None:
            await self._call(item)
        else:
            async with self.places:
                await self._call(item)

    async def _call(self, item: Step) -> None:
        machine = self.machine
        if item.kind is Kind.CREATE_NETWORK:
            await machine.create_network(item.name)
        elif item.kind is Kind.REMOVE_NETWORK:
            await machine.remove_network(item.name)
        elif item.kind is Kind.CREATE_VOLUME:
            await machine.create_volume(item.name)
        elif item.kind is Kind.REMOVE_VOLUME:
            await machine.remove_volume(item.name)
        elif item.kind is Kind.CREATE:
            await machine.create(item)
        elif item.kind is Kind.STOP:
            await machine.stop(item)
        elif item.kind is Kind.REMOVE:
            await machine.remove(item)
        elif item.kind is Kind.START:
            await machine.prepare(item)

    async def _start(self, item: Step, number: int) -> bool:
        """Prepare while the dependencies get ready; open the gate the instant they are.

        Whoever lives in namespaces of another container is prepared after that one.
        """
        if not await self._owners_prepared(item):
            return False
        conditions = asyncio.ensure_future(self._conditions(item.waits))
        try:
            await self._effect(item)
            self.prepared[number].set_result(True)
            if not await conditions:
                await self.machine.discard(item)
                return False
            self.emit(step("container", item.name, "Starting"))
            await self.machine.open(item)
        except BaseException:
            conditions.cancel()
            await through(self._take_back(item, conditions))
            raise
        self.emit(step("container", item.name, "Started"))
        return True

    async def _owners_prepared(self, item: Step) -> bool:
        steps = enumerate(self.plan.steps)
        owners = [n for n, s in steps if s.kind is Kind.START and s.service in item.shares]
        return all([await self.prepared[n] for n in owners])

    async def _take_back(self, item: Step, conditions: asyncio.Task[bool]) -> None:
        await asyncio.gather(conditions, return_exceptions=True)
        await self.machine.discard(item)

    async def _conditions(self, waits: Sequence[Wait]) -> bool:
        results = await asyncio.gather(*(self._condition(wait) for wait in waits))
        return all(results)

    async def _condition(self, wait: Wait) -> bool:
        starts = [
            n for n, s in enumerate(self.plan.steps) if s.kind is Kind.START and s.service == wait.service
        ]
        started = [await self.done[n] for n in starts]
        try:
            if not all(started):
                raise ComposeError(f"dependency '{wait.service}' did not start")
            if wait.condition is not Condition.STARTED:
                await self.machine.wait_for(wait, self.emit)
        except ComposeError as error:
            if not wait.required:
                self.emit(warning(f"optional dependency '{wait.service}' failed: {error.message}"))
                return True
            if not all(started):
                return False  # its own failure has been reported
            raise
        return True
