"""Get everything of a container ready that its first process needs.

Comes in:  the container's Place; ``begin`` is called in a child of the monitor that ends at once,
           ``prepare`` in pid 1 while the host's files are in sight.
Goes out:  pid 1, which the monitor inherits; an Order for ``launch``; state.json says "created".
Not here:  namespaces and mounts (``launch``), the life of the container (``monitor``). It all happens in
           other processes because what is touched here would stay in the monitor's memory for good.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from runtime.cgroup import apply as cgroup
from runtime.cgroup.layout import Group
from runtime.errors import RuntimeFailure
from runtime.kernel.trees import clone_tree
from runtime.process.joins import joins
from runtime.process.launch import Order, fork_first
from runtime.process.line import lock
from runtime.process.messages import send_text, tell
from runtime.process.streams import NULL
from runtime.spec import ContainerSpec, ContainerState, to_json
from runtime.state import Place, read_spec, write_json


def begin(
    place: Place,
    passed: Sequence[int],
    pid_namespace: str,
    channel: socket.socket,
    own: Group,
) -> NoReturn:
    """Send the pid of the new pid 1 and the descriptor of the monitor's lock and exit 0; or an error, and 1.

    Pid 1 answers on the same connection, perhaps before its pid is sent.
    """
    code = 1
    try:
        held = lock(place.record / "monitor.lock", wait=True)  # the last one may still be tidying up
        assert held is not None
        monitor = os.getppid()
        made = cgroup.make(own)
        pid = fork_first(
            lambda: prepare(place, own, made, passed, monitor), pid_namespace, channel, group=own
        )
        send_text(channel, b"%d" % pid, [held])
        code = 0
    except RuntimeFailure as error:
        tell(channel, error)
    except OSError as error:
        tell(channel, RuntimeFailure(f"cannot make the container's first process: {error}"))
    finally:
        os._exit(code)


def prepare(place: Place, own: Group, made: Sequence[str], passed: Sequence[int], monitor: int) -> Order:
    """Make the directories, the named pipes and the Order of the container at ``place``.

    own: its control group, which is there; made: warnings from making it.
    passed: the caller's three descriptors when stdio is "pass" without a tty;
    monitor: its pid.
    """
    spec = read_spec(place.data, place.id)
    kept, record = place.kept, place.record
    (record / "exit.json").unlink(missing_ok=True)
    order = Order(
        spec=spec,
        group=own,
        made=made,
        upper=Path(spec.upper) if spec.upper else kept / "upper",
        work=kept / "work",
        staging=record / "root",
        stdio=_streams(spec, record, passed),
        joins=joins(spec, place),
        filter=(record / "seccomp").read_bytes(),
        introduce=lambda: _introduce(spec, record, monitor),
    )
    for directory in (order.work, order.staging):
        directory.mkdir(parents=True, exist_ok=True)
    if spec.log:
        Path(spec.log).parent.mkdir(parents=True, exist_ok=True)
        os.close(os.open(spec.log, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o640))
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
    directory = os.open(record, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    alone = clone_tree(directory, recursive=False)  # the container sees no path of ours behind its streams
    opened = [os.open(name, os.O_RDWR | os.O_CLOEXEC, dir_fd=alone) for name in names]
    os.close(alone)
    os.close(directory)
    return tuple(opened) if spec.stdin_open else (NULL, *opened)


def _introduce(spec: ContainerSpec, record: Path, monitor: int) -> dict[str, Any]:
    """Write state.json. The host's /proc tells this process its numbers there."""
    fields = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
    state = ContainerState(
        id=spec.id,
        name=spec.name,
        status="created",
        pid=int(Path("/proc/self").readlink().name),
        start_time=int(fields[19]),
        monitor=monitor,
        created_at=time.time(),
    )
    write_json(record / "state.json", state)
    return {"created": to_json(state)}
