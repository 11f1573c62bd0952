"""Get everything of a container ready that its first process needs: done by that process itself.

Comes in:  the container's Place; the process is pid 1 already, the host's files are in sight.
Goes out:  an Order for ``launch``; state.json says "created".
Not here:  namespaces and mounts (``launch``), the life of the container (``monitor``). It runs in pid 1
           because what is computed here would otherwise stay in the monitor's memory for good.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from runtime.cgroup.layout import Layout, group
from runtime.process.joins import joins
from runtime.process.launch import Order
from runtime.spec import ContainerSpec, ContainerState, to_json
from runtime.state import Place, read_spec, write_json


def prepare(place: Place, layout: Layout, passed: Sequence[int]) -> Order:
    """Make the directories, the named pipes and the Order of the container at ``place``.

    passed: the caller's three descriptors when stdio is "pass" without a tty.
    """
    spec = read_spec(place.data, place.id)
    kept, record = place.kept, place.record
    (record / "exit.json").unlink(missing_ok=True)
    order = Order(
        spec=spec,
        group=group(layout, place.run.name, spec.id, spec.limits.parent),
        upper=Path(spec.upper) if spec.upper else kept / "upper",
        work=kept / "work",
        staging=record / "root",
        stdio=_streams(spec, record, passed),
        joins=joins(spec, place),
        filter=(record / "seccomp").read_bytes(),
        introduce=lambda: _introduce(spec, record),
    )
    for directory in (order.upper, order.work, order.staging):
        os.makedirs(directory, exist_ok=True)
    if spec.log:
        os.makedirs(os.path.dirname(spec.log), exist_ok=True)
    return order


def _streams(spec: ContainerSpec, record: Path, passed: Sequence[int]) -> tuple[int, ...]:
    """The three descriptors of the program: named pipes opened O_RDWR outlive every reader."""
    if spec.tty:
        return ()
    if spec.stdio == "pass":
        return tuple(passed)
    names = ("stdin", "stdout", "stderr") if spec.stdin_open else ("stdout", "stderr")
    for name in names:
        (record / name).unlink(missing_ok=True)
        os.mkfifo(record / name, 0o600)
    (record / "logged").unlink(missing_ok=True)
    first = record / "stdin" if spec.stdin_open else "/dev/null"
    return tuple(
        os.open(path, os.O_RDWR | os.O_CLOEXEC) for path in (first, record / "stdout", record / "stderr")
    )


def _introduce(spec: ContainerSpec, record: Path) -> dict[str, Any]:
    """Write state.json. The host's /proc tells this process its numbers there."""
    fields = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
    state = ContainerState(
        id=spec.id,
        name=spec.name,
        status="created",
        pid=int(os.readlink("/proc/self")),
        start_time=int(fields[19]),
        monitor=int(fields[1]),
        created_at=time.time(),
    )
    write_json(record / "state.json", state)
    return {"created": to_json(state)}
