"""Plans for containers that exist already: down, stop, start, restart, rm.

Comes in:  what was observed, the project if there is a file, flags.
Goes out:  a Plan in which dependents stop before what they depend on.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from compose.model.project import Project
from compose.plan.observed import ALIVE, NETWORK, PROJECT, VOLUME, Container, Observed
from compose.plan.reconcile import cannot_start, shared_namespaces, waits_of
from compose.plan.steps import Builder, Kind, Plan, Step
from schemas.frozen import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class DownOptions:
    """Flags of ``down``; ``services`` () means everything of the project."""

    services: tuple[str, ...] = ()
    volumes: bool = False
    remove_orphans: bool = False
    timeout: float | None = None


def down(project: Project, observed: Observed, options: DownOptions) -> Plan:
    """Stop and remove containers, then networks, then (``volumes``) named volumes.

    Without ``remove_orphans`` containers of services the file does not know stay, and so does a
    network they are on. One-off containers go with their service.
    """
    known = {*project.services, *project.disabled}
    going = [c for c in observed.containers if options.remove_orphans or c.service in known]
    if options.services:
        going = [c for c in going if c.service in options.services]
    orphans = tuple(c.name for c in observed.containers if c.service not in known and c not in going)
    out = Builder()
    removed = _stop_and_remove(out, going, options.timeout, "down")
    if not options.services:
        busy = {name for c in observed.containers if c not in going for name in c.networks}
        for name in _owned(observed.networks, project, NETWORK):
            if name not in busy:
                out.add(Step(kind=Kind.REMOVE_NETWORK, name=name, reason="down", after=removed))
        if options.volumes:
            external = {volume.name for volume in project.volumes.values() if volume.external}
            for name in _owned(observed.volumes, project, VOLUME):
                if name not in external:
                    out.add(Step(kind=Kind.REMOVE_VOLUME, name=name, reason="down -v", after=removed))
    return Plan(steps=tuple(out.steps), orphans=orphans)


def stop(containers: Sequence[Container], timeout: float | None) -> Plan:
    """Stop what runs, dependents first."""
    out = Builder()
    _stop_all(out, containers, timeout, "stop")
    return Plan(steps=tuple(out.steps))


def start(project: Project, order: Sequence[str], containers: Sequence[Container]) -> Plan:
    """Start what does not run, when its dependencies are ready. Raises ComposeError for a paused one."""
    out = Builder()
    for container in containers:
        if container.status == "paused":
            raise cannot_start(container)
    _start_all(out, project, order, [c for c in containers if c.status in ("created", "exited")], {})
    return Plan(steps=tuple(out.steps))


def restart(
    project: Project, order: Sequence[str], containers: Sequence[Container], timeout: float | None
) -> Plan:
    """Stop in reverse order, then start in order; stopped containers are started too."""
    out = Builder()
    stops = _stop_all(out, containers, timeout, "restart")
    _start_all(out, project, order, containers, stops)
    return Plan(steps=tuple(out.steps))


def remove(
    containers: Sequence[Container], *, stop_first: bool, timeout: float | None, volumes: bool = False
) -> Plan:
    """``rm``: remove stopped containers; with ``stop_first`` the running ones as well.

    volumes: their anonymous volumes go too, said by the reason ``rm -v``.
    """
    out = Builder()
    going = [c for c in containers if stop_first or c.status not in ALIVE]
    _stop_and_remove(out, going, timeout, "rm -v" if volumes else "rm")
    return Plan(steps=tuple(out.steps))


def with_restarted_dependents(project: Project, names: Collection[str]) -> set[str]:
    """``names`` and the services whose ``depends_on`` asks to restart together with one of them."""
    found = set(names)
    while True:
        more = {
            service.name
            for service in project.services.values()
            if service.name not in found
            and any(d.restart and name in found for name, d in service.depends_on.items())
        }
        if not more:
            return found
        found |= more


def _owned(things: Mapping[str, Mapping[str, str]], project: Project, label: str) -> list[str]:
    return sorted(
        n for n, labels in things.items() if labels.get(PROJECT) == project.name and label in labels
    )


def _stop_all(
    out: Builder, containers: Sequence[Container], timeout: float | None, reason: str
) -> dict[str, int]:
    """Add stop steps, dependents before dependencies; gives the step by container id."""
    services = {c.service: set(c.depends_on) for c in containers}
    steps: dict[str, int] = {}
    done: set[str] = set()

    def visit(service: str, trail: tuple[str, ...]) -> None:
        if service in done or service in trail:
            return
        dependents = [other for other, needs in services.items() if service in needs]
        for other in dependents:
            visit(other, (*trail, service))
        done.add(service)
        after = tuple(steps[c.id] for c in containers if c.service in dependents and c.id in steps)
        for c in containers:
            if c.service == service and c.status in ALIVE:
                steps[c.id] = out.add(
                    Step(
                        kind=Kind.STOP,
                        name=c.name,
                        reason=reason,
                        after=after,
                        service=service,
                        id=c.id,
                        timeout=timeout,
                    )
                )

    for name in services:
        visit(name, ())
    return steps


def _stop_and_remove(
    out: Builder, containers: Sequence[Container], timeout: float | None, reason: str
) -> tuple[int, ...]:
    stops = _stop_all(out, containers, timeout, reason)
    return tuple(
        out.add(
            Step(
                kind=Kind.REMOVE,
                name=c.name,
                reason=reason,
                service=c.service,
                id=c.id,
                after=(stops[c.id],) if c.id in stops else (),
            )
        )
        for c in containers
    )


def _start_all(
    out: Builder,
    project: Project,
    order: Sequence[str],
    containers: Sequence[Container],
    stops: Mapping[str, int],
) -> None:
    for name in order:
        service = project.services.get(name)
        if service is None:
            continue
        for c in containers:
            if c.service == name and not c.oneoff:
                out.add(
                    Step(
                        kind=Kind.START,
                        name=c.name,
                        reason=f"is {c.status}",
                        service=name,
                        id=c.id,
                        number=c.number,
                        after=tuple(stops.values()),
                        waits=waits_of(service, project),
                        shares=shared_namespaces(service),
                    )
                )
