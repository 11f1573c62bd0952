"""Long form of one service: each attribute has one function that writes it out.

Comes in:  ``services.<name>`` as a tree.
Goes out:  the same in the long syntax, paths absolute, texts where docker compose has texts.
Not here:  defaults of the project (``canonical``); short texts themselves (``short``).
"""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Mapping
from typing import Any

from compose.load import short
from compose.load.forms import Base, Path, command, keyed, listed, pairs, texts, through
from compose.load.merge import clean
from compose.load.problems import Problems
from compose.load.tree import Map, Override, Reset, Seq
from compose.load.units import duration, format_duration, size

Change = Callable[[Any, Base], Any]


def long_form(value: Map, path: Path, base: Base, problems: Problems, attributes: Mapping[str, Any]) -> Map:
    """Write out every attribute of one service that ``attributes`` knows."""
    return _attributes(value, path, base, problems, attributes)


def _attributes(
    value: Map,
    path: Path,
    base: Base,
    problems: Problems,
    table: Mapping[str, Change | dict[str, Any] | tuple[Any, ...]],
) -> Map:
    """Apply the function of each attribute in ``table``; a nested table is applied to a mapping."""
    result = Map()
    for key, entry in value.items():
        change = table.get(key)
        if change is not None and not isinstance(entry, Reset):
            entry = _one(change, entry, (*path, key), base, problems, value.at.get(key))
        result.move(value, key, entry)
    return result


def _one(
    change: Change | dict[str, Any] | tuple[Any, ...],
    entry: Any,
    path: Path,
    base: Base,
    problems: Problems,
    where: Any,
) -> Any:
    if entry is None or isinstance(entry, Reset):
        return entry
    if isinstance(entry, Override):
        return Override(_one(change, entry.value, path, base, problems, where))
    if isinstance(change, tuple):  # first one form, then the attributes in it
        for step in change:
            entry = _one(step, entry, path, base, problems, where)
        return entry
    if isinstance(change, dict):
        return _attributes(entry, path, base, problems, change) if isinstance(entry, Map) else entry
    try:
        return change(entry, base)
    except ItemsInvalid as wrong:
        for message, index, place in wrong.items:
            problems.add(message, (*path, index), place or where)
        return wrong.rest
    except ValueError as error:
        problems.add(str(error), path, where)
    return Reset()


class ItemsInvalid(ValueError):
    """Items of a list are wrong: (message, index, place) of each; ``rest`` is the list without them."""

    def __init__(self, items: list[tuple[str, int, Any]], rest: Seq) -> None:
        super().__init__(items[0][0])
        self.items = items
        self.rest = rest


def _items(value: Any, change: Callable[[Any], Any]) -> Any:
    """``change`` each item of a list; a list as result stands for several items."""
    if not isinstance(value, Seq):
        return value
    result, wrong = Seq(), []
    for index, (item, where) in enumerate(value.placed()):
        try:
            new = item if item is None or isinstance(item, Reset) else through(change, clean(item))
        except ValueError as error:
            wrong.append((str(error), index, where))
            continue
        for one in new if isinstance(new, list) else [new]:
            result.add(one, where)
    if wrong:
        raise ItemsInvalid(wrong, result)
    return result


def mapping(values: dict[str, Any]) -> Map:
    """A Map without places from a plain dict, nested dicts included."""
    result = Map()
    for key, value in values.items():
        result[key] = mapping(value) if isinstance(value, dict) and not isinstance(value, Map) else value
    return result


def _size(value: Any, _base: Base) -> Any:
    if value == "-1":
        raise ValueError("'-1' is not a size: leave the attribute out for no limit")
    return _swap(value, _base)


def _swap(value: Any, _base: Base) -> Any:
    return str(size(value)) if isinstance(value, str | int | float) else value


def _whole(value: Any, _base: Base) -> Any:
    """A number without its fraction, as docker compose reads ``1.5`` where whole numbers belong."""
    if isinstance(value, float) and abs(value) >= 2**63:
        raise ValueError(f"{value:g} is too large")
    return int(value) if isinstance(value, float) else value


def _count(value: Any, base: Base) -> Any:
    if isinstance(value, int | float) and value < 0:
        raise ValueError(f"{value} is less than 0")
    return _whole(value, base)


def _duration(value: Any, _base: Base) -> Any:
    return format_duration(duration(value)) if isinstance(value, str) else value


def _command(value: Any, _base: Base) -> Any:
    return command(value)


def _listed(value: Any, _base: Base) -> Any:
    return listed(value)


def _filled(value: Any, _base: Base) -> Any:
    """A list without its empty texts."""
    found = listed(value)
    return (
        Seq((one, where) for one, where in found.placed() if one != "") if isinstance(found, Seq) else found
    )


