"""The canonical model as frozen values.

Comes in:  the dict that ``canonical`` made, fresh, from the cache or from a state file.
Goes out:  a Project.
Not here:  checking: a canonical model is right by construction. Imports stay light: no YAML, no schema.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from compose.load.bind_service import bind_service, strings
from compose.model.project import FileObject, IpamPool, Model, Network, Project, Volume
from compose.model.service import NOTHING

EXTRA = "x-pycompose"


def bind(canonical: Mapping[str, Any]) -> Project:
    """The Project of ``canonical``; O(size), about 0.1 ms per service."""
    extra = canonical.get(EXTRA, NOTHING)
    services = canonical.get("services") or NOTHING
    order = extra.get("order") or tuple(services)
    values = extra.get("values", NOTHING)
    return Project(
        name=canonical["name"],
        working_dir=extra.get("working_dir", "/"),
        files=tuple(extra.get("files", ())),
        env_files=tuple(extra.get("env_files", ())),
        services={name: bind_service(name, services[name], services) for name in order if name in services},
        disabled=tuple(extra.get("disabled", ())),
        networks=_each(canonical, "networks", _network),
        volumes=_each(canonical, "volumes", _volume),
        configs=_each(canonical, "configs", _file_object(values.get("configs", NOTHING))),
        secrets=_each(canonical, "secrets", _file_object(values.get("secrets", NOTHING))),
        models=_each(canonical, "models", _model),
        profiles=tuple(extra.get("profiles", ())),
        separator=extra.get("separator", "-"),
        all_resources=bool(extra.get("all_resources")),
    )


def _each(
    canonical: Mapping[str, Any], section: str, make: Callable[[str, Mapping[str, Any]], Any]
) -> Mapping[str, Any]:
    entries = canonical.get(section)
    return {key: make(key, entry or NOTHING) for key, entry in entries.items()} if entries else NOTHING


def _network(key: str, entry: Mapping[str, Any]) -> Network:
    ipam = entry.get("ipam") or NOTHING
    return Network(
        key=key,
        name=entry.get("name") or key,
        driver=entry.get("driver", ""),
        driver_opts=strings(entry.get("driver_opts")),
        attachable=bool(entry.get("attachable")),
        enable_ipv4=entry.get("enable_ipv4", True) is not False,
        enable_ipv6=bool(entry.get("enable_ipv6")),
        external=bool(entry.get("external")),
        internal=bool(entry.get("internal")),
        ipam_driver=ipam.get("driver", ""),
        ipam=tuple(_pool(pool) for pool in ipam.get("config") or ()),
        labels=strings(entry.get("labels")),
    )


def _pool(entry: Mapping[str, Any]) -> IpamPool:
    return IpamPool(
        subnet=entry.get("subnet", ""),
        ip_range=entry.get("ip_range", ""),
        gateway=entry.get("gateway", ""),
        aux_addresses=strings(entry.get("aux_addresses")),
    )


def _volume(key: str, entry: Mapping[str, Any]) -> Volume:
    return Volume(
        key=key,
        name=entry.get("name") or key,
        driver=entry.get("driver", ""),
        driver_opts=strings(entry.get("driver_opts")),
        external=bool(entry.get("external")),
        labels=strings(entry.get("labels")),
    )


def _file_object(values: Mapping[str, str | None]) -> Callable[[str, Mapping[str, Any]], FileObject]:
    def make(key: str, entry: Mapping[str, Any]) -> FileObject:
        variable = entry.get("environment", "")
        return FileObject(
            key=key,
            name=entry.get("name") or key,
            file=entry.get("file", ""),
            environment=variable,
            content=values.get(key) if variable else entry.get("content"),
            external=bool(entry.get("external")),
            labels=strings(entry.get("labels")),
        )

    return make


def _model(key: str, entry: Mapping[str, Any]) -> Model:
    return Model(
        key=key,
        model=entry.get("model", ""),
        name=entry.get("name", ""),
        context_size=entry.get("context_size"),
        runtime_flags=tuple(entry.get("runtime_flags") or ()),
    )
