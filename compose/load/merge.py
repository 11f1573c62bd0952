"""Laying one file over another: the rules of several ``-f``, override files and ``extends``.

Comes in:  two trees in long form.
Goes out:  one tree; the later wins, mappings merge, lists are appended and made unique.
Source: Compose Specification "Merge and override"; uniqueness as docker compose keeps it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from compose.load.tree import Map, Override, Reset, Seq, plain

REPLACED = frozenset({"command", "entrypoint", "test"})


def merge(base: Map, over: Map, *, raw: bool = False) -> Map:
    """A new tree: ``over`` laid over ``base``. raw: they may hold short forms, which become lists."""
    return _maps(base, over, (), raw)


def clean(value: Any, path: tuple[str, ...] = ()) -> Any:
    """``value`` with resets carried out, overrides unwrapped, lists made unique; nothing lies below it."""
    if isinstance(value, Override):
        return clean(value.value, path)
    if isinstance(value, Map):
        result = Map()
        for key, entry in value.items():
            done = clean(entry, (*path, key))
            if not isinstance(done, Reset):
                result.move(value, key, done)
        return result
    if isinstance(value, Seq):
        done = ((clean(entry, path), where) for entry, where in value.placed())
        return unique(Seq((entry, where) for entry, where in done if not isinstance(entry, Reset)), path)
    return value


def _unwrapped(value: Any) -> Any:
    while isinstance(value, Override):
        value = value.value
    return value


def _maps(base: Map, over: Map, path: tuple[str, ...], raw: bool) -> Map:
    result = Map()
    for key, value in base.items():
        result.move(base, key, value)
    for key, value in over.items():
        if isinstance(_unwrapped(value), Reset):
            result.drop(key)
        elif key in base:
            merged = _values(base[key], value, (*path, key), raw)
            result.put(key, merged, over.at.get(key) or base.at.get(key))
        else:
            result.move(over, key, clean(value, (*path, key)))
    return result


def _values(base: Any, over: Any, path: tuple[str, ...], raw: bool) -> Any:
    if isinstance(over, Override):
        return clean(over, path)
    if raw and path[-1] in _SEQUENCES:
        base = _without(_sequence(base), over)
        over = _sequence(clean(over, path))
    if isinstance(base, Map) and isinstance(over, Map):
        if path[-1] == "logging" and _drivers_differ(base, over):
            return clean(over, path)
        return _maps(base, over, path, raw)
    if isinstance(base, Seq) and isinstance(over, Seq) and not _replaced(path):
        return unique(Seq([*base.placed(), *clean(over, path).placed()]), path)
    if over is None and not _replaced(path) and path[-2:-1] not in _PAIRS:
        return base  # what is empty changes nothing, but for a variable that is to be inherited
    return clean(over, path)


def _replaced(path: tuple[str, ...]) -> bool:
    """Whether a later list takes the place of an earlier one instead of being appended."""
    return path[-1] in REPLACED or (path[0] == "networks" and path[-1] == "config")


def _drivers_differ(base: Map, over: Map) -> bool:
    ours, theirs = base.get("driver"), over.get("driver")
    return bool(ours and theirs and ours != theirs)


def unique(value: Any, path: tuple[str, ...]) -> Any:
    """A list with one entry per key; the later takes the place of the earlier."""
    if not isinstance(value, Seq) or path[:1] != ("services",):
        return value
    if path[2:] not in _UNIQUE and (path[2:3] != ("networks",) or path[4:] not in _ADDRESSES):
        return value
    key = _KEYS.get(path[-1], _whole)
    places: dict[Any, int] = {}
    result = Seq()
    for entry, where in value.placed():
        identity = key(entry)
        if identity is not None and identity in places:
            result[places[identity]], result.at[places[identity]] = entry, where
        else:
            if identity is not None:
                places[identity] = len(result)
            result.add(entry, where)
    return result


_PAIRS = frozenset(
    (key,) for key in ("additional_contexts", "annotations", "args", "environment", "labels", "sysctls")
)
_SEQUENCES = frozenset({
    "annotations", "args", "additional_contexts", "dns", "dns_opt", "dns_search", "environment",
    "extra_hosts", "labels", "sysctls", "tmpfs",
})  # fmt: skip


def _sequence(value: Any) -> Any:
    """A mapping as ``[K=V, ...]``, one text as a list of it."""
    if isinstance(value, Map):
        result = Seq()
        for key in sorted(value):
            for entry in value[key] if isinstance(value[key], Seq) else [value[key]]:
                result.add(key if entry is None else f"{key}={entry}", value.at.get(key))
        return result
    return Seq([(value, None)]) if isinstance(value, str) else value


def _without(base: Any, over: Any) -> Any:
    """``base`` without the entries that ``over`` resets."""
    gone = {key for key, value in over.items() if isinstance(value, Reset)} if isinstance(over, Map) else ()
    if not gone or not isinstance(base, Seq):
        return base
    return Seq((entry, where) for entry, where in base.placed() if _name(entry) not in gone)


def _name(entry: Any) -> Any:
    return entry.partition("=")[0] if isinstance(entry, str) else None


def _whole(entry: Any) -> Any:
    return entry if isinstance(entry, str) else None


def _by(*names: str) -> Callable[[Any], Any]:
    def key(entry: Any) -> Any:
        if not isinstance(entry, dict):
            return _whole(entry)
        identity = tuple(str(entry.get(name, "")) for name in names)
        return identity if any(identity) else None

    return key


def _mount(entry: Any) -> Any:
    if not isinstance(entry, dict):
        return _whole(entry)
    return entry.get("target") or f"/{entry.get('source', '')}"


_KEYS: dict[str, Callable[[Any], Any]] = {
    "ports": _by("host_ip", "target", "published", "protocol"),
    "volumes": _by("target"),
    "devices": _by("target"),
    "secrets": _mount,
    "configs": _mount,
    "env_file": _by("path"),
    "expose": str,
    **dict.fromkeys(
        (
            "additional_contexts", "aliases", "annotations", "args", "cap_add", "cap_drop", "dns", "dns_opt",
            "dns_search", "environment", "labels", "link_local_ips", "links", "profiles", "sysctls", "tags",
            "tmpfs",
        ),
        _name,
    ),
}  # fmt: skip


def identity(attribute: str, entry: Any) -> Any:
    """What tells an entry of a list from the others when files are merged."""
    found = _KEYS.get(attribute, _whole)(entry)
    return repr(plain(entry)) if found is None else found


_ADDRESSES = (("aliases",), ("link_local_ips",))
_UNIQUE = frozenset(
    {(key,) for key in _KEYS if key not in ("args", "tags", "additional_contexts")}
    | {("build", key) for key in ("additional_contexts", "args", "labels", "tags")}
    | {("deploy", "labels")}
    # the reference refuses these after merging
    | {(key,) for key in ("device_cgroup_rules", "external_links", "extra_hosts", "group_add")}
    | {("security_opt",), ("volumes_from",)}
)
