"""How a plan is executed, on a machine that writes down what it was asked."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from compose.engine.events import Emit
from compose.engine.execute import execute
from compose.errors import ComposeError
from compose.model.service import Condition
from compose.plan.steps import Kind, Plan, Step, Wait
from netns.errors import NetworkInUse


class Notebook:
    """Writes down each effect; fails where told; conditions hold when a test says so."""

    def __init__(self, fail: Sequence[str] = (), unready: Sequence[str] = ()) -> None:
        self.lines: list[str] = []
        self.fail = fail
        self.unready = unready

    async def _do(self, text: str) -> None:
        await asyncio.sleep(0)
        if text in self.fail:
            raise ComposeError(f"{text} failed")
        self.lines.append(text)

    async def create_network(self, name: str) -> None:
        await self._do(f"network {name}")

    async def remove_network(self, name: str) -> None:
        await self._do(f"drop-network {name}")

    async def create_volume(self, name: str) -> None:
        await self._do(f"volume {name}")

    async def remove_volume(self, name: str) -> None:
        await self._do(f"drop-volume {name}")

    async def create(self, step: Step) -> None:
        await self._do(f"create {step.name}")

    async def prepare(self, step: Step) -> None:
        await self._do(f"prepare {step.name}")

    async def open(self, step: Step) -> None:
        await self._do(f"open {step.name}")

    async def discard(self, step: Step) -> None:
        await self._do(f"discard {step.name}")

    async def stop(self, step: Step) -> None:
        await self._do(f"stop {step.name}")

    async def remove(self, step: Step) -> None:
        await self._do(f"remove {step.name}")

    async def wait_for(self, wait: Wait, emit: Emit) -> None:
        if wait.service in self.unready:
            raise ComposeError(f"{wait.service} is unhealthy")
        await self._do(f"ready {wait.service}")


def step(kind: Kind, name: str, *after: int, **more: Any) -> Step:
    return Step(kind=kind, name=name, service=name, after=after, **more)


def play(machine: Notebook, *steps: Step, **more: Any) -> tuple[list[str], BaseException | None]:
    told: list[dict[str, Any]] = []
    error: BaseException | None = None
    try:
        asyncio.run(execute(Plan(steps=steps), machine, told.append, **more))
    except (ComposeError, NetworkInUse, ExceptionGroup) as caught:
        error = caught
    return [f"{e['name']} {e['status']}" for e in told if e["event"] == "step"], error


HEALTHY = (Wait(service="db", condition=Condition.HEALTHY),)


def test_a_dependent_is_prepared_early_and_opened_when_its_dependency_is_ready() -> None:
    machine = Notebook()
    play(machine, step(Kind.START, "db"), step(Kind.START, "web", waits=HEALTHY))
    assert machine.lines.index("prepare web") < machine.lines.index("open db")
    assert machine.lines.index("ready db") < machine.lines.index("open web")


def test_a_dependency_that_is_not_ready_discards_the_dependent() -> None:
    machine = Notebook(unready=["db"])
    told, error = play(machine, step(Kind.START, "db"), step(Kind.START, "web", waits=HEALTHY))
    assert "discard web" in machine.lines and "open web" not in machine.lines
    assert isinstance(error, ComposeError) and error.message == "db is unhealthy"
    assert "web Error" in told


def test_an_optional_dependency_only_warns() -> None:
    machine = Notebook(unready=["db"])
    waits = (Wait(service="db", condition=Condition.HEALTHY, required=False),)
    _, error = play(machine, step(Kind.START, "db"), step(Kind.START, "web", waits=waits))
    assert error is None and "open web" in machine.lines


def test_a_failure_ends_the_run_before_later_steps() -> None:
    machine = Notebook(fail=["create web"])
    _, error = play(machine, step(Kind.CREATE, "web"), step(Kind.START, "web", 0))
    assert error is not None and machine.lines == []


def test_a_dependency_that_failed_is_reported_once() -> None:
    machine = Notebook(fail=["open db"])
    told, error = play(machine, step(Kind.START, "db"), step(Kind.START, "web", waits=HEALTHY))
    assert isinstance(error, ComposeError) and error.message == "open db failed"
    assert "discard db" in machine.lines and "discard web" in machine.lines and "web Error" not in told


def test_a_teardown_goes_on_after_failures_and_raises_them_together() -> None:
    machine = Notebook(fail=["stop a", "stop b"])
    _, error = play(
        machine,
        step(Kind.STOP, "a"),
        step(Kind.STOP, "b"),
        step(Kind.STOP, "c"),
        step(Kind.REMOVE_NETWORK, "n", 0, 1, 2),
        keep_going=True,
    )
    assert machine.lines == ["stop c", "drop-network n"]
    assert isinstance(error, ExceptionGroup) and len(error.exceptions) == 2


def test_a_limit_keeps_the_number_of_steps_at_a_time() -> None:
    running, most = 0, 0

    class Counting(Notebook):
        async def create(self, step: Step) -> None:
            nonlocal running, most
            running += 1
            most = max(most, running)
            await asyncio.sleep(0.001)
            running -= 1

    play(Counting(), *(step(Kind.CREATE, f"c{n}") for n in range(6)), parallel=2)
    assert most == 2


def test_a_cancelled_run_discards_what_waits_at_the_gate() -> None:
    class Never(Notebook):
        async def wait_for(self, wait: Wait, emit: Emit) -> None:
            await asyncio.Event().wait()

    async def scenario(machine: Notebook) -> None:
        plan = Plan(steps=(step(Kind.START, "db"), step(Kind.START, "web", waits=HEALTHY)))
        task = asyncio.ensure_future(execute(plan, machine, lambda event: None))
        await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    machine = Never()
    asyncio.run(scenario(machine))
    assert machine.lines[-1] == "discard web" and "open db" in machine.lines


def test_who_lives_in_namespaces_of_another_is_prepared_after_it_and_not_at_all_without_it() -> None:
    steps = (step(Kind.START, "app", shares=("vpn",)), step(Kind.START, "vpn"))
    machine = Notebook()
    play(machine, *steps)
    assert machine.lines.index("prepare vpn") < machine.lines.index("prepare app")
    machine = Notebook(fail=["prepare vpn"])
    error = play(machine, *steps)[1]
    assert str(error) == "prepare vpn failed"
    assert "prepare app" not in machine.lines


class Shared(Notebook):
    """Containers of another project are on every network."""

    async def remove_network(self, name: str) -> None:
        raise NetworkInUse(f"network '{name}' still has 1 endpoints")


def test_a_network_that_another_project_uses_outlives_down_and_is_no_failure() -> None:
    told, error = play(Shared(), step(Kind.REMOVE_NETWORK, "shop_default"), keep_going=True)
    assert error is None
    assert told[-1] == "shop_default Resource is still in use"
    told, error = play(Shared(), step(Kind.REMOVE_NETWORK, "shop_default"))
    assert isinstance(error, NetworkInUse)
