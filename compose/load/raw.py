"""The model with its variables left alone: ``config --no-interpolate``.

Comes in:  a LoadRequest that omits "interpolate", and a Reader.
Goes out:  the merged model as plain data: what may hold a ``${...}`` is as it was written.
Not here:  frozen values: such a model can be looked at and not run.
Source: docker compose 2.40, ``config --no-interpolate``; no profiles, nothing left out.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from typing import Any

from compose.load import files, resolve, service, short
from compose.load.canonical import implied
from compose.load.forms import Base, keyed, listed, through
from compose.load.interpolate import Scope
from compose.load.layers import Assembler
from compose.load.long import old_external
from compose.load.notes import Notes
from compose.load.tree import Map, Seq, place, plain

_SECTIONS = ("networks", "volumes", "configs", "secrets")


def model(request: files.LoadRequest, reader: files.Reader) -> dict[str, Any]:
    """Read and merge the files of ``request`` without looking at any variable. Raises ComposeError."""
    source = files.discover(request, reader)
    scope, notes = Scope(dict(source.environment)), Notes(omit=request.omit)
    notes.root = source.directory if "path-resolution" in request.omit else ""
    tree = Assembler(reader, scope, source.directory, request.cwd, notes).project(source.files)
    services = tree.get("services")
    for name, entry in services.items() if isinstance(services, Map) else ():
        if entry is None:
            message = f"'services.{name}' is empty; it has to be a mapping"
            notes.problems.add(message, ("services", name), place(tree, ("services", name)))
    notes.problems.check()
    result: dict[str, Any] = plain(tree)
    normal = "normalize" not in request.omit
    name = resolve.name_of(source, tree)
    result["name"] = name if normal or not tree.get("name") else source.name or tree["name"]
    plain_services: dict[str, Any] = result.get("services") or {}
    for entry in plain_services.values():
        _defaults(entry, (notes.root and ".") or source.directory)
    if normal:
        _normalize(result, plain_services)
    ordered: dict[str, Any] = _sorted(result)
    return ordered


def _mapping(value: Any) -> dict[str, Any]:
    """``value`` if it is a mapping, else an empty one: a variable may stand in its place."""
    return value if isinstance(value, dict) else {}


def _defaults(entry: dict[str, Any], directory: str) -> None:
    for holder, key in (
        (entry, "command"),
        (entry, "entrypoint"),
        (_mapping(entry.get("healthcheck")), "test"),
    ):
        if holder.get(key) == []:
            holder[key] = None
    resources = _mapping(_mapping(entry.get("deploy")).get("resources"))
    devices = _mapping(resources.get("reservations")).get("devices") or ()
    for request in (*devices, *(entry.get("gpus") or ())):
        if isinstance(request, dict) and "device_ids" not in request:
            request.setdefault("count", "all")
    for secret in entry.get("secrets") or ():
        if isinstance(secret, dict) and "source" in secret:
            secret.setdefault("target", f"/run/secrets/{secret['source']}")
    if isinstance(entry.get("build"), dict):
        entry["build"].setdefault("context", directory)


def _normalize(result: dict[str, Any], services: Mapping[str, Any]) -> None:
    """Fill in what follows from elsewhere: the default network, build defaults, names, dependencies."""
    used = False
    for entry in services.values():
        if not entry.get("network_mode") and "provider" not in entry and not entry.get("networks"):
            entry["networks"] = {"default": None}
        used |= "default" in (entry.get("networks") or ())
        if isinstance(entry.get("build"), dict):
            _build(entry["build"])
        if entry.get("pull_policy") == "if_not_present":
            entry["pull_policy"] = "missing"
        wanted = entry.get("depends_on") or {}
        for name, restart in implied(entry):
            wanted.setdefault(name, {"condition": "service_started", "restart": restart, "required": True})
        if wanted:
            entry["depends_on"] = wanted
    if used:
        result["networks"] = result.get("networks") or {}
        result["networks"].setdefault("default", {})
    for section in _SECTIONS:
        for key, entry in (result.get(section) or {}).items():
            entry = result[section][key] = entry or {}
            if isinstance(entry, dict) and not entry.get("name"):
                entry["name"] = key if entry.get("external") else f"{result['name']}_{key}"


def _build(build: dict[str, Any]) -> None:
    if "dockerfile_inline" not in build:
        build.setdefault("dockerfile", "Dockerfile")
    args = build.get("args")
    if isinstance(args, list):
        build["args"] = [text for text in args if "=" in str(text)]
    elif isinstance(args, dict):
        build["args"] = {name: value for name, value in args.items() if value is not None}


def _sorted(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _sorted(value[key]) for key in sorted(value)}
    return [_sorted(item) for item in value] if isinstance(value, list) else value


def _lenient(change: Callable[..., Any]) -> Callable[..., Any]:
    """``change``, but a value that it cannot read, because of a variable in it, stays as it is."""

    def one(value: Any, base: Base) -> Any:
        try:
            return change(value, base)
        except (ValueError, TypeError):
            return value

    return one


def _items(change: Callable[[Any, Base], Any]) -> Callable[..., Any]:
    def each(value: Any, base: Base) -> Any:
        if not isinstance(value, Seq):
            return value
        lenient = _lenient(change)
        return Seq((through(lambda one: lenient(one, base), item), where) for item, where in value.placed())

    return each


def _volume(item: Any, base: Base) -> Any:
    mount = service.mapping(short.volume(item)) if isinstance(item, str) else item
    if isinstance(mount, Map) and mount.get("type") == "bind" and isinstance(mount.get("source"), str):
        mount["source"] = base.path(mount["source"])
    return mount


def _ports(value: Any, _base: Base) -> Any:
    """Long, unless one of the texts cannot be read because of a variable: then all stay as they are."""
    result = Seq()
    for item, where in value.placed():
        if isinstance(item, Map):
            result.add(service.mapping({"mode": "ingress", "protocol": "tcp", **item}), where)
        else:
            for port in short.ports(str(item)):
                result.add(service.mapping(port), where)
    return result


def _source(item: Any, _base: Base) -> Any:
    return service.mapping({"source": item}) if isinstance(item, str) else item


def _gpus(value: Any, _base: Base) -> Any:
    return Seq([(service.mapping({"count": "all"}), None)]) if value == "all" else value


def resource(value: Any, base: Base) -> Any:
    """A top-level volume, network, config or secret: only its path and the old form of ``external``."""
    if not isinstance(value, Map):
        return value
    if isinstance(value.get("file"), str):
        value["file"] = base.path(value["file"])
    options = value.get("driver_opts")
    if isinstance(options, Map) and "bind" in str(options.get("o", "")) and "device" in options:
        options["device"] = base.path(str(options["device"]))
    with contextlib.suppress(ValueError):  # a name twice: told where variables are replaced
        old_external(value)
    return value


_LONG: Mapping[str, Any] = service.ATTRIBUTES
_BUILD = {key: _LONG["build"][1][key] for key in ("context", "additional_contexts", "provenance", "sbom")}
ATTRIBUTES: dict[str, Any] = {
    "build": (_LONG["build"][0], {**_BUILD, "secrets": _items(_source)}),
    "configs": _items(_source),
    "depends_on": _LONG["depends_on"],
    "devices": _lenient(_LONG["devices"]),
    "develop": {"watch": _lenient(_LONG["develop"]["watch"])},
    "dns": lambda value, _base: listed(value),
    "env_file": _LONG["env_file"],
    "gpus": _gpus,
    "label_file": _LONG["label_file"],
    "models": lambda value, _base: keyed(value),
    "networks": lambda value, _base: keyed(value),
    "ports": _lenient(_ports),
    "secrets": _items(_source),
    "volumes": _items(_volume),
}