def _expose(value: Any, _base: Base) -> Any:
    wrong = next((one for one in value if isinstance(one, float)), None) if isinstance(value, Seq) else None
    if wrong is not None:
        raise ValueError(f"{wrong} is not a port")
    return listed(value)


def _pairs(value: Any, _base: Base) -> Any:
    return pairs(value)


def _labels(value: Any, _base: Base) -> Any:
    return pairs(value, null="")


def _texts(value: Any, _base: Base) -> Any:
    return texts(value)


def _keyed(value: Any, _base: Base) -> Any:
    return keyed(value)


def _text(value: Any, _base: Base) -> Any:
    return str(value).lower() if isinstance(value, bool) else value


def _paths(value: Any, base: Base) -> Any:
    return _items(listed(value), base.path)


def _networks(value: Any, _base: Base) -> Any:
    entries = keyed(value)
    for entry in entries.values() if isinstance(entries, Map) else ():
        if isinstance(entry, Map) and "driver_opts" in entry:
            entry["driver_opts"] = texts(entry["driver_opts"])
        if isinstance(entry, Map) and isinstance(entry.get("priority"), float):
            entry["priority"] = int(entry["priority"])
    return entries


def _depends_on(value: Any, _base: Base) -> Any:
    result = Map()
    entries = keyed(value)
    for name, entry in entries.items() if isinstance(entries, Map) else ():
        if entry is None:
            entry = mapping({"condition": "service_started", "required": True})
        elif isinstance(entry, Map):
            entry.setdefault("required", True)
        result.move(entries, name, entry)
    return result


def _devices(value: Any, _base: Base) -> Any:
    def one(item: Any) -> Any:
        if isinstance(item, str):
            return mapping(short.device(item))
        return mapping({"permissions": "rwm", **item})

    return _items(value, one)


def _file_mounts(default: str) -> Change:
    def change(value: Any, _base: Base) -> Any:
        def one(item: Any) -> Any:
            item = mapping({"source": item}) if isinstance(item, str) else item
            if isinstance(item, Map):
                _file_mount(item, default)
            return item

        return _items(value, one)

    return change


def _octal(mode: str | int | float) -> int:
    """Permission bits from a number, or from text in octal."""
    try:
        value = int(mode, 8) if isinstance(mode, str) else int(mode)
    except (ValueError, TypeError):
        value = -1
    if not 0 <= value <= 0o7777:
        raise ValueError(f"'{mode}' is not a file mode such as 0440")
    return value


def _file_mount(item: Map, default: str) -> None:
    if "mode" in item:
        item["mode"] = f"{_octal(item['mode']):04o}"
    if default and "source" in item and not item.get("target"):
        item["target"] = default + str(item["source"])


def _env_file(value: Any, base: Base) -> Any:
    def one(item: Any) -> Any:
        item = mapping({"path": item}) if isinstance(item, str) else item
        if isinstance(item, Map) and "path" in item:
            item["path"] = base.path(item["path"])
            item.setdefault("required", True)
        return item

    return _items(value if isinstance(value, Seq) else listed(value), one)


def _extra_hosts(value: Any, _base: Base) -> Any:
    if isinstance(value, Map):
        result = Seq()
        for name, addresses in value.items():
            for address in addresses if isinstance(addresses, Seq) else [addresses]:
                result.add(f"{name}={str(address).strip('[]')}", value.at.get(name))
        return result
    return _items(value, lambda item: "=".join(short.host(item)))


def _device_requests(value: Any, _base: Base) -> Any:
    if value == "all":
        return Seq([(mapping({"count": -1}), None)])

    def one(item: Any) -> Any:
        if isinstance(item, Map):
            if item.get("count") == "all":
                item["count"] = -1
            elif isinstance(item.get("count"), str):
                item["count"] = int(item["count"])
            if "count" not in item and not item.get("device_ids"):
                item["count"] = -1
            if "options" in item:
                item["options"] = pairs(item["options"])
        return item

    return _items(value, one)


def _ports(value: Any, _base: Base) -> Any:
    def one(item: Any) -> Any:
        if not isinstance(item, Map):
            return [mapping(port) for port in short.ports(str(item))]
        filled = mapping({"mode": "ingress", "protocol": "tcp", **item})
        if "published" in filled:
            filled["published"] = str(filled["published"])
            if not filled["published"]:
                filled.drop("published")
        if isinstance(filled.get("host_ip"), str):
            short.check_address(filled["host_ip"])
        if isinstance(filled.get("target"), int) and not 0 < filled["target"] < 65536:
            raise ValueError(f"target {filled['target']} is not a port")
        return filled

    return _items(value, one)


def _volumes(value: Any, base: Base) -> Any:
    def one(item: Any) -> Any:
        mount = mapping(short.volume(item)) if isinstance(item, str) else item
        return _volume(mount, base) if isinstance(mount, Map) else mount

    return _items(value, one)


