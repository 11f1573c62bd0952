"""The watch of an attached command: what is on disk at each moment decides whether it may leave."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from compose.cli.attach import Watch
from compose.cli.scope import Scope
from compose.engine.follow import Follower
from compose.model.places import Places
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
