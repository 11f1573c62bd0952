"""Attributes that are read and checked, and on which nothing here acts: each is named once.

Comes in:  the merged tree with its active services.
Goes out:  errors of that kind, one per attribute, with the first place; a load turns them into warnings,
           ``--strict`` into a refusal.
Not here:  what is refused when a container is made (``compose.plan.confine``).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from compose.errors import FileInvalid
from compose.load.tree import Map, Seq, dotted, place

Path = tuple[str | int, ...]
_WINDOWS = "it is for Windows containers"
_SWARM = "it is for swarm"
_UP = "'up' refuses it: "
WHY: dict[str, str] = {
    "services.*.build.cache_from": "the build cache is local",
    "services.*.build.cache_to": "the build cache is local",
    "services.*.build.entitlements": "builds are as confined as services",
    "services.*.build.isolation": _WINDOWS,
    "services.*.build.provenance": "no attestations are made",
    "services.*.build.sbom": "no attestations are made",
    "services.*.cpu_count": _WINDOWS,
    "services.*.cpu_percent": _WINDOWS,
    "services.*.credential_spec": _UP + _WINDOWS,
    "services.*.deploy.endpoint_mode": _SWARM,
    "services.*.deploy.placement": _SWARM,
    "services.*.deploy.resources.reservations.cpus": "processor time is shared by weight",
    "services.*.deploy.resources.reservations.devices": "devices are given by 'devices'",
    "services.*.deploy.resources.reservations.generic_resources": _SWARM,
    "services.*.deploy.rollback_config": _SWARM,
    "services.*.deploy.update_config": _SWARM,
    "services.*.develop.watch": "files are not watched",
    "services.*.external_links": "join the other project's network instead",
    "services.*.gpus": _UP + "GPU requests are not handled",
    "services.*.isolation": _WINDOWS,
    "services.*.models": _UP + "there is no model runner here",
    "services.*.ports.*.app_protocol": "it tells nothing to the kernel",
    "services.*.pre_start": "hooks before the start are not run",
    "services.*.provider": _UP + "external providers are not run",
    "services.*.runtime": "containers are run by pycompose itself",
    "services.*.storage_opt": "the writable layer has no size of its own",
    "services.*.use_api_socket": _UP + "there is no engine API to hand into a container",
    "services.*.userns_mode": "all containers share the host's user namespace",
    "services.*.volumes.*.bind.selinux": "files are not labelled",
    "services.*.volumes.*.consistency": "it means nothing on Linux",
    "networks.*.attachable": _SWARM,
}
_HARMLESS = {"userns_mode": ("host",), "runtime": ("runc",)}


def ignored(tree: Map) -> list[FileInvalid]:
    """One error per attribute of ``WHY`` that the project uses. O(patterns * services)."""
    errors = []
    for pattern, why in WHY.items():
        found = [path for path, value in _match(tree, tuple(pattern.split(".")), ()) if _counts(path, value)]
        if found:
            more = f" (and in {len(found) - 1} more places)" if len(found) > 1 else ""
            message = f"'{pattern.rpartition('*.')[2]}' has no effect here{more}: {why}"
            where = place(tree, found[0])
            errors.append(FileInvalid(message, where=where, path=dotted(found[0])))
    return errors


def _counts(path: Path, value: Any) -> bool:
    return bool(value) and value not in _HARMLESS.get(str(path[-1]), ())


def _match(value: Any, pattern: tuple[str, ...], path: Path) -> Iterator[tuple[Path, Any]]:
    if not pattern:
        yield path, value
    elif pattern[0] == "*":
        entries = (
            value.items() if isinstance(value, Map) else enumerate(value) if isinstance(value, Seq) else ()
        )
        for key, entry in entries:
            yield from _match(entry, pattern[1:], (*path, key))
    elif isinstance(value, Map) and pattern[0] in value:
        yield from _match(value[pattern[0]], pattern[1:], (*path, pattern[0]))
