"""Which service has to be there before which: the graph of a project.

Comes in:  a Project.
Goes out:  its Order, a plain value; a part of the project with or without dependencies.
Not here:  when a condition holds (``compose.engine``); drawing.

networkx takes 137 ms to import and is needed only where an Order is made, not where it is read.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from difflib import get_close_matches
from typing import Any

from compose.errors import FileInvalid, UsageError, Where
from compose.model.project import Project
from compose.model.service import Condition, Service
from schemas.frozen import dataclass, field, replace


class CycleFound(FileInvalid):
    """Services wait for each other in a circle."""

    def __init__(self, cycle: Iterable[str], *, where: Where | None = None) -> None:
        names = list(cycle)
        short = names if len(names) <= 50 else [*names[:40], f"... ({len(names) - 45} more)", *names[-5:]]
        super().__init__(
            f"services depend on each other in a circle: {' -> '.join(short)}",
            hint="remove one of these from 'depends_on', 'links', 'volumes_from' or a 'service:' namespace",
            where=where,
            path=f"services.{names[0]}" if names else "",
        )
        self.cycle = tuple(names)


@dataclass(frozen=True, slots=True, kw_only=True)
class Edge:
    """``service`` waits for ``dependency``."""

    service: str
    dependency: str
    condition: Condition = Condition.STARTED
    required: bool = True
    restart: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """A start order: ``nodes`` sorted so that every dependency stands before its dependants."""

    nodes: tuple[str, ...] = ()
    edges: tuple[Edge, ...] = ()
    _cache: dict[str, Any] = field(default_factory=dict, repr=False, compare=False)

    def needs(self, service: str) -> tuple[Edge, ...]:
        """The edges from ``service`` to what it waits for."""
        found: tuple[Edge, ...] = self._index("service").get(service, ())
        return found

    def needed_by(self, service: str) -> tuple[Edge, ...]:
        """The edges from those who wait for ``service``."""
        found: tuple[Edge, ...] = self._index("dependency").get(service, ())
        return found

    def ready(self, done: Collection[str]) -> tuple[str, ...]:
        """Nodes not in ``done`` whose dependencies all are."""
        return tuple(
            node
            for node in self.nodes
            if node not in done and all(edge.dependency in done for edge in self.needs(node))
        )

    def levels(self) -> tuple[tuple[str, ...], ...]:
        """Nodes in waves: each waits only for nodes of earlier waves. O(nodes + edges)."""
        depth: dict[str, int] = {}
        for node in self.nodes:
            depth[node] = 1 + max((depth[edge.dependency] for edge in self.needs(node)), default=-1)
        waves: list[list[str]] = [[] for _ in range(max(depth.values(), default=-1) + 1)]
        for node in self.nodes:
            waves[depth[node]].append(node)
        return tuple(tuple(wave) for wave in waves)

    def dependencies(self, names: Iterable[str]) -> frozenset[str]:
        """``names`` and everything they wait for, directly or not."""
        found: set[str] = set()
        waiting = [name for name in names if name in self._positions()]
        while waiting:
            name = waiting.pop()
            if name not in found:
                found.add(name)
                waiting += [edge.dependency for edge in self.needs(name)]
        return frozenset(found)

    def only(self, names: Collection[str]) -> Order:
        """The order of a part of the services."""
        return Order(
            nodes=tuple(node for node in self.nodes if node in names),
            edges=tuple(e for e in self.edges if e.service in names and e.dependency in names),
        )

    def to_json(self) -> dict[str, Any]:
        """A JSON-able form; ``from_json`` reads it back."""
        edges = [[e.service, e.dependency, e.condition.value, e.required, e.restart] for e in self.edges]
        return {"nodes": list(self.nodes), "edges": edges}

    @staticmethod
    def from_json(value: Mapping[str, Any]) -> Order:
        """The inverse of ``to_json``."""
        return Order(
            nodes=tuple(value["nodes"]),
            edges=tuple(
                Edge(service=s, dependency=d, condition=Condition(c), required=needed, restart=restart)
                for s, d, c, needed, restart in value["edges"]
            ),
        )

    def _positions(self) -> dict[str, int]:
        if "positions" not in self._cache:
            self._cache["positions"] = {node: index for index, node in enumerate(self.nodes)}
        found: dict[str, int] = self._cache["positions"]
        return found

    def _index(self, end: str) -> dict[str, tuple[Edge, ...]]:
        if end not in self._cache:
            grouped: dict[str, list[Edge]] = {}
            for edge in self.edges:
                grouped.setdefault(getattr(edge, end), []).append(edge)
            self._cache[end] = {name: tuple(edges) for name, edges in grouped.items()}
        found: dict[str, tuple[Edge, ...]] = self._cache[end]
        return found


def edges(project: Project) -> tuple[Edge, ...]:
    """Every edge between active services: depends_on, links, volumes_from, shared namespaces."""
    return tuple(
        edge
        for service in project.services.values()
        for edge in _edges(service)
        if edge.dependency in project.services
    )


def _edges(service: Service) -> list[Edge]:
    found = {
        name: Edge(
            service=service.name,
            dependency=name,
            condition=dependency.condition,
            required=dependency.required,
            restart=dependency.restart,
        )
        for name, dependency in service.depends_on.items()
    }
    for name, restart in _implied(service):
        found.setdefault(name, Edge(service=service.name, dependency=name, restart=restart))
    return list(found.values())


def _implied(service: Service) -> list[tuple[str, bool]]:
    """(service, restart) of what is needed without being in ``depends_on``.

    A ``service:`` context is not: its image is needed, and builds see to that (``plan.building``).
    """
    implied = [(link.partition(":")[0], True) for link in service.links]
    for namespace in (service.network_mode, service.ipc, service.pid, service.uts, service.cgroup):
        if namespace.startswith("service:"):
            implied.append((namespace.partition(":")[2], True))
    for source in service.volumes_from:
        if not source.startswith("container:"):
            implied.append((source.partition(":")[0], False))
    return implied


def start_order(project: Project) -> Order:
    """The order in which services may start. Raises CycleFound naming the circle. O(n + m)."""
    import networkx

    found = edges(project)
    graph: Any = networkx.DiGraph()
    graph.add_nodes_from(project.services)
    graph.add_edges_from((edge.dependency, edge.service) for edge in found)
    position = {name: index for index, name in enumerate(project.services)}
    try:
        nodes = tuple(networkx.lexicographical_topological_sort(graph, key=position.__getitem__))
    except networkx.NetworkXUnfeasible:
        raise CycleFound(_cycle(graph)) from None
    return Order(nodes=nodes, edges=found)


def is_acyclic(project: Project) -> bool:
    """Whether no services wait for each other in a circle; light: without networkx. O(n + m)."""
    from graphlib import CycleError, TopologicalSorter

    waits: TopologicalSorter[str] = TopologicalSorter()
    for edge in edges(project):
        waits.add(edge.service, edge.dependency)
    try:
        waits.prepare()
    except CycleError:
        return False
    return True


def find_cycle(waits: Mapping[str, Iterable[str]]) -> list[str]:
    """One circle ``a, b, a`` among ``waits`` (name -> what it waits for), or []. O(n + m)."""
    import networkx

    graph: Any = networkx.DiGraph()
    graph.add_nodes_from(waits)
    graph.add_edges_from(
        (other, name) for name, others in waits.items() for other in others if other in waits
    )
    return [] if networkx.is_directed_acyclic_graph(graph) else _cycle(graph)


def _cycle(graph: Any) -> list[str]:
    """One circle as ``a -> b -> a``, where a waits for b."""
    import networkx

    waits = graph.reverse(copy=False)
    first = next(name for name in graph if _in_circle(waits, name))
    steps = networkx.find_cycle(waits, source=first)
    names = [step[0] for step in steps]
    return [*names, names[0]]


def _in_circle(graph: Any, name: str) -> bool:
    import networkx

    return graph.has_edge(name, name) or any(
        networkx.has_path(graph, n, name) for n in graph.successors(name)
    )


def select(project: Project, names: Collection[str], *, with_dependencies: bool) -> Project:
    """The project with ``names`` only (all services when empty), and what they wait for if wanted.

    Networks, volumes, configs and secrets stay: they belong to the project.
    Raises UsageError for a name that is no active service.
    """
    if not names:
        return project
    for name in names:
        if name not in project.services:
            raise _no_such_service(project, name)
    wanted = set(names)
    if with_dependencies:
        wanted = set(Order(nodes=tuple(project.services), edges=edges(project)).dependencies(names))
    services = {name: one for name, one in project.services.items() if name in wanted}
    return replace(project, services=services)


def _no_such_service(project: Project, name: str) -> UsageError:
    close = get_close_matches(name, [*project.services, *project.disabled], n=1)
    hint = f"did you mean '{close[0]}'?" if close else ""
    if name in project.disabled:
        hint = "its profile is not active: use --profile"
    return UsageError(f"no such service: {name}", hint=hint)
