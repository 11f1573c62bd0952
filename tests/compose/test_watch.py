"""The watch of an attached command: what is on disk at each moment decides whether it may leave."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from compose.cli.attached import replicas_of
from compose.cli.endings import Watch
from compose.cli.scope import Scope
from compose.cli.up import awaited
from compose.engine import returning
from compose.engine.follow import Follower
from compose.model.places import Places
from compose.model.project import Project
from compose.model.service import Service
from compose.plan.steps import Kind, Plan, Step
from runtime.spec import ContainerSpec, ContainerState, ExitRecord
from runtime.state import write_json

ID = "a" * 64
GONE = 2**22 + 1  # above the largest pid that Linux gives, proc_sys_kernel(5)


@pytest.fixture
def places(tmp_path: Path) -> Places:
    return Places.from_environment(
        {"PYCOMPOSE_RUN": str(tmp_path / "run"), "PYCOMPOSE_DATA": str(tmp_path / "data")}
    )


@pytest.fixture
def watch(places: Places, tmp_path: Path) -> Iterator[Watch]:
    """Of a project with one container, of which nothing is known yet but its spec."""
    record = places.project_data("p") / "containers" / ID
    record.mkdir(parents=True)
    labels = {"com.docker.compose.project": "p", "com.docker.compose.service": "brief"}
    spec = ContainerSpec(id=ID, name="p-brief-1", argv=("true",), layers=(), labels=labels)
    write_json(record / "spec.json", spec)
    (places.project_run("p") / "containers" / ID).mkdir(parents=True)
    with Follower(tmp_path / "logs", wanted=lambda name: True) as follower:
        yield Watch(cast(Scope, SimpleNamespace(places=places)), "p", follower, lambda container: True)


def put(places: Places, **state: Any) -> None:
    value = ContainerState(id=ID, name="p-brief-1", **state)
    write_json(places.project_run("p") / "containers" / ID / "state.json", value)


def end(places: Places) -> None:
    record = ExitRecord(code=7, at=time.time())
    write_json(places.project_run("p") / "containers" / ID / "exit.json", record)


def test_the_record_of_what_was_never_seen_running_is_waited_for(watch: Watch, places: Places) -> None:
    put(places, status="running", pid=GONE, start_time=1, started_at=time.time())
    assert watch.endings() == []
    assert watch.active, "its exit record is still to come"
    end(places)
    assert [container.state.exit.code for container in watch.endings() if container.state.exit] == [7]
    assert not watch.active


def test_a_container_that_was_only_created_is_not_waited_for(watch: Watch, places: Places) -> None:
    put(places, status="created")
    assert watch.endings() == []
    assert not watch.active


def test_an_ending_is_told_once(watch: Watch, places: Places) -> None:
    put(places, status="running", pid=GONE, start_time=1, started_at=time.time())
    end(places)
    assert len(watch.endings()) == 1
    assert watch.endings() == []


def test_a_service_that_a_request_starts_again_keeps_the_command(watch: Watch, places: Places) -> None:
    watch.services = frozenset({"brief"})
    run = places.project_run("p")
    put(places, status="running", pid=GONE, start_time=1, started_at=time.time())
    end(places)
    with returning.announced(run, plan("other")):
        watch.endings()
        assert not watch.active
    with returning.announced(run, plan("brief")):
        watch.endings()
        assert watch.active
    watch.endings()
    assert not watch.active


def plan(service: str) -> Plan:
    kinds = (Kind.STOP, Kind.START)
    return Plan(steps=tuple(Step(kind=kind, name=f"p-{service}-1", service=service) for kind in kinds))


def test_only_what_is_stopped_and_started_again_returns() -> None:
    steps = [
        Step(kind=Kind.STOP, name="p-a-1", service="a"),
        Step(kind=Kind.START, name="p-b-1", service="b"),
    ]
    assert returning.of(Plan(steps=tuple(steps))) == frozenset()
    assert returning.of(plan("a")) == {"a"}


@pytest.mark.parametrize(
    ("named", "attached", "code_from", "every", "expected"),
    [
        ((), ("db", "web"), "", False, {"db", "web"}),
        (("web",), ("web",), "", False, {"web"}),
        ((), ("web",), "", False, {"web"}),
        ((), ("web",), "", True, {"db", "web"}),
        (("web",), ("web",), "db", True, {"db", "web"}),
        ((), (), "", False, {"db", "web"}),
    ],
)
def test_the_named_services_are_awaited(
    named: tuple[str, ...], attached: tuple[str, ...], code_from: str, every: bool, expected: set[str]
) -> None:
    assert awaited(named, attached, ("db", "web"), code_from, every=every) == expected


def test_every_replica_of_a_shown_service_is_recognised_by_its_name() -> None:
    services = {"w": Service(name="w"), "d": Service(name="d", container_name="data")}
    find = replicas_of(Project(name="p", working_dir="/w", services=services), ("w", "d"))
    assert find("p-w-12") == ("p-w-12", "w-12", "w")
    assert find("data") == ("data", "data", "d")
    assert [find(name) for name in ("p-w-run-0a1b2c", "p-x-1", "p-w", "q-w-1")] == [None] * 4
