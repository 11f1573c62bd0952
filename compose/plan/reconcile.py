"""What ``up`` has to do: from a Project and an Observed snapshot to a Plan.

Comes in:  a Project, the services wanted in their start order, what was observed.
Goes out:  a Plan; every step carries the reason for it.
Not here:  asking the machine (engine.observe), running a step (engine.execute).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from compose.errors import ComposeError
from compose.model.project import Network, Project
from compose.model.service import NOTHING, Condition, Service
from compose.plan.fingerprint import network_hash, service_hash, volume_hash
from compose.plan.observed import ALIVE, CONFIG_HASH, PROJECT, Container, Observed
from compose.plan.steps import Builder, Kind, Plan, Step, Wait
from schemas.frozen import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class UpOptions:
    """Flags of ``up`` and ``create``.

    named:  services named on the command line; () means all of the project.
    scale:  wanted replicas by service, over what the file says.
    images: wanted image id by service.
    renew_volumes: names of volumes that are made anew, their data lost.
    ground: services of which only the networks and volumes are wanted, for a one-off container.
    """

    named: tuple[str, ...] = ()
    force_recreate: bool = False
    no_recreate: bool = False
    always_recreate_deps: bool = False
    no_deps: bool = False
    remove_orphans: bool = False
    renew_anonymous: bool = False
    no_start: bool = False
    timeout: float | None = None
    scale: Mapping[str, int] = field(default_factory=lambda: NOTHING)
    images: Mapping[str, str] = field(default_factory=lambda: NOTHING)
    ground: tuple[str, ...] = ()
    renew_volumes: tuple[str, ...] = ()


def reconcile(
    project: Project, order: Sequence[str], observed: Observed, options: UpOptions | None = None
) -> Plan:
    """List the steps that turn ``observed`` into ``project``.

    order: the services to act on, dependencies first (``compose.graph``); others are left as they are.
    Raises ComposeError when something external is missing.
    """
    return _Reconciler(project, order, observed, options or UpOptions()).plan()


def container_name(project: Project, service: Service, number: int) -> str:
    """``container_name`` if the file gives one, else ``<project>-<service>-<number>`` by its separator."""
    return service.container_name or project.separator.join((project.name, service.name, str(number)))


class _Reconciler:
    def __init__(
        self, project: Project, order: Sequence[str], observed: Observed, options: UpOptions
    ) -> None:
        self.project = project
        self.order = [name for name in order if name in project.services]
        self.observed = observed
        self.options = options
        self.out = Builder()
        self.kept: list[str] = []
        self.networks: dict[str, int] = {}  # real name -> step that creates it
        self.renewed: set[str] = set()  # networks made anew
        self.replaced: set[str] = set()  # services with a new container
        self.removals: dict[str, tuple[int, ...]] = {}  # service -> removal of old containers
        self.volumes: tuple[int, ...] = ()

    def plan(self) -> Plan:
        self._find_renewed_networks()
        self._check_external()
        orphans = self._orphans()
        reasons = {name: self._reasons(self.project.services[name]) for name in self.order}
        self._retire(reasons)
        self._create_networks()
        self._create_volumes()
        for name in self.order:
            self._service(self.project.services[name], reasons[name])
        return Plan(steps=tuple(self.out.steps), kept=tuple(self.kept), orphans=orphans)

    # -- what has to exist, and what is left over ---------------------------------------------------

    def _check_external(self) -> None:
        services = self._grounded()
        joined = {key for service in services for key in service.networks}
        mounted = {m.source for s in services for m in s.volumes if m.type == "volume"}
        for network in self.project.networks.values():
            if network.key not in joined:
                continue
            if network.external and network.name not in self.observed.networks:
                raise ComposeError(
                    f"network '{network.name}' is declared as external, but could not be found",
                    hint="start the project that makes it first, or remove 'external: true'",
                    path=f"networks.{network.key}",
                )
        for volume in self.project.volumes.values():
            if volume.key not in mounted:
                continue
            if volume.external and volume.name not in self.observed.volumes:
                raise ComposeError(
                    f"external volume '{volume.name}' not found",
                    hint="make it first, or remove 'external: true'",
                    path=f"volumes.{volume.key}",
                )

    def _check_owner(self, network: Network) -> None:
        """A network belongs to the project that made it."""
        owner = self.observed.networks[network.name].get(PROJECT, "")
        if owner != self.project.name:
            whose = f"project '{owner}'" if owner else "no project"
            raise ComposeError(
                f"a network with name {network.name} exists but was not created for project "
                f"'{self.project.name}': it belongs to {whose}",
                hint="set 'external: true' to use an existing network, or choose another name",
                path=f"networks.{network.key}",
            )

    def _find_renewed_networks(self) -> None:
        for network in self.project.networks.values():
            there = self.observed.networks.get(network.name)
            if there is None or network.external or there.get(PROJECT) != self.project.name:
                continue
            if there.get(CONFIG_HASH) != network_hash(network):
                self.renewed.add(network.name)

    def _orphans(self) -> tuple[str, ...]:
        known = {*self.project.services, *self.project.disabled}
        found = [c for c in self.observed.containers if c.service not in known and not c.oneoff]
        if not self.options.remove_orphans:
            return tuple(c.name for c in found)
        for container in found:
            self._drop(container, "orphan")
        return ()

    def _drop(self, container: Container, reason: str, after: tuple[int, ...] = ()) -> int:
        if container.status in ALIVE:
            stop = self.out.add(
                Step(
                    kind=Kind.STOP,
                    name=container.name,
                    reason=reason,
                    after=after,
                    id=container.id,
                    service=container.service,
                    timeout=self.options.timeout,
                )
            )
            after = (*after, stop)
        return self.out.add(
            Step(
                kind=Kind.REMOVE,
                name=container.name,
                reason=reason,
                after=after,
                id=container.id,
                service=container.service,
            )
        )

    # -- why a container cannot stay ----------------------------------------------------------------

    def _wanted(self, service: Service) -> int:
        return self.options.scale.get(service.name, service.scale)

    def _reasons(self, service: Service) -> dict[str, str]:
        """Name of each container of ``service`` that has to go, with the reason."""
        found: dict[str, str] = {}
        containers = self.observed.of(service.name)
        wanted = self._wanted(service)
        for container in containers[wanted:] if wanted < len(containers) else ():
            found[container.name] = f"scaled to {wanted}"
        for container in containers[:wanted]:
            reason = self._diverged(service, container)
            if reason:
                found[container.name] = reason
                self.replaced.add(service.name)
        return found

    def _diverged(self, service: Service, container: Container) -> str:
        options = self.options
        renewed = self.renewed.intersection(container.networks)
        if renewed:
            return f"network {min(renewed)} changed"
        for mount in service.volumes:
            volume = self.project.volumes.get(mount.source)
            if mount.type == "volume" and volume is not None and volume.name in options.renew_volumes:
                return f"volume {volume.name} changed"
        if options.no_recreate:
            return ""
        named = not options.named or service.name in options.named
        if options.force_recreate and named:
            return "forced"
        if options.renew_anonymous and container.anonymous:
            return "anonymous volumes renewed"
        if options.always_recreate_deps and not named:
            return "dependency, forced"
        image = options.images.get(service.name, "")
        if image and container.image and image != container.image:
            return f"image {service.image or service.name} changed"
        if container.config_hash != service_hash(service, self.project):
            return "configuration changed"
        if container.name != container_name(self.project, service, container.number):
            return "name changed"
        shared = [name for name in _shares_with(service) if name in self.replaced]
        return f"shares with {shared[0]}, which is replaced" if shared else ""

    # -- steps --------------------------------------------------------------------------------------

    def _retire(self, reasons: Mapping[str, Mapping[str, str]]) -> None:
        """Stop and remove what has to go, dependents before their dependencies."""
        for name in reversed(self.order):
            dependents = tuple(
                number
                for other in self.order
                if name in self.project.services[other].depends_on
                for number in self.removals.get(other, ())
            )
            going = [c for c in self.observed.of(name) if c.name in reasons[name]]
            self.removals[name] = tuple(self._drop(c, reasons[name][c.name], dependents) for c in going)

    def _grounded(self) -> list[Service]:
        return [self.project.services[name] for name in (*self.order, *self.options.ground)]

    def _create_networks(self) -> None:
        used = {key for service in self._grounded() for key in service.networks}
        for network in self.project.networks.values():
            if network.external or (network.key not in used and not self.project.all_resources):
                continue
            after: tuple[int, ...] = ()
            reason = "missing"
            if network.name in self.renewed:
                removed = tuple(n for numbers in self.removals.values() for n in numbers)
                gone = Step(kind=Kind.REMOVE_NETWORK, name=network.name, reason="changed", after=removed)
                after, reason = (self.out.add(gone),), "changed"
            elif network.name in self.observed.networks:
                self._check_owner(network)
                continue
            self.networks[network.key] = self.out.add(
                Step(kind=Kind.CREATE_NETWORK, name=network.name, reason=reason, after=after)
            )

    def _create_volumes(self) -> None:
        used = {m.source for s in self._grounded() for m in s.volumes if m.type == "volume"}
        made = []
        for volume in self.project.volumes.values():
            if volume.external or (volume.key not in used and not self.project.all_resources):
                continue
            after: tuple[int, ...] = ()
            reason = "missing"
            if volume.name in self.options.renew_volumes:
                removed = tuple(n for numbers in self.removals.values() for n in numbers)
                gone = Step(kind=Kind.REMOVE_VOLUME, name=volume.name, reason="changed", after=removed)
                after, reason = (self.out.add(gone),), "changed"
            elif volume.name in self.observed.volumes:
                continue
            made.append(
                self.out.add(Step(kind=Kind.CREATE_VOLUME, name=volume.name, reason=reason, after=after))
            )
        self.volumes = tuple(made)

    def _service(self, service: Service, reasons: Mapping[str, str]) -> None:
        wanted = self._wanted(service)
        staying = [c for c in self.observed.of(service.name) if c.name not in reasons]
        leaving = [c for c in self.observed.of(service.name) if c.name in reasons][: wanted - len(staying)]
        for container in staying:
            self._keep(service, container)
        for container in leaving:
            self._make(service, container.number, reasons[container.name], container)
        taken = {c.number for c in (*staying, *leaving)}
        free = (n for n in range(1, wanted + len(taken) + 1) if n not in taken)
        for _ in range(wanted - len(taken)):
            self._make(service, next(free), "missing", None)

    def _keep(self, service: Service, container: Container) -> None:
        restarted = any(
            dependency.restart and name in self.replaced for name, dependency in service.depends_on.items()
        )
        if container.status == "running" and restarted and not self.options.no_start:
            stop = self.out.add(
                Step(
                    kind=Kind.STOP,
                    name=container.name,
                    reason="dependency replaced",
                    id=container.id,
                    service=service.name,
                    timeout=self.options.timeout,
                )
            )
            self._start(
                service, container.name, container.number, "dependency replaced", (stop,), container.id
            )
        elif container.status == "running" or self.options.no_start:
            self.kept.append(container.name)
        elif container.status == "paused":
            raise cannot_start(container)
        else:
            self._start(service, container.name, container.number, f"is {container.status}", (), container.id)

    def _make(self, service: Service, number: int, reason: str, old: Container | None) -> None:
        networks = tuple(self.networks[key] for key in service.networks if key in self.networks)
        after = tuple(sorted({*networks, *self.volumes, *self.removals.get(service.name, ())}))
        name = container_name(self.project, service, number)
        carry = old.anonymous if old is not None and not self.options.renew_anonymous else NOTHING
        created = self.out.add(
            Step(
                kind=Kind.CREATE,
                name=name,
                reason=reason,
                after=after,
                service=service.name,
                number=number,
                carry=carry,
            )
        )
        if not self.options.no_start:
            self._start(service, name, number, reason, (created,))

    def _start(
        self, service: Service, name: str, number: int, reason: str, after: tuple[int, ...], id: str = ""
    ) -> None:
        waits = () if self.options.no_deps else waits_of(service, self.project)
        self.out.add(
            Step(
                kind=Kind.START,
                name=name,
                reason=reason,
                after=after,
                service=service.name,
                number=number,
                waits=waits,
                shares=shared_namespaces(service),
                id=id,
            )
        )


def changed_volumes(
    project: Project, order: Sequence[str], labels: Mapping[str, Mapping[str, str]]
) -> list[str]:
    """Names of volumes of ``order`` that were made from another definition. labels: by volume name."""
    used = {m.source for name in order for m in project.services[name].volumes if m.type == "volume"}
    found = []
    for volume in project.volumes.values():
        made = labels.get(volume.name, NOTHING)
        own = made.get(PROJECT) == project.name and CONFIG_HASH in made
        if own and volume.key in used and not volume.external and made[CONFIG_HASH] != volume_hash(volume):
            found.append(volume.name)
    return found


def cannot_start(paused: Container) -> ComposeError:
    """The error for a container that is frozen: it has to be thawed first."""
    return ComposeError(
        f"cannot start a paused container, try unpause instead: {paused.name}",
        hint=f"pycompose unpause {paused.service}",
    )


def waits_of(service: Service, project: Project) -> tuple[Wait, ...]:
    """What has to be true of its dependencies before ``service`` starts; inactive ones are left out."""
    return tuple(
        Wait(service=name, condition=Condition(dependency.condition), required=dependency.required)
        for name, dependency in service.depends_on.items()
        if name in project.services
    )


def shared_namespaces(service: Service) -> tuple[str, ...]:
    """Services whose namespaces this one lives in."""
    modes = (service.network_mode, service.ipc, service.pid)
    return tuple(mode.removeprefix("service:") for mode in modes if mode.startswith("service:"))


def _shares_with(service: Service) -> list[str]:
    """Services whose namespaces or mounts this one uses: it cannot outlive their containers."""
    return [*shared_namespaces(service)] + [
        v.split(":")[0] for v in service.volumes_from if not v.startswith("container:")
    ]
