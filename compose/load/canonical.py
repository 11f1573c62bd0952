"""The canonical model: what the whole project means, written out in full.

Comes in:  the merged tree and what was found out about the project.
Goes out:  a JSON-able dict as ``config --format json`` shows it, plus ``x-pycompose``: what a Project
           needs beyond that. ``printed`` gives the form for people and other programs.
Not here:  frozen values (``bind``), refusing what cannot be (``check``).
Source: docker compose 2.40, ``config --format json``.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from compose.load.tree import Map, plain
from compose.load.units import number_text

EXTRA = "x-pycompose"
_SECTIONS = ("networks", "volumes", "configs", "secrets")


def canonical(tree: Map, name: str, directory: str, omit: Collection[str] = ()) -> dict[str, Any]:
    """The model of the active services of ``tree``, which has passed ``check``.

    omit: with "normalize", nothing is filled in that follows from elsewhere: default network, build
          defaults, implied dependencies, names of resources.
    """
    normalize = "normalize" not in omit
    model: dict[str, Any] = {"name": name}
    model |= {key: plain(value) for key, value in tree.items() if key.startswith("x-")}
    services = (tree.get("services") or {}).items()
    model["services"] = {key: _service(plain(one), directory, normalize=normalize) for key, one in services}
    for section in _SECTIONS:
        used = _used(section, model["services"])
        declared = tree.get(section) or {}
        entries = {key: plain(declared.get(key)) or {} for key in (*declared, *sorted(used)) if key in used}
        if entries:
            prefix = name if normalize else ""
            model[section] = {key: _resource(section, key, one, prefix) for key, one in entries.items()}
    used = {key for entry in model["services"].values() for key in entry.get("models") or ()}
    models = {key: plain(entry) for key, entry in (tree.get("models") or {}).items() if key in used}
    if models:
        model["models"] = models
    return model


def _service(entry: dict[str, Any], directory: str, *, normalize: bool) -> dict[str, Any]:
    """One service with its defaults; empty attributes vanish."""
    for key in ("command", "entrypoint"):
        entry.setdefault(key, None)
    build = entry.get("build")
    if build is not None:
        build.setdefault("context", directory)
        _without_empty(build)
        if "extra_hosts" in build:
            build["extra_hosts"].sort()
    if normalize:
        if "network_mode" not in entry and "provider" not in entry and not entry.get("networks"):
            entry["networks"] = {"default": None}
        if build is not None:
            _build(build)
        _imply(entry)
        if entry.get("pull_policy") == "if_not_present":
            entry["pull_policy"] = "missing"
    if not entry.get("networks"):
        entry.pop("networks", None)
    for mount in entry.get("volumes") or ():
        if mount.get("bind", {}).get("create_host_path") is False:
            del mount["bind"]["create_host_path"]
    for watch in (entry.get("develop") or {}).get("watch") or ():
        watch.setdefault("exec", {"command": None})
    for key in ("deploy", "develop", "healthcheck", "blkio_config", "credential_spec", "logging"):
        if entry.get(key, ()) is None:
            del entry[key]
    if options := (entry.get("provider") or {}).get("options"):
        entry["provider"]["options"] = {key: _all_texts(value) for key, value in options.items()}
    for holder, key in ((entry, "storage_opt"), (entry.get("logging") or {}, "options")):
        _fill(holder, key)
    _without_empty(entry.get("healthcheck"), "test", "disable")
    _without_empty(entry.get("develop"), "watch")
    for network in (entry.get("networks") or {}).values():
        _fill(network or {}, "driver_opts")
        _without_empty(network)
    deploy = entry.get("deploy")
    if deploy is not None:
        deploy.setdefault("resources", {})
        deploy.setdefault("placement", {})
    if "mem_swappiness" in entry:
        entry["mem_swappiness"] = str(entry["mem_swappiness"])
    for name, limits in (entry.get("blkio_config") or {}).items():
        if isinstance(limits, list):  # the one place where docker compose writes capital letters
            rated = {"Rate": "0"} if name.startswith("device_") else {}
            limits[:] = [rated | {key.capitalize(): value for key, value in one.items()} for one in limits]
    if "extra_hosts" in entry:
        entry["extra_hosts"].sort()
    return {key: value for key, value in entry.items() if not _vanishes(key, value)}


_MAPPINGS = frozenset({
    "networks", "healthcheck", "deploy", "build", "develop", "blkio_config", "credential_spec", "logging",
})  # fmt: skip


def _all_texts(value: Any) -> list[str]:
    return [number_text(one) for one in value] if isinstance(value, list) else [number_text(value)]


def _fill(holder: dict[str, Any], key: str) -> None:
    """Options without a value get an empty one."""
    if holder.get(key):
        holder[key] = {name: "" if value is None else value for name, value in holder[key].items()}


def _without_empty(entry: Any, *keys: str) -> None:
    """Drop from a mapping what is empty, ``false`` or 0; all of it, or only ``keys``."""
    for key in keys or tuple(entry or ()):
        if entry and key in entry and not entry[key]:
            del entry[key]


_SIZES = frozenset({"mem_limit", "mem_reservation", "memswap_limit", "shm_size"})


def _vanishes(key: str, value: object) -> bool:
    if key in _SIZES and value == "0":
        return True
    if key in ("command", "entrypoint") or (key in _MAPPINGS and value is not None):
        return False
    if key in ("attach", "init", "scale"):
        return value is None
    return value is None or value is False or value == "" or value == [] or value == {} or value == 0


def _build(build: dict[str, Any]) -> None:
    if "dockerfile_inline" not in build:
        build.setdefault("dockerfile", "Dockerfile")
    args = build.get("args")
    if args is not None:
        build["args"] = {key: value for key, value in args.items() if value is not None}


def _used(section: str, services: Mapping[str, Any]) -> set[str]:
    """The keys of ``section`` that active services use."""
    used: set[str] = set()
    for service in services.values():
        if section == "networks":
            used |= set(service.get("networks") or ())
        elif section == "volumes":
            mounts = service.get("volumes") or ()
            used |= {m["source"] for m in mounts if m.get("type") == "volume" and m.get("source")}
        else:
            used |= {mount.get("source", "") for mount in service.get(section) or ()}
            used |= {mount.get("source", "") for mount in (service.get("build") or {}).get(section) or ()}
    return used - {""}


def _resource(section: str, key: str, entry: dict[str, Any], project: str) -> dict[str, Any]:
    result = dict(entry)
    _fill(result, "driver_opts")
    if project:
        external = bool(entry.get("external"))
        result["name"] = entry.get("name") or (key if external or "name" in entry else f"{project}_{key}")
    if section == "networks":
        result.setdefault("ipam", {})
    _without_empty(result.get("ipam"))
    return {k: v for k, v in result.items() if k in _KEPT or (v is not False and v not in (None, {}, ""))}


_KEPT = ("ipam", "enable_ipv4", "enable_ipv6", "content")


def _imply(entry: dict[str, Any]) -> None:
    """Dependencies that other attributes imply, written out."""
    wanted = entry.get("depends_on") or {}
    for name, restart in implied(entry):
        how = {"condition": "service_started", **({"restart": True} if restart else {}), "required": True}
        wanted.setdefault(name, how)
    for dependency in wanted.values():
        if dependency.get("restart") is False:
            del dependency["restart"]
    if wanted:
        entry["depends_on"] = wanted


def implied(entry: Mapping[str, Any]) -> list[tuple[str, bool]]:
    """(service, whether it restarts along) of links, shared namespaces and volumes_from."""
    found = [(linked(link), True) for link in entry.get("links") or ()]
    for key in ("network_mode", "ipc", "pid", "uts", "cgroup"):
        mode = str(entry.get(key) or "")
        if mode.startswith("service:"):
            found.append((mode.partition(":")[2], True))
    for source in entry.get("volumes_from") or ():
        if not source.startswith("container:"):
            found.append((source.partition(":")[0], False))
    return found


def linked(text: str) -> str:
    """The service of a link ``SERVICE[:ALIAS]``."""
    return text.partition(":")[0] if text.count(":") < 2 else text


def printed(model: Mapping[str, Any]) -> dict[str, Any]:
    """The model for output: keys sorted, every literal dollar doubled, our own additions left out."""
    shown: dict[str, Any] = _escaped({key: value for key, value in model.items() if key != EXTRA})
    return shown


def _escaped(value: Any) -> Any:
    if isinstance(value, str):
        return value.replace("$", "$$")
    if isinstance(value, Mapping):
        return {key.replace("$", "$$"): _escaped(value[key]) for key in sorted(value)}
    if isinstance(value, list | tuple):
        return [_escaped(entry) for entry in value]
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value
