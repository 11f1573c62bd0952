"""Long form: every short syntax of one file written out, every relative path made absolute.

Comes in:  one interpolated, validated file as a tree, and the directory its paths are relative to.
Goes out:  the same file in the long syntax throughout, so that merging is simple.
Not here:  merging (``merge``), defaults that depend on the whole project (``canonical``).
Source: Compose Specification, short and long syntax of each attribute.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from compose.load import service
from compose.load.forms import Base, each, pairs, texts
from compose.load.problems import Problems
from compose.load.tree import Map, Override
from compose.load.units import words_until

__all__ = ["Base", "long_form"]


def long_form(
    tree: Map,
    base: Base,
    problems: Problems,
    attributes: Mapping[str, Any] = service.ATTRIBUTES,
    resource: Callable[[Any, Base], Any] | None = None,
) -> Map:
    """Write out ``tree``; what cannot be read is noted in ``problems``.

    attributes: those of services; resource: what is done with the rest. Both are told for raw models only.
    """
    result = Map()
    sections = _SECTIONS if resource is None else dict.fromkeys(_SECTIONS, partial(_given, resource))
    for key, value in tree.items():
        section = partial(_service, attributes) if key == "services" else sections.get(key)
        if section is None or not isinstance(value, Map | Override):
            result.move(tree, key, value)
        else:
            result.move(tree, key, each(value, key, section, base, problems))
    return result


def _service(
    attributes: Mapping[str, Any], value: Any, path: tuple[str | int, ...], base: Base, problems: Problems
) -> Any:
    return service.long_form(value, path, base, problems, attributes) if isinstance(value, Map) else value


def _given(
    change: Callable[[Any, Base], Any],
    value: Any,
    path: tuple[str | int, ...],
    base: Base,
    problems: Problems,
) -> Any:
    return change(value, base)


def _resource(value: Any, path: tuple[str | int, ...], base: Base, problems: Problems) -> Any:
    """A top-level network, volume, secret or config."""
    if not isinstance(value, Map):
        return Map() if value is None else value
    result = Map()
    for key, entry in value.items():
        if key == "labels":
            entry = pairs(entry, null="")
        elif key in ("driver_opts", "options"):
            entry = texts(entry)
        elif key == "file" and isinstance(entry, str):
            entry = base.path(entry)
        result.move(value, key, entry)
    try:
        old_external(result)
    except ValueError as error:
        problems.add(str(error), (*path, "name"), result.at.get("name"))
    return result


def old_external(value: Map) -> None:
    """``external: {name: x}`` of old files says ``external: true`` and ``name: x``."""
    external = value.get("external")
    if isinstance(external, Map):
        if "name" in external and "name" in value:
            raise ValueError("the name stands both here and in the old form of 'external': use 'name'")
        if "name" in external:
            value["name"] = external["name"]
        value["external"] = True


def _volume(value: Any, path: tuple[str | int, ...], base: Base, problems: Problems) -> Any:
    result = _resource(value, path, base, problems)
    options = result.get("driver_opts") if isinstance(result, Map) else None
    if isinstance(options, Map) and "bind" in str(options.get("o", "")).split(",") and "device" in options:
        options["device"] = base.source(str(options["device"]))
    return result


def cut_commands(tree: Map) -> list[str]:
    """A sentence for each command line that ends at a character which only a shell would understand."""
    services = tree.get("services")
    told = []
    for name, one in services.items() if isinstance(services, Map) else ():
        for key in ("command", "entrypoint"):
            text = one.get(key) if isinstance(one, Map) else None
            if isinstance(text, str) and (cut := _cut(text)):
                what = f"'{cut}' and what follows is left out, as no shell reads it"
                told.append(
                    f"{one.at.get(key)}: services.{name}.{key}: {what}: quote it, or use [sh, -c, ...]"
                )
    return told


def _cut(text: str) -> str:
    try:
        return text[words_until(text)[1] :][:1]
    except ValueError:
        return ""  # told where the command is split


_Section = Callable[..., Any]
_SECTIONS: dict[str, _Section] = {
    "networks": _resource,
    "volumes": _volume,
    "secrets": _resource,
    "configs": _resource,
}
