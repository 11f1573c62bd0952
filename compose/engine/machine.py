"""The real machine a plan is executed on: keepers of containers, networks, volumes.

Comes in:  where things lie, the project, image facts.
Goes out:  the effects of every kind of step; what ``supervisor.verbs`` needs besides.
"""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Callable, Coroutine, Mapping
from pathlib import Path
from typing import Any

from compose.engine import ground
from compose.engine.attach import Attachments
from compose.engine.chronicle import Chronicle
from compose.engine.events import Emit, Event, step
from compose.engine.keeper import Keeper, Workshop, new_id, not_healthy
from compose.engine.observe import facts, read_json
from compose.engine.portplace import placed
from compose.engine.sharing import find_owner, owner_id
from compose.engine.through import through
from compose.errors import ComposeError
from compose.model.places import Places
from compose.model.project import Project
from compose.model.service import Condition, Service
from compose.plan import observed as label
from compose.plan.fingerprint import volume_hash
from compose.plan.launch import ImageFacts, Launch
from compose.plan.mounts import Ground
from compose.plan.networks import addresses_on, names_on, network_spec
from compose.plan.steps import Kind, Plan, Step, Wait
from compose.plan.translate import Site, translate
from netns.errors import AddressTaken, NetworkFailure, PortBusy
from netns.network.build import sweep
from runtime import volume
from runtime.container import Runtime
from runtime.inside.remove import delete
from runtime.spec import ContainerState, ExitRecord, Mount, from_json
from runtime.state import write_json
from schemas.frozen import replace


