"""The project of verbs that act on what exists: from its files, or from its records.

Comes in:  the scope.
Goes out:  a Loaded, and whether it comes from files.
Not here:  when a name is enough (``scope``).
"""

import json
from collections.abc import Iterable, Mapping
from graphlib import CycleError, TopologicalSorter
from typing import TYPE_CHECKING, Any

from compose.cli.scope import Scope

if TYPE_CHECKING:
    from compose.load.project import Loaded


def project_or_records(scope: Scope, services: Iterable[str] = ()) -> "tuple[Loaded, bool]":
    """``-p NAME`` works anywhere, whatever file lies there: the records say what the project is."""
    found = scope.loaded_or_name(services)
    return (recorded(scope, found), False) if isinstance(found, str) else (found, True)


def recorded(scope: Scope, name: str) -> "Loaded":
    """The services of ``name`` that have a container, as they were last applied."""
    from compose.cli import containers
    from compose.graph import Order, edges
    from compose.load.bind import bind
    from compose.load.project import Loaded

    labels = {c.service: c.label("depends_on") for c in containers.of_project(scope.places, name)}
    canonical = model(name, applied(scope, name), labels)
    project = bind(canonical)
    found = edges(project)
    nodes = sorted_services(project.services, [(edge.service, edge.dependency) for edge in found])
    return Loaded(project=project, canonical=canonical, order=Order(nodes=nodes, edges=found))


def model(name: str, last: Mapping[str, Any], labels: Mapping[str, str]) -> dict[str, Any]:
    """The canonical model of the services in ``labels`` (their ``depends_on`` labels). Pure."""
    services = {
        service: {**last.get("services", {}).get(service, {}), "depends_on": dependencies(text, labels)}
        for service, text in labels.items()
    }
    extra = {**last.get("x-pycompose", {}), "order": list(services), "disabled": []}
    return {**last, "name": name, "services": services, "x-pycompose": extra}


def dependencies(text: str, present: Iterable[str]) -> dict[str, dict[str, Any]]:
    """The label ``com.docker.compose.depends_on`` in long form, those in ``present`` only. Pure."""
    found = {}
    for item in text.split(","):
        name, _, rest = item.partition(":")
        condition, _, restart = rest.partition(":")
        if name in present:
            found[name] = {
                "condition": condition or "service_started", "restart": restart == "true", "required": True,
            }  # fmt: skip
    return found


def sorted_services(services: Iterable[str], pairs: Iterable[tuple[str, str]]) -> tuple[str, ...]:
    """``services``, each behind what it waits for: ``pairs`` of a service and its dependency. Pure."""
    waits: TopologicalSorter[str] = TopologicalSorter(dict.fromkeys(services, ()))
    for service, dependency in pairs:
        waits.add(service, dependency)
    try:
        return tuple(waits.static_order())
    except CycleError:  # of labels that never belonged to one file
        return tuple(services)


def applied(scope: Scope, name: str) -> dict[str, Any]:
    """The model last applied to the project ``name``, {} when it is not there any more."""
    try:
        with open(scope.places.project_run(name) / "project.json", "rb") as file:
            last = json.load(file)
    except (OSError, ValueError):
        return {}
    return last if isinstance(last, dict) and last.get("name") == name else {}
