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
import fcntl
import os
import socket
import struct
import termios
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from compose.engine import names
from compose.engine.events import Emit, warning
from compose.engine.execute import FAILURES, execute
from compose.engine.keeper import Keeper
from compose.engine.machine import ProjectMachine
from compose.engine.observe import observe
from compose.errors import ComposeError, sentence
from compose.model.project import Volume
from compose.model.service import Condition, Port, Service, VolumeMount
from compose.plan import observed as label
from compose.plan.admission import check_name
from compose.plan.launch import ImageFacts, Launch
from compose.plan.reconcile import UpOptions, reconcile, waits_of
from runtime.spec import from_json
from schemas.frozen import replace


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
        if told.get("name"):
            names.refuse(machine.places, told["name"])
        await _prepare(machine, order, base, told, emit)
        keeper = machine.add(_launch(machine, base, told))
        await _begin(keeper, machine, fds, told)
    emit({"event": "oneoff", "id": keeper.id, "name": keeper.name})
    if told.get("detach"):
        if keeper.launch.auto_remove:
            machine.later(remove_at_end(machine, keeper, writing))
        return {"code": 0, "name": keeper.name}
    try:
        while keeper.running and not keeper.left:
            await machine.changed()
    except asyncio.CancelledError:  # the command has gone: its container goes too
        await asyncio.shield(keeper.stop(None))
        raise
    finally:
        if told.get("rm") and not keeper.left:
            await asyncio.shield(_drop(machine, keeper))
    if keeper.left:
        if told.get("rm"):
            machine.remove_at_end(keeper)
            machine.later(remove_at_end(machine, keeper, writing))
        return {"code": 0}
    code = keeper.exit.code if keeper.exit else None
    return {"code": 255 if code is None else code, "reason": keeper.exit.reason if keeper.exit else ""}


async def remove_at_end(machine: ProjectMachine, keeper: Keeper, writing: asyncio.Lock) -> None:
    """``run -d --rm``: remove a container that nobody waits for as soon as it has ended."""
    while keeper.active:
        await machine.changed()
    async with writing:
        if keeper.id not in machine.keepers:
            return
        try:
            await _drop(machine, keeper)
        except FAILURES as error:
            machine.emit(warning(f"{keeper.name} cannot be removed: {sentence(error)}"))
            keeper.launch = dataclasses.replace(keeper.launch, auto_remove=False)
        else:
            for path in Path(keeper.launch.spec.log).parent.glob(f"{keeper.name}.log*"):
                path.unlink()


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
    assert machine.project is not None
    slug = os.urandom(6).hex()
    if base.name not in machine.images:
        raise ComposeError(f"service '{base.name}' has no image")
    service = _changed(base, told, _mounts(machine, told), machine.images[base.name])
    launch = machine.translated(service, 1, {})
    name = told.get("name") or machine.project.separator.join((machine.name, base.name, "run", slug))
    check_name(name)
    labels = {**launch.spec.labels, **(told.get("labels") or {}), label.ONEOFF: "True", label.SLUG: slug}
    del labels[label.NUMBER]
    passed = not told.get("detach")
    spec = dataclasses.replace(
        launch.spec,
        name=name,
        labels=labels,
        stdio="pass" if passed else "log",
        log="" if passed and not told.get("tty") else f"{machine.data}/logs/{name}.log",
        tty=bool(told.get("tty")),
        stdin_open=bool(told.get("interactive", True)),
    )
    aliases = told.get("use_aliases")
    endpoints = tuple(
        dataclasses.replace(e, container_name=name, names=e.names if aliases else (name, spec.id[:12]))
        for e in launch.endpoints
    )
    left = bool(told.get("rm") and told.get("detach"))
    return dataclasses.replace(launch, spec=spec, endpoints=endpoints, restart="no", auto_remove=left)


def _mounts(machine: ProjectMachine, told: dict[str, Any]) -> tuple[VolumeMount, ...]:
    """The mounts of ``-v``. A name is that of a volume, as for ``docker run -v``, not a key of the file."""
    assert machine.project is not None
    found, named = [], {}
    for document in told.get("volumes") or ():
        mount = from_json(VolumeMount, document)
        if mount.type == "volume" and mount.source:
            key = f"-v {mount.source}"  # no file can have such a key
            named[key] = Volume(key=key, name=mount.source)
            mount = replace(mount, source=key)
        found.append(mount)
    machine.project = replace(machine.project, volumes={**machine.project.volumes, **named})
    return tuple(found)


def _changed(
    base: Service, told: dict[str, Any], mounts: Sequence[VolumeMount], image: ImageFacts
) -> Service:
    ports = base.ports if told.get("service_ports") else ()
    changes: dict[str, Any] = {
        "container_name": "",
        "restart": "no",
        "ports": (*ports, *(from_json(Port, p) for p in told.get("publish") or ())),
        "environment": {**base.environment, **(told.get("environment") or {})},
        "volumes": (*base.volumes, *mounts),
        "cap_add": (*base.cap_add, *(told.get("cap_add") or ())),
        "cap_drop": (*base.cap_drop, *(told.get("cap_drop") or ())),
    }
    for key in ("user", "working_dir"):
        if told.get(key):
            changes[key] = told[key]
    if told.get("entrypoint") is not None:
        changes["entrypoint"] = tuple(told["entrypoint"])
        changes["command"] = () if told["entrypoint"] else image.cmd
    if told.get("command"):
        changes["command"] = tuple(told["command"])
    return dataclasses.replace(base, **changes)


async def _begin(keeper: Keeper, machine: ProjectMachine, fds: Sequence[int], told: dict[str, Any]) -> None:
    """With a tty the one descriptor handed over is a socket, and the pty's master goes back through it."""
    try:
        master = await keeper.prepare(machine.project, () if told.get("tty") else tuple(fds))
        if master is not None:
            if window := told.get("window"):
                fcntl.ioctl(master, termios.TIOCSWINSZ, struct.pack("HHHH", *window[:2], 0, 0))
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