class ProjectMachine:
    """One project's part of this machine. Implements ``engine.execute.Machine``."""

    def __init__(
        self, places: Places, name: str, runtime_factory: Callable[..., Runtime], emit: Emit
    ) -> None:
        self.places = places
        self.name = name
        self.run = places.project_run(name)
        self.data = places.project_data(name)
        self.emit = emit
        self.project: Project | None = None
        self.images: dict[str, ImageFacts] = {}
        self.keepers: dict[str, Keeper] = {}
        self._translated: dict[str, Launch] = {}  # by container name, for the plan under way
        self.runtime = runtime_factory(on_exit=self._exited)
        self.attachments = Attachments(places.run, name, emit, asyncio.get_running_loop())
        self.attachments.guests = self.guests
        self._waiting: list[asyncio.Future[None]] = []
        self._later: set[asyncio.Task[None]] = set()
        self.shop = Workshop(
            runtime=self.runtime,
            attachments=self.attachments,
            emit=self._emit,
            touch=self.touch,
            record=self.record,
            volumes=places.volumes,
            owner=lambda launch: self.keepers.get(owner_id(launch)),
            changed=self.changed,
            note=Chronicle(self.run).note,
        )

    def record(self, id: str) -> Path:
        """DATA/projects/<project>/containers/<id>."""
        return self.data / "containers" / id

    def _emit(self, event: Event) -> None:
        self.emit(event)

    # -- waiting ------------------------------------------------------------------------------------

    def touch(self) -> None:
        """Something changed: wake whoever waits."""
        waiting, self._waiting = self._waiting, []
        for future in waiting:
            if not future.done():
                future.set_result(None)

    async def changed(self) -> None:
        """Return at the next change of any container."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(future)
        await future

    def of(self, service: str) -> list[Keeper]:
        """Keepers of the replicas of ``service``, by number."""
        found = [
            k
            for k in self.keepers.values()
            if k.launch.service == service and k.launch.spec.labels.get(label.ONEOFF) != "True"
        ]
        return sorted(found, key=lambda k: k.launch.number)

    def named(self, name: str) -> Keeper:
        """The keeper of container ``name``. Raises ComposeError when there is none."""
        for keeper in self.keepers.values():
            if keeper.name == name or keeper.id == name:
                return keeper
        raise ComposeError(f"no such container: {name}")

    @property
    def busy(self) -> bool:
        """Something runs or is about to, or ends and is about to be removed."""
        return any(keeper.active or keeper.launch.auto_remove for keeper in self.keepers.values())

    def remove_at_end(self, keeper: Keeper) -> None:
        """Write down that the container is to be removed when it ends."""
        keeper.launch = replace(keeper.launch, auto_remove=True)
        write_json(self.record(keeper.id) / "launch.json", keeper.launch)

    def later(self, work: Coroutine[Any, Any, None]) -> None:
        """Have ``work`` done beside everything else."""
        task = asyncio.ensure_future(work)
        self._later.add(task)
        task.add_done_callback(self._later.discard)

    async def wait_for(self, wait: Wait, emit: Emit) -> None:
        """Wait until all replicas of a service satisfy a condition. Raises ComposeError when they cannot."""
        keepers = self.of(wait.service)
        if not keepers:
            raise ComposeError(f"dependency failed to start: service '{wait.service}' has no container")
        for keeper in keepers:
            emit(step("container", keeper.name, "Waiting"))
        for keeper in keepers:
            if wait.condition is Condition.HEALTHY:
                await self.until_healthy(keeper)
                emit(step("container", keeper.name, "Healthy"))
            else:
                await self._until_completed(keeper, wait.service)
                emit(step("container", keeper.name, "Exited"))

    async def until_healthy(self, keeper: Keeper) -> None:
        """Wait for a healthy check. Raises ComposeError when unhealthy, exited or without a check."""
        if keeper.launch.health is None:
            raise ComposeError(
                f"dependency failed to start: container {keeper.name} has no healthcheck configured",
                hint=f"add 'healthcheck:' to service '{keeper.launch.service}'",
            )
        while keeper.health != "healthy":
            if keeper.health == "unhealthy":
                raise not_healthy(keeper)
            if not keeper.active:
                raise ComposeError(
                    f"dependency failed to start: container {keeper.name} exited ({_code(keeper.exit)})",
                    hint=_why(keeper) or f"see 'pycompose logs {keeper.launch.service}'",
                )
            await self.changed()

    async def _until_completed(self, keeper: Keeper, service: str) -> None:
        while keeper.active or keeper.exit is None:
            await self.changed()
        if keeper.exit.code != 0:
            raise ComposeError(
                f'service "{service}" didn\'t complete successfully: exit {_code(keeper.exit)}',
                hint=_why(keeper) or f"see 'pycompose logs {service}'",
            )

    # -- networks and volumes -----------------------------------------------------------------------

    async def create_network(self, name: str) -> None:
        """Make a network of the project."""
        assert self.project is not None
        network = next(n for n in self.project.networks.values() if n.name == name)
        spec = network_spec(self.project.name, network)
        try:
            self.attachments.networks.create(spec)
        except AddressTaken as error:
            place = ".ipam.config[0].subnet" if spec.pools else ""
            raise ComposeError(
                error.message, hint=error.hint, path=f"networks.{network.key}{place}"
            ) from error
        self.claim_names()
        self.attachments.tell()

    def claim_names(self) -> None:
        """Have the names of the project answered on its networks, whatever of it runs."""
        assert self.project is not None
        for network, names in names_on(self.project).items():
            addresses = addresses_on(self.project, network)
            self.attachments.networks.claim(network, names, addresses)

    async def remove_network(self, name: str) -> None:
        """Remove a network nobody is on. The kernel takes 30 to 60 ms a bridge, so a thread waits for it."""
        await through(asyncio.to_thread(self.attachments.networks.remove, name))

    async def create_volume(self, name: str) -> None:
        """Make a named volume of the project."""
        assert self.project is not None
        wanted = next(v for v in self.project.volumes.values() if v.name == name)
        labels = {
            **wanted.labels,
            label.PROJECT: self.name,
            label.VOLUME: wanted.key,
            label.CONFIG_HASH: volume_hash(wanted),
        }
        volume.create(self.places.volumes, name, labels, ground.driver_options(wanted))

    async def remove_volume(self, name: str) -> None:
        """Remove a volume and its data."""
        volume.remove(self.places.volumes, name)

    # -- containers ---------------------------------------------------------------------------------

    def reserve(self, plan: Plan) -> None:
        """Hold the published ports of everything ``plan`` starts, before it starts anything.

        A port that a container of the plan still holds and gives up is left to its turn.
        Raises PortBusy naming the holder; nothing is held then.
        """
        assert self.project is not None
        leaving = {s.id for s in plan.steps if s.kind is Kind.STOP}
        freed = {
            (port["published"], port["protocol"])
            for keeper in self.keepers.values()
            if keeper.id in leaving
            for port in keeper.ports
        }
        held: list[Launch] = []
        busy: list[Exception] = []
        try:
            for item in plan.steps:
                if item.kind not in (Kind.CREATE, Kind.START) or (item.kind is Kind.START and not item.id):
                    continue
                launch = self._planned(item) if item.kind is Kind.CREATE else self.named(item.id).launch
                if not any((port.published, port.protocol) in freed for port in launch.ports):
                    held.append(launch)
                    try:
                        self.attachments.reserve(launch)
                    except PortBusy as error:
                        busy += [placed(one, launch, self.project) for one in (error, *error.more)]
                    except NetworkFailure as error:  # an address or a protocol that this machine lacks
                        path = f"services.{launch.service}.ports"
                        busy.append(ComposeError(error.message, hint=error.hint, path=path))
            if busy:
                raise busy[0] if len(busy) == 1 else ExceptionGroup("several ports are in use", busy)
        except BaseException:
            for launch in held:
                self.attachments.unplug(launch)
            raise

    def release(self) -> None:
        """Let go of ports held for containers that did not come to run."""
        for launch in self._translated.values():
            if launch.spec.id not in self.keepers:
                self.attachments.unplug(launch, for_good=True)
        self._translated.clear()
        for keeper in self.keepers.values():
            if not keeper.active:
                self.attachments.unplug(keeper.launch)

    def _planned(self, item: Step) -> Launch:
        assert self.project is not None
        if item.name not in self._translated:
            service = self.project.services[item.service]
            self._translated[item.name] = self.translated(service, item.number, item.carry)
        return self._translated[item.name]

    async def create(self, item: Step) -> None:
        """Write the record of a new container."""
        self.add(self._planned(item))
        del self._translated[item.name]

    def translated(self, service: Service, number: int, carry: Mapping[str, str]) -> Launch:
        """What container ``number`` of ``service`` is, with a fresh id."""
        assert self.project is not None
        id = new_id()
        containers = self._siblings()
        owner = find_owner(self.places, service, self._launches(), containers)
        site = Site(
            id=id,
            record=str(self.record(id)),
            logs=str(self.data / "logs"),
            ground=Ground(
                volumes=str(self.places.volumes),
                files=str(self.run / "containers" / id / "files"),
                name=new_id,
            ),
            containers=containers,
            owner=owner,
            host=socket.gethostname(),
            inherited=self._inherited(service),
            carry=carry,
        )
        return translate(self.project, service, number, self.images[service.name], site)

    def add(self, launch: Launch) -> Keeper:
        """Keep a new container: its record is on disk when this returns."""
        try:
            self._write_record(launch)
        except OSError:
            delete(self.record(launch.spec.id))
            delete(self.run / "containers" / launch.spec.id)
            raise
        keeper = self.keepers[launch.spec.id] = Keeper(launch, self.shop)
        self.shop.note("create", launch)
        return keeper

    def _write_record(self, launch: Launch) -> None:
        record, volatile = self.record(launch.spec.id), self.run / "containers" / launch.spec.id
        for directory in (record, volatile):
            directory.mkdir(parents=True, mode=0o700)
        write_json(record / "launch.json", launch)
        write_json(record / "spec.json", launch.spec)
        state = ContainerState(
            id=launch.spec.id, name=launch.spec.name, status="created", created_at=time.time()
        )
        write_json(volatile / "state.json", state)

    async def prepare(self, item: Step) -> None:
        """Namespaces, root file system and networks; pid 1 waits."""
        await self.named(item.name).prepare(self.project)

    async def open(self, item: Step) -> None:
        """Let pid 1 go."""
        await self.named(item.name).open()
        self.touch()

    async def discard(self, item: Step) -> None:
        """Undo ``prepare``."""
        keeper = self.named(item.name)
        await keeper.discard()
        self._release(keeper.launch)

    async def stop(self, item: Step) -> None:
        """Ask the container to end, then make it end."""
        await self.named(item.id or item.name).stop(item.timeout)

    async def remove(self, item: Step) -> None:
        """Remove a container; anonymous volumes go unless a new container has taken them over."""
        keeper = self.named(item.id or item.name)
        await keeper.remove(with_anonymous=item.reason in ("down", "rm -v", "orphan"))
        del self.keepers[keeper.id]
        self._release(keeper.launch)
        self.touch()

    def forget(self) -> None:
        """Nothing of the project is left: remove its records and logs, and what killed builds left."""
        sweep(self.attachments.networks)
        self.attachments.networks.disclaim()
        delete(self.data)

    def _launches(self) -> list[Launch]:
        """What exists, then what the plan under way will make."""
        return [*(keeper.launch for keeper in self.keepers.values()), *self._translated.values()]

    def _siblings(self) -> dict[str, str]:
        found: dict[str, str] = {}
        for launch in self._launches():
            found[launch.spec.name] = launch.spec.id
            if launch.number == 1 and launch.spec.labels.get(label.ONEOFF) != "True":
                found[launch.service] = launch.spec.id
        return found

    def _inherited(self, service: Service) -> tuple[tuple[tuple[Mount, ...], bool], ...]:
        found = []
        for text in service.volumes_from:
            words = text.removeprefix("container:").split(":")
            sources = [
                launch for launch in self._launches() if words[0] in (launch.service, launch.spec.name)
            ]
            if not sources:
                raise ComposeError(
                    f"service '{service.name}': volumes_from names '{words[0]}', which has no container"
                )
            found.append((sources[-1].spec.mounts, words[1:] == ["ro"]))
        return tuple(found)

    # -- takeover -----------------------------------------------------------------------------------

    async def adopt(self) -> None:
        """Take over what a former supervisor left: records, running containers, pending restarts."""
        states = {state.id: state for state in await self.runtime.adopt()}
        self._hold_shared(states)
        for path in sorted((self.data / "containers").glob("*/launch.json")):
            document = read_json(path)
            if not document:
                continue
            launch = from_json(Launch, document)
            keeper = self.keepers[launch.spec.id] = Keeper(launch, self.shop, facts(path.parent))
            state = states.get(launch.spec.id)
            if state is not None and state.status in ("running", "paused"):
                held = self.runtime.entrusted(launch.spec.id)
                self.attachments.adopt(launch, Path(f"/proc/{state.pid}/ns/net"), held)
                self.runtime.entrust(launch.spec.id, self.attachments.sockets(launch))
                keeper.resume(state.started_at)
            else:
                keeper.exit = state.exit if state is not None else None
                keeper.health = ""
                self.attachments.left(launch)
        for keeper in self.keepers.values():
            if not keeper.running:
                keeper.schedule_restart()

    def _hold_shared(self, states: Mapping[str, ContainerState]) -> None:
        """Keep the namespaces that running guests live in, before their owners are looked at."""
        for path in (self.data / "containers").glob("*/launch.json"):
            document = read_json(path)
            launch = from_json(Launch, document) if document else None
            state = states.get(launch.spec.id) if launch else None
            if launch and state and state.pid and (owner := owner_id(launch)):
                self.attachments.held.hold(owner, Path(f"/proc/{state.pid}/ns/net"))

    def guests(self, id: str) -> bool:
        """Whether a running container lives in the network namespace of ``id``."""
        return any(k.running or k.prepared for k in self.keepers.values() if owner_id(k.launch) == id)

    def _exited(self, id: str, record: ExitRecord) -> None:
        keeper = self.keepers.get(id)
        if keeper is not None:
            keeper.exited(record)
            self._release(keeper.launch)
            owner = self.keepers.get(owner_id(keeper.launch))
            if owner is not None and not owner.active:
                self.attachments.unplug(owner.launch)

    def _release(self, launch: Launch) -> None:
        """Unmount the volumes of ``launch`` that no container needs any more."""
        held = {
            item.name
            for keeper in self.keepers.values()
            if keeper.active or keeper.preparing
            for item in keeper.launch.volumes
        }
        ground.release({item.name for item in launch.volumes} - held, self.places, self.name)


def _code(record: ExitRecord | None) -> str:
    return "?" if record is None or record.code is None else str(record.code)


def _why(keeper: Keeper) -> str:
    return keeper.exit.reason if keeper.exit else ""
