"""One canonical service as a frozen value.

Comes in:  ``services.<name>`` of the canonical model.
Goes out:  a Service; sizes in bytes, durations as timedelta.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from datetime import timedelta
from typing import Any

from compose.load.units import duration, number_text
from compose.load.units import size as size_of_text
from compose.model import service as model
from compose.model.service import NOTHING

Entry = Mapping[str, Any]


def size(value: str | int) -> int:
    """Bytes of a canonical size: a number, even one below 0 that ``up`` will refuse, or a text."""
    text = str(value)
    return int(text) if text.removeprefix("-").isdecimal() else size_of_text(value)


def strings(entry: Entry | None) -> Mapping[str, str]:
    """A mapping of texts."""
    return {key: number_text(value) for key, value in entry.items()} if entry else NOTHING


def bind_service(name: str, entry: Entry, active: Collection[str]) -> model.Service:
    """The Service ``name``. Attributes that are not there keep the defaults of the model.

    active: the names of all services; an optional dependency on another one is left out.
    """
    fields: dict[str, Any] = {}
    for key, value in entry.items():
        convert = _FIELDS.get(key)
        if convert is not None and value is not None:
            fields[key] = convert(value)
    depends_on = fields.get("depends_on", NOTHING)
    if any(other not in active for other in depends_on):
        fields["depends_on"] = {other: how for other, how in depends_on.items() if other in active}
    return model.Service(name=name, **{**fields, **_special(entry), **_limits(entry)})


def _special(entry: Entry) -> dict[str, Any]:
    """Attributes that the model keeps under another name or in another shape."""
    found: dict[str, Any] = {}
    if blkio := entry.get("blkio_config"):
        found["blkio_weight"] = blkio.get("weight")
        found["blkio_limits"] = tuple(_blkio(blkio))
    if develop := entry.get("develop"):
        found["develop"] = tuple(_watch(one) for one in develop.get("watch") or ())
    if entry.get("x-ports-obey-firewall") in (True, "true"):
        found["ports_obey_firewall"] = True
    return found


def _limits(entry: Entry) -> dict[str, Any]:
    """The limits of ``deploy`` and of the service itself, brought together."""
    deploy = entry.get("deploy") or NOTHING
    resources = deploy.get("resources") or NOTHING
    limits, reserved = resources.get("limits") or NOTHING, resources.get("reservations") or NOTHING
    found: dict[str, Any] = {"scale": entry.get("scale", deploy.get("replicas", 1))}
    if found["scale"] is None:
        found["scale"] = 1
    for key, value, convert in (
        ("mem_limit", limits.get("memory"), size),
        ("mem_reservation", reserved.get("memory"), size),
        ("cpus", limits.get("cpus"), float),
        ("pids_limit", limits.get("pids"), int),
    ):
        if value is not None and entry.get(key) is None:
            found[key] = convert(value)
    if policy := deploy.get("restart_policy"):  # it wins over ``restart``, as in docker compose
        found["restart"] = _restart(policy)
    return found


def _restart(policy: Entry) -> str:
    """``deploy.restart_policy`` as the text of ``restart``."""
    condition: str = policy.get("condition") or "any"
    names: dict[str, str] = {"none": "no", "any": "always"}
    name, attempts = names.get(condition, condition), policy.get("max_attempts")
    return f"{name}:{attempts}" if attempts and name != "no" else name


def _span(value: str | int) -> timedelta:
    return timedelta(microseconds=duration(str(value)) // 1000)


def _texts(value: Any) -> tuple[str, ...]:
    return tuple([number_text(one) for one in value]) if isinstance(value, list | tuple) else (str(value),)


def _optional_texts(value: Entry) -> Mapping[str, str | None]:
    return {key: None if text is None else number_text(text) for key, text in value.items()}


def _mode(value: str | int | None) -> int | None:
    return int(value, 8) if isinstance(value, str) else value


def _many(convert: Callable[[Entry], Any]) -> Callable[[Any], tuple[Any, ...]]:
    return lambda values: tuple([convert(one) for one in values])


def _each(convert: Callable[[Entry], Any]) -> Callable[[Any], Mapping[str, Any]]:
    return lambda values: {key: convert(one or NOTHING) for key, one in values.items()}


def _dependency(entry: Entry) -> model.Dependency:
    return model.Dependency(
        condition=model.Condition(entry.get("condition", "service_started")),
        required=entry.get("required", True),
        restart=entry.get("restart", False),
    )


def _port(entry: Entry) -> model.Port:
    fields = {key: entry[key] for key in _PORT if key in entry}
    return model.Port(target=int(entry["target"]), published=str(entry.get("published", "")), **fields)


_PORT = ("host_ip", "protocol", "mode", "app_protocol", "name")


def _mount(entry: Entry) -> model.VolumeMount:
    bind, volume = entry.get("bind") or NOTHING, entry.get("volume") or NOTHING
    tmpfs, image = entry.get("tmpfs") or NOTHING, entry.get("image") or NOTHING
    bytes_ = tmpfs.get("size")
    return model.VolumeMount(
        type=entry["type"],
        target=entry.get("target", ""),
        source=entry.get("source", ""),
        read_only=entry.get("read_only", False),
        consistency=entry.get("consistency", ""),
        propagation=bind.get("propagation", ""),
        # as docker compose has it: made unless there is a ``bind`` that does not say so
        create_host_path=bind.get("create_host_path", entry.get("bind") is None),
        recursive=bind.get("recursive", ""),
        selinux=bind.get("selinux", ""),
        nocopy=volume.get("nocopy", False),
        subpath=volume.get("subpath") or image.get("subpath") or "",
        labels=strings(volume.get("labels")),
        size=None if bytes_ is None else size(bytes_),
        mode=_mode(tmpfs.get("mode")),
    )


def _mounted_below(folder: str) -> Callable[[Any], tuple[model.FileMount, ...]]:
    """Configs and secrets of a service: a missing or relative target lies in ``folder``."""

    def convert(entries: Any) -> tuple[model.FileMount, ...]:
        return tuple([_file_mount(entry, folder) for entry in entries])

    return convert


def _file_mount(entry: Entry, folder: str = "") -> model.FileMount:
    target = entry.get("target", "")
    if folder and not target.startswith("/"):
        target = folder + (target or entry["source"])
    return model.FileMount(
        source=entry["source"],
        target=target,
        uid=str(entry.get("uid", "")),
        gid=str(entry.get("gid", "")),
        mode=_mode(entry.get("mode")),
    )


def _healthcheck(entry: Entry) -> model.Healthcheck:
    spans = ("interval", "timeout", "start_period", "start_interval")
    test = tuple(entry.get("test") or ())
    return model.Healthcheck(
        test=test,
        retries=entry.get("retries"),
        disable=bool(entry.get("disable")) or test[:1] == ("NONE",),
        **{key: _span(entry[key]) for key in spans if entry.get(key) is not None},
    )


def _attachment(entry: Entry) -> model.NetworkAttachment:
    return model.NetworkAttachment(
        aliases=tuple(entry.get("aliases") or ()),
        interface_name=entry.get("interface_name", ""),
        ipv4_address=entry.get("ipv4_address", ""),
        ipv6_address=entry.get("ipv6_address", ""),
        link_local_ips=tuple(entry.get("link_local_ips") or ()),
        mac_address=entry.get("mac_address", ""),
        driver_opts=strings(entry.get("driver_opts")),
        priority=entry.get("priority", 0),
        gw_priority=entry.get("gw_priority", 0),
    )


def _ulimits(values: Entry) -> Mapping[str, model.Ulimit]:
    return {
        name: model.Ulimit(soft=int(v["soft"]), hard=int(v["hard"]))
        if isinstance(v, Mapping)
        else model.Ulimit(soft=int(v), hard=int(v))
        for name, v in values.items()
    }


def _build(entry: Entry) -> model.Build:
    fields = {key: convert(entry[key]) for key, convert in _BUILD.items() if entry.get(key) is not None}
    return model.Build(**fields)


def _device(entry: Entry) -> model.DeviceMount:
    return model.DeviceMount(
        source=entry["source"],
        target=entry.get("target", ""),
        permissions=entry.get("permissions", "rwm"),
    )


def _blkio(entry: Entry) -> list[model.BlkioLimit]:
    limits = []
    for key, kind in _BLKIO.items():
        for one in entry.get(key) or ():
            path = one.get("Path", one.get("path", ""))
            rate = one.get("Rate", one.get("rate", one.get("Weight", one.get("weight", 0))))
            limits.append(model.BlkioLimit(kind=kind, path=path, rate=size(rate)))
    return limits


_BLKIO = {
    "weight_device": "weight",
    "device_read_bps": "read_bps",
    "device_write_bps": "write_bps",
    "device_read_iops": "read_iops",
    "device_write_iops": "write_iops",
}


def _hook(entry: Entry) -> model.Hook:
    return model.Hook(
        command=tuple(entry.get("command") or ()),
        user=entry.get("user", ""),
        privileged=entry.get("privileged", False),
        working_dir=entry.get("working_dir", ""),
        environment=_optional_texts(entry.get("environment") or NOTHING),
        image=entry.get("image", ""),
        per_replica=entry.get("per_replica", False),
    )


def _watch(entry: Entry) -> model.Watch:
    run = entry.get("exec") or NOTHING
    return model.Watch(
        path=entry["path"],
        action=entry["action"],
        target=entry.get("target", ""),
        ignore=tuple(entry.get("ignore") or ()),
        include=tuple(entry.get("include") or ()),
        exec=_hook(run) if run.get("command") else None,
        initial_sync=entry.get("initial_sync", False),
    )


def _request(entry: Entry) -> model.DeviceRequest:
    return model.DeviceRequest(
        capabilities=tuple(entry.get("capabilities") or ()),
        driver=entry.get("driver", ""),
        count=entry.get("count"),
        device_ids=tuple(entry.get("device_ids") or ()),
        options=strings(entry.get("options")),
    )


def _deploy(entry: Entry) -> model.Deploy:
    resources = entry.get("resources") or NOTHING
    limits, reserved = resources.get("limits") or NOTHING, resources.get("reservations") or NOTHING
    policy = entry.get("restart_policy")
    return model.Deploy(
        mode=entry.get("mode") or "replicated",
        replicas=entry.get("replicas"),
        labels=strings(entry.get("labels")),
        endpoint_mode=entry.get("endpoint_mode", ""),
        limit_cpus=_maybe(float, limits.get("cpus")),
        limit_memory=_maybe(size, limits.get("memory")),
        limit_pids=limits.get("pids"),
        reserve_cpus=_maybe(float, reserved.get("cpus")),
        reserve_memory=_maybe(size, reserved.get("memory")),
        reserve_devices=tuple(_request(one) for one in reserved.get("devices") or ()),
        restart_policy=None if policy is None else _policy(policy),
        extra={key: value for key, value in entry.items() if key in _SWARM and value},
    )


_SWARM = ("placement", "update_config", "rollback_config")


def _policy(entry: Entry) -> model.RestartPolicy:
    return model.RestartPolicy(
        condition=entry.get("condition") or "any",
        delay=_maybe(_span, entry.get("delay")),
        max_attempts=entry.get("max_attempts"),
        window=_maybe(_span, entry.get("window")),
    )


def _maybe(convert: Callable[[Any], Any], value: Any) -> Any:
    return None if value is None else convert(value)


def _logging(entry: Entry) -> model.Logging:
    return model.Logging(driver=entry.get("driver", ""), options=strings(entry.get("options")))


def _provider(entry: Entry) -> model.Provider:
    options = {
        key: tuple(number_text(one) for one in value) if isinstance(value, list) else number_text(value)
        for key, value in (entry.get("options") or NOTHING).items()
    }
    return model.Provider(type=entry["type"], options=options)


def _model_use(entry: Entry) -> model.ModelUse:
    return model.ModelUse(endpoint_var=entry.get("endpoint_var", ""), model_var=entry.get("model_var", ""))


_BUILD: dict[str, Callable[[Any], Any]] = {
    "context": str, "dockerfile": str, "dockerfile_inline": str, "isolation": str, "network": str,
    "provenance": number_text, "sbom": number_text, "target": str, "no_cache": bool, "privileged": bool,
    "pull": bool, "shm_size": size, "additional_contexts": strings, "args": _optional_texts,
    "labels": strings, "ssh": _texts, "cache_from": _texts, "cache_to": _texts, "entitlements": _texts,
    "extra_hosts": _texts, "no_cache_filter": _texts, "platforms": _texts, "tags": _texts,
    "secrets": _many(_file_mount), "ulimits": _ulimits,
}  # fmt: skip
_FIELDS: dict[str, Callable[[Any], Any]] = {
    "annotations": strings, "attach": bool, "build": _build, "cap_add": _texts, "cap_drop": _texts,
    "cgroup": str, "cgroup_parent": str, "command": _texts, "configs": _mounted_below("/"),
    "container_name": str, "cpu_count": int, "cpu_percent": float, "cpu_period": int, "cpu_quota": int,
    "cpu_rt_period": int, "cpu_rt_runtime": int, "cpu_shares": int, "cpus": float, "cpuset": str,
    "credential_spec": strings, "depends_on": _each(_dependency), "deploy": _deploy,
    "device_cgroup_rules": _texts, "devices": _many(_device), "dns": _texts, "dns_opt": _texts,
    "dns_search": _texts, "domainname": str, "entrypoint": _texts, "environment": _optional_texts,
    "expose": _texts, "external_links": _texts, "extra_hosts": _texts, "gpus": _many(_request),
    "group_add": _texts, "healthcheck": _healthcheck, "hostname": str, "image": str, "init": bool,
    "ipc": str, "isolation": str, "labels": strings, "links": _texts, "logging": _logging,
    "mac_address": str, "mem_limit": size, "mem_reservation": size, "mem_swappiness": int,
    "memswap_limit": size, "models": _each(_model_use), "network_mode": str,
    "networks": _each(_attachment), "oom_kill_disable": bool, "oom_score_adj": int, "pid": str,
    "pids_limit": int, "platform": str, "ports": _many(_port), "post_start": _many(_hook),
    "pre_start": _many(_hook), "pre_stop": _many(_hook), "privileged": bool, "profiles": _texts,
    "provider": _provider, "pull_policy": str, "read_only": bool, "restart": str, "runtime": str,
    "secrets": _mounted_below("/run/secrets/"), "security_opt": _texts, "shm_size": size, "stdin_open": bool,
    "stop_grace_period": _span, "stop_signal": str, "storage_opt": strings, "sysctls": strings,
    "tmpfs": _texts, "tty": bool, "ulimits": _ulimits, "use_api_socket": bool, "user": str,
    "userns_mode": str, "uts": str, "volumes": _many(_mount), "volumes_from": _texts,
    "working_dir": str,
}  # fmt: skip
