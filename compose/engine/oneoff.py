"""``run``: one container of its own beside the service's replicas.

Comes in:  the machine, the arguments of ``run``, the caller's standard descriptors.
Goes out:  a container that is started, watched and, with ``rm``, removed.

arguments: service, command (list or null), entrypoint (list or null), environment (NAME to value),
user, working_dir, name, labels, volumes (long-form mounts of the service), publish (ports of the
service), service_ports, use_aliases, rm, detach, tty, no_deps, options (fields of UpOptions).
"""

from __future__ import annotations

import asyncio
import dataclasses
import os
import socket
from collections.abc import Sequence
from typing import Any

from compose.engine.events import Emit
from compose.engine.execute import execute
from compose.engine.keeper import Keeper
from compose.engine.machine import ProjectMachine
from compose.engine.observe import observe
from compose.errors import ComposeError
from compose.model.service import Condition, Port, Service, VolumeMount
from compose.plan import observed as label
from compose.plan.admission import check_name
from compose.plan.launch import Launch
from compose.plan.reconcile import UpOptions, reconcile, waits_of
from runtime.spec import from_json


async def oneoff(
    machine: ProjectMachine,
    order: Sequence[str],
    told: dict[str, Any],
    fds: Sequence[int],
    emit: Emit,
    writing: asyncio.Lock,
) -> dict[str, Any]:
    """Start dependencies, then the container; return {"code": exit code} when it has ended.

    An event {"event": "oneoff", "id", "name"} comes first; with ``detach`` that is all.
    """
    assert machine.project is not None
    base = machine.project.services.get(told["service"])
    if base is None:
        raise ComposeError(f"no such service: {told['service']}")
    async with writing:
        await _prepare(machine, order, base, told, emit)
        keeper = machine.add(_launch(machine, base, told))
        await _begin(keeper, machine, fds, told)
    emit({"event": "oneoff", "id": keeper.id, "name": keeper.name})
    if told.get("detach"):
        return {"code": 0, "name": keeper.name}
    try:
        while keeper.running:
            await machine.changed()
    except asyncio.CancelledError:  # the command has gone: its container goes too
        await asyncio.shield(keeper.stop(None))
        raise
    finally:
        if told.get("rm"):
            await asyncio.shield(_drop(machine, keeper))
    code = keeper.exit.code if keeper.exit else None
    return {"code": 255 if code is None else code, "reason": keeper.exit.reason if keeper.exit else ""}


async def _prepare(
    machine: ProjectMachine, order: Sequence[str], base: Service, told: dict[str, Any], emit: Emit
) -> None:
    """Make the networks and volumes of ``base`` and, unless told otherwise, start what it depends on."""
    assert machine.project is not None
    needed = set() if told.get("no_deps") else _needed(machine, base.name)
    options = from_json(UpOptions, told.get("options") or {})
    images = {name: machine.images[name].id for name in needed}
    plan = reconcile(
        machine.project,
        [name for name in order if name in needed],
        observe(machine.places, machine.name),
        dataclasses.replace(
            options, images=images, no_recreate=True, named=tuple(needed), ground=(base.name,)
        ),
    )
    machine.reserve(plan)
    try:
        await execute(plan, machine, emit)
    finally:
        machine.release()
    for wait in waits_of(base, machine.project):
        if wait.condition is not Condition.STARTED and needed:
            await machine.wait_for(wait, emit)


def _needed(machine: ProjectMachine, name: str) -> set[str]:
    assert machine.project is not None
    found: set[str] = set()
    todo = [name]
    while todo:
        service = machine.project.services.get(todo.pop())
        for other in service.depends_on if service else ():
            if other not in found and other in machine.project.services:
                found.add(other)
                todo.append(other)
    return found


def _launch(machine: ProjectMachine, base: Service, told: dict[str, Any]) -> Launch:
    service = _changed(base, told)
    slug = os.urandom(6).hex()
    machine_images = machine.images
    if base.name not in machine_images:
        raise ComposeError(f"service '{base.name}' has no image")
    launch = machine.translated(service, 1, {})
    name = told.get("name") or f"{machine.name}-{base.name}-run-{slug}"
    check_name(name)
    labels = {**launch.spec.labels, **(told.get("labels") or {}), label.ONEOFF: "True"}
    passed = not told.get("detach")
    spec = dataclasses.replace(
        launch.spec,
        name=name,
        labels=labels,
        stdio="pass" if passed else "log",
        log="" if passed else f"{machine.data}/logs/{name}.log",
        tty=bool(told.get("tty")),
        stdin_open=bool(told.get("interactive", True)),
    )
    aliases = told.get("use_aliases")
    endpoints = tuple(
        dataclasses.replace(e, container_name=name, names=e.names if aliases else (name, spec.id[:12]))
        for e in launch.endpoints
    )
    return dataclasses.replace(launch, spec=spec, endpoints=endpoints, restart="no")


def _changed(base: Service, told: dict[str, Any]) -> Service:
    ports = base.ports if told.get("service_ports") else ()
    changes: dict[str, Any] = {
        "container_name": "",
        "restart": "no",
        "ports": (*ports, *(from_json(Port, p) for p in told.get("publish") or ())),
        "environment": {**base.environment, **(told.get("environment") or {})},
        "volumes": (*base.volumes, *(from_json(VolumeMount, v) for v in told.get("volumes") or ())),
        "cap_add": (*base.cap_add, *(told.get("cap_add") or ())),
        "cap_drop": (*base.cap_drop, *(told.get("cap_drop") or ())),
    }
    for key in ("user", "working_dir"):
        if told.get(key):
            changes[key] = told[key]
    if told.get("entrypoint") is not None:
        changes["entrypoint"] = tuple(told["entrypoint"])
        changes["command"] = ()
    if told.get("command"):
        changes["command"] = tuple(told["command"])
    return dataclasses.replace(base, **changes)


async def _begin(keeper: Keeper, machine: ProjectMachine, fds: Sequence[int], told: dict[str, Any]) -> None:
    """With a tty the one descriptor handed over is a socket, and the pty's master goes back through it."""
    try:
        master = await keeper.prepare(machine.project, () if told.get("tty") else tuple(fds))
        if master is not None:
            with socket.socket(fileno=os.dup(fds[0])) as channel:
                socket.send_fds(channel, [b"m"], [master])
            os.close(master)
        await keeper.open()
    except BaseException:
        await keeper.discard()
        await _drop(machine, keeper)
        raise


async def _drop(machine: ProjectMachine, keeper: Keeper) -> None:
    if keeper.running:
        await keeper.stop(None)
    await keeper.remove(with_anonymous=True)
    machine.keepers.pop(keeper.id, None)
    machine.touch()
