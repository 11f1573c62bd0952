"""What ``config`` lists: names of parts of the model, variables, the environment.

Comes in:  the scope, the canonical model.
Goes out:  texts. Nothing here changes anything.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from compose.cli.scope import Scope
from compose.cli.table import table

if TYPE_CHECKING:
    from compose.load.variables import Mention


def only(model: Mapping[str, Any], services: Sequence[str]) -> Mapping[str, Any]:
    """The model with ``services``, what they wait for and the resources these use; all when none is named."""
    if not services:
        return model
    wanted: set[str] = set()
    todo = list(services)
    while todo:
        name = todo.pop()
        if name not in wanted and name in model["services"]:
            wanted.add(name)
            todo += model["services"][name].get("depends_on") or {}
    kept = {name: service for name, service in model["services"].items() if name in wanted}
    return {**model, "services": kept, **_resources(model, kept)}


def _resources(model: Mapping[str, Any], kept: Mapping[str, Any]) -> dict[str, Any]:
    used: dict[str, set[str]] = {"networks": set(), "volumes": set(), "configs": set(), "secrets": set()}
    for service in kept.values():
        used["networks"].update(service.get("networks") or ())
        for section in ("volumes", "configs", "secrets"):
            used[section].update(item.get("source", "") for item in service.get(section) or ())
    return {
        section: {key: item for key, item in model[section].items() if key in names}
        for section, names in used.items()
        if section in model
    }


def of(model: Mapping[str, Any], part: str, services: Sequence[str]) -> list[str]:
    """Names of ``part``: services, images, volumes, networks, models or profiles, sorted."""
    chosen = {n: s for n, s in model["services"].items() if not services or n in services}
    if part == "services":
        return sorted(chosen)
    if part == "images":
        return [chosen[n].get("image") or f"{model['name']}-{n}" for n in sorted(chosen)]
    if part == "profiles":
        return list(model.get("x-pycompose", {}).get("all_profiles", ()))
    if part == "models":
        return sorted(m["model"] for m in (model.get("models") or {}).values() if m.get("model"))
    return sorted(model.get(part) or ())


def environment(scope: Scope) -> str:
    """``NAME=value`` lines: what variables of the files are replaced with."""
    from compose.load.files import discover
    from compose.load.request import Reader

    source = discover(scope.request(), Reader())
    found = dict(source.environment)
    found.setdefault("COMPOSE_PROJECT_NAME", source.name or scope.model()["name"])
    return "".join(f"{name}={found[name]}\n" for name in sorted(found))


def variables(scope: Scope) -> "list[Mention]":
    """Every variable that the files mention, by name; in one text its first form counts, else the last."""
    from compose.load.variables import mentions

    model = scope.partial_model(("interpolate", "normalize", "path-resolution"))
    found: dict[str, Mention] = {}
    for text in _texts({key: item for key, item in model.items() if key != "name"}):
        for one in reversed(list(mentions(text))):
            found[one.name] = one
    return [found[name] for name in sorted(found)]


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping | list):
        for one in value.values() if isinstance(value, Mapping) else value:
            yield from _texts(one)


def variables_table(found: "Sequence[Mention]") -> str:
    """A line for each variable."""
    rows = [[one.name, str(one.required).lower(), one.default, one.alternate] for one in found]
    return table([["NAME", "REQUIRED", "DEFAULT VALUE", "ALTERNATE VALUE"], *rows], least=20)


def variables_json(found: "Sequence[Mention]") -> str:
    """An object for each variable, as docker compose prints it."""
    import json

    shown = {
        one.name: {
            "Name": one.name,
            "DefaultValue": one.default,
            "PresenceValue": one.alternate,
            "Required": one.required,
        }
        for one in found
    }
    return json.dumps(shown, indent=4, ensure_ascii=False) + "\n"
