"""Attributes that are read and checked, and on which nothing here acts: each is named once.

Comes in:  the merged tree with its active services.
Goes out:  errors of that kind, one per attribute, with the first place; a load turns them into warnings,
           ``--strict`` into a refusal.
Not here:  what is refused when a container is made (``compose.plan.confine``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

from compose.errors import FileInvalid
from compose.load.tree import Map, Seq, dotted, place

Path = tuple[str | int, ...]
_WINDOWS = "it is for Windows containers"
_SWARM = "it is for swarm"
_UP = "'up' refuses it: "
WHY: dict[str, str] = {
    "configs.*.labels": _SWARM,
    "configs.*.template_driver": _SWARM,
    "networks.*.ipam.driver": "addresses are given out by pycompose itself",
    "networks.*.ipam.options": "addresses are given out by pycompose itself",
    "secrets.*.driver": _SWARM,
    "secrets.*.driver_opts": _SWARM,
    "secrets.*.labels": _SWARM,
    "secrets.*.template_driver": _SWARM,
    "services.*.build.isolation": _WINDOWS,
    "services.*.build.provenance": "no attestations are made",
    "services.*.build.sbom": "no attestations are made",
    "services.*.cpu_count": _UP + _WINDOWS,
    "services.*.cpu_percent": _UP + _WINDOWS,
    "services.*.credential_spec": _UP + _WINDOWS,
    "services.*.deploy.endpoint_mode": _SWARM,
    "services.*.deploy.labels": _SWARM,
    "services.*.deploy.mode": _SWARM,
    "services.*.deploy.placement": _SWARM,
    "services.*.deploy.resources.reservations.cpus": "processor time is shared by weight",
    "services.*.deploy.resources.reservations.devices": _UP + "devices are given by 'devices'",
    "services.*.deploy.resources.reservations.generic_resources": _SWARM,
    "services.*.deploy.restart_policy.delay": "the pause before a restart grows by itself",
    "services.*.deploy.restart_policy.window": "ten seconds of running count as success",
    "services.*.deploy.rollback_config": _SWARM,
    "services.*.deploy.update_config": _SWARM,
    "services.*.gpus": _UP + "GPU requests are not handled",
    "services.*.isolation": _UP + _WINDOWS,
    "services.*.models": _UP + "there is no model runner here",
    "services.*.ports.*.app_protocol": "it tells nothing to the kernel",
    "services.*.pre_start": "hooks before the start are not run",
    "services.*.provider": _UP + "external providers are not run",
    "services.*.pull_refresh_after": "write 'pull_policy: every_<duration>'",
    "services.*.runtime": _UP + "containers are run by pycompose itself",
    "services.*.storage_opt": _UP + "the writable layer has no size of its own",
    "services.*.use_api_socket": _UP + "there is no engine API to hand into a container",
    "services.*.userns_mode": _UP + "all containers share the host's user namespace",
    "services.*.volumes.*.bind.selinux": "files are not labelled",
    "services.*.volumes.*.volume.labels": "a volume made for one container has none of its own",
    "services.*.volumes.*.consistency": "it means nothing on Linux",
    "networks.*.attachable": _SWARM,
}
_HARMLESS = {
    "driver": ("default",),
    "isolation": ("default",),
    "mode": ("replicated",),
    "runtime": ("runc", "io.containerd.runc.v2"),
    "userns_mode": ("host",),
}
_OFF = ("apparmor=unconfined", "apparmor:unconfined", "label=disable", "label:disable")
_OWN_LOGS = ("json-file", "local", "none")
_ENDPOINT = ("com.docker.network.endpoint.ifname", "com.docker.network.endpoint.sysctls")
_BRIDGE = (
    "com.docker.network.bridge.host_binding_ipv4", "com.docker.network.container_iface_prefix",
    "com.docker.network.bridge.enable_icc", "com.docker.network.bridge.enable_ip_masquerade",
    "com.docker.network.bridge.name", "com.docker.network.driver.mtu",
    "ipvlan_mode", "macvlan_mode", "parent",
)  # fmt: skip
# attributes that act for some values only: pattern -> (whether it does not act for this one, why)
SOMETIMES: dict[str, tuple[Callable[[Any], bool], str]] = {
    "configs.*.external": (bool, _UP + "give it by file, environment or content"),
    "networks.*.driver": (
        lambda name: name not in ("bridge", "default", "macvlan", "ipvlan"),
        _UP + "drivers are bridge, macvlan and ipvlan",
    ),
    "networks.*.driver_opts": (lambda given: bool(set(given) - set(_BRIDGE)), "known: " + ", ".join(_BRIDGE)),
    "services.*.networks.*.driver_opts": (
        lambda given: bool(set(given) - set(_ENDPOINT)),
        "known: " + ", ".join(_ENDPOINT),
    ),
    "secrets.*.external": (bool, _UP + "give it by file or environment"),
    "services.*.build.platforms": (lambda names: len(names) > 1, "one image is built, for this machine"),
    "services.*.devices.*.source": (lambda path: not str(path).startswith("/"), _UP + "it is not a path"),
    "services.*.logging.driver": (lambda name: name not in _OWN_LOGS, "logs go to files"),
    "services.*.logging.options": (
        lambda given: bool(set(given) - {"max-size", "max-file"}),
        "known: max-size, max-file",
    ),
    "services.*.security_opt.*": (
        lambda text: str(text).startswith(("apparmor", "label")) and not str(text).endswith(_OFF),
        _UP + "no such security module is used",
    ),
    "services.*.volumes.*.type": (
        lambda kind: kind in ("cluster", "npipe"),
        _UP + "use volume, bind or tmpfs",
    ),
    "volumes.*.driver": (lambda name: name != "local", _UP + "the only driver is 'local'"),
}


_FILES = "the file is mounted as it is"
OWNED = tuple(
    f"services.*.{section}.*.{key}" for section in ("configs", "secrets") for key in ("uid", "gid", "mode")
)


def ignored(tree: Map) -> list[FileInvalid]:
    """One error per attribute that the project uses in vain. O(attributes of the project)."""
    found: dict[str, list[Path]] = {}
    for pattern, path, value in _walk(tree, _trie(), ()):
        if value and _in_vain(tree, pattern, path, value):
            found.setdefault(pattern, []).append(path)
    whys = {
        **WHY,
        **{pattern: why for pattern, (_, why) in SOMETIMES.items()},
        **dict.fromkeys(OWNED, _FILES),
    }
    return [_error(tree, pattern, why, found[pattern]) for pattern, why in whys.items() if pattern in found]


def _in_vain(tree: Map, pattern: str, path: Path, value: Any) -> bool:
    if pattern in SOMETIMES:
        return SOMETIMES[pattern][0](value)
    if pattern in OWNED:
        mount = tree["services"][path[1]][path[2]][path[3]]
        return bool((tree.get(str(path[2])) or {}).get(mount.get("source"), {}).get("file"))
    return value not in _HARMLESS.get(str(path[-1]), ())


def _error(tree: Map, pattern: str, why: str, paths: list[Path]) -> FileInvalid:
    more = f" (and in {len(paths) - 1} more places)" if len(paths) > 1 else ""
    name = pattern.removesuffix(".*").rpartition("*.")[2]
    message = f"'{name}' has no effect here{more}: {why}"
    return FileInvalid(message, where=place(tree, paths[0]), path=dotted(paths[0]))


@cache
def _trie() -> dict[str, Any]:
    """All patterns, step by step; "" holds the whole pattern where one ends."""
    root: dict[str, Any] = {}
    for pattern in (*WHY, *SOMETIMES, *OWNED):
        node = root
        for step in pattern.split("."):
            node = node.setdefault(step, {})
        node[""] = pattern
    return root


def _walk(value: Any, trie: dict[str, Any], path: Path) -> Iterator[tuple[str, Path, Any]]:
    """(pattern, path, value) of everything in ``value`` that a pattern of ``trie`` fits."""
    if "" in trie:
        yield trie[""], path, value
    if isinstance(value, Map):
        below = trie.get("*")
        for key, entry in value.items() if below else ():
            yield from _walk(entry, below or {}, (*path, key))
        for key in trie.keys() & value.keys() - {"*", ""}:
            yield from _walk(value[key], trie[key], (*path, key))
    elif isinstance(value, Seq) and "*" in trie:
        for index, entry in enumerate(value):
            yield from _walk(entry, trie["*"], (*path, index))