def _volume(mount: Map, base: Base) -> Map:
    if mount.get("type") == "bind" and isinstance(mount.get("source"), str):
        mount["source"] = base.source(mount["source"])
    if mount.get("target") and isinstance(mount["target"], str):
        mount["target"] = posixpath.normpath(mount["target"])
    for key, change in (
        ("volume", {"labels": _labels}),
        ("tmpfs", {"size": _size, "mode": lambda mode, _base: _octal(mode)}),
    ):
        if isinstance(mount.get(key), Map):
            for name, function in change.items():
                if name in mount[key]:
                    mount[key][name] = function(mount[key][name], base)
    return mount


def _hooks(value: Any, base: Base) -> Any:
    return _items(value, lambda item: _hook(item, base))


def _hook(item: Any, _base: Base) -> Any:
    if isinstance(item, Map):
        if "command" in item:
            item["command"] = command(item["command"])
        if "environment" in item:
            item["environment"] = pairs(item["environment"])
    return item


def _watch(value: Any, base: Base) -> Any:
    def one(item: Any) -> Any:
        for key, change in (("path", base.path), ("ignore", listed), ("include", listed)):
            if key in item:
                item[key] = change(item[key])
        if "exec" in item:
            item["exec"] = _hook(item["exec"], base)
        return item

    return _items(value, one)


def _test(value: Any, _base: Base) -> Any:
    if isinstance(value, str):
        return Seq([("CMD-SHELL", None), (value, None)])
    return value


def _build(value: Any, _base: Base) -> Any:
    if isinstance(value, str):
        return mapping({"context": value})
    return value


def _contexts(value: Any, base: Base) -> Any:
    entries = pairs(value)
    for name, entry in entries.items() if isinstance(entries, Map) else ():
        entries[name] = through(lambda text: base.context(text) if text else text, entry)
    return entries


def _ssh(value: Any, _base: Base) -> Any:
    if isinstance(value, Map):
        return Seq((f"{k}={v}" if v else k, value.at.get(k)) for k, v in value.items())
    return value


def _blkio(key: str) -> Change:
    def change(value: Any, _base: Base) -> Any:
        def one(item: Any) -> Any:
            if isinstance(item, Map) and key == "rate" and "rate" in item:
                item["rate"] = str(size(item["rate"]))
            return item

        return _items(value, one)

    return change


_BUILD: dict[str, Any] = {
    "context": lambda value, base: base.context(value), "additional_contexts": _contexts, "args": _pairs,
    "labels": _labels, "ssh": _ssh, "extra_hosts": _extra_hosts, "secrets": _file_mounts(""),
    "shm_size": _size, "no_cache_filter": _listed, "provenance": _text, "sbom": _text,
}  # fmt: skip
_DEPLOY: dict[str, Any] = {
    "replicas": _count,
    "labels": _labels,
    "update_config": {"delay": _duration, "monitor": _duration},
    "rollback_config": {"delay": _duration, "monitor": _duration},
    "restart_policy": {"delay": _duration, "window": _duration},
    "resources": {
        "limits": {"memory": _size},
        "reservations": {"memory": _size, "devices": _device_requests},
    },
}
ATTRIBUTES: dict[str, Change | dict[str, Any] | tuple[Any, ...]] = {
    "annotations": _labels, "build": (_build, _BUILD), "command": _command, "configs": _file_mounts(""),
    "cpu_shares": _whole,
    "depends_on": _depends_on, "deploy": _DEPLOY, "develop": {"watch": _watch}, "devices": _devices,
    "dns": _filled, "dns_search": _listed, "entrypoint": _command, "env_file": _env_file,
    "environment": _pairs, "expose": _expose, "extra_hosts": _extra_hosts, "gpus": _device_requests,
    "group_add": _listed, "labels": _labels, "label_file": _paths,
    "healthcheck": {
        "test": _test, "retries": _count, "interval": _duration, "timeout": _duration,
        "start_period": _duration, "start_interval": _duration,
    },
    "blkio_config": {
        key: _blkio("rate")
        for key in ("device_read_bps", "device_write_bps", "device_read_iops", "device_write_iops")
    },
    "logging": {"options": _texts}, "mem_limit": _size, "mem_reservation": _size, "mem_swappiness": _whole,
    "memswap_limit": _swap,
    "models": _keyed, "networks": _networks, "pids_limit": _whole, "ports": _ports, "post_start": _hooks,
    "pre_start": _hooks, "pre_stop": _hooks, "scale": _count,
    "secrets": _file_mounts("/run/secrets/"), "shm_size": _size, "stop_grace_period": _duration,
    "storage_opt": _texts, "sysctls": _labels, "tmpfs": _listed,
    "volumes": _volumes,
}  # fmt: skip
