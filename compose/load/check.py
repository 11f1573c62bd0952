"""What a schema cannot say: references that lead nowhere, attributes that exclude each other.

Comes in:  the merged tree with its active services; names of the inactive ones.
Goes out:  a list of errors with their places; empty when the project is consistent.
Source: Compose Specification; the rules of docker compose 2.40.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from difflib import get_close_matches
from typing import Any

from compose.errors import FileInvalid, Where
from compose.load.canonical import linked
from compose.load.problems import Problems
from compose.load.tree import Map, place

_SOURCES = ("image", "build", "provider", "extends")
_NAMESPACES = ("network_mode", "ipc", "pid", "uts", "cgroup")


def check(tree: Map, disabled: Mapping[str, Sequence[str]], problems: Problems) -> None:
    """Note every inconsistency of the project in ``problems``, but for what follows from those there."""
    for name in tree.get("services") or ():
        _Service(tree, name, disabled, problems).check()
    _container_names(tree, problems)
    for key, entry in (tree.get("volumes") or Map()).items():
        _external(tree, key, entry or Map(), problems)
    for section in ("configs", "secrets"):
        for key, entry in (tree.get(section) or Map()).items():
            _file_object(tree, section, key, entry or Map(), problems)


def _container_names(tree: Map, problems: Problems) -> None:
    """No two active services give their container the same name."""
    taken: dict[str, str] = {}
    for name, service in (tree.get("services") or {}).items():
        wanted = service.get("container_name")
        if wanted and wanted in taken:
            message = f"service '{name}' has the container name '{wanted}', as has service '{taken[wanted]}'"
            path = ("services", name, "container_name")
            problems.add(message, path, place(tree, path))
        elif wanted:
            taken[wanted] = name


class _Service:
    def __init__(
        self, tree: Map, name: str, disabled: Mapping[str, Sequence[str]], problems: Problems
    ) -> None:
        self._tree = tree
        self._name = name
        self._service = tree["services"][name]
        self._disabled = disabled
        self._problems = problems

    def check(self) -> None:
        self._source()
        self._networks()
        self._dependencies()
        self._mounts()
        self._models()
        self._numbers()
        self._limits()
        self._healthcheck()
        self._restart()
        self._watch()

    def _fail(self, message: str, *path: str | int, hint: str = "") -> None:
        full = ("services", self._name, *path)
        if self._problems.spoils_in(*full[:3]) and len(full) > 2:
            return
        self._problems.errors.append(
            FileInvalid(
                f"service '{self._name}' {message}",
                hint=hint,
                where=place(self._tree, full),
                path=_dotted(full),
            )
        )

    def _source(self) -> None:
        service = self._service
        if not any(service.get(key) for key in _SOURCES) and not self._spoilt_source():
            empty = service.get("image") == ""
            hint = "'image' is empty: is the variable in it set?" if empty else "add 'image:' or 'build:'"
            self._fail("has neither an image nor a build", *(("image",) if empty else ()), hint=hint)
        build = service.get("build")
        if build and build.get("dockerfile") and build.get("dockerfile_inline"):
            self._fail("gives both 'dockerfile' and 'dockerfile_inline'", "build", "dockerfile_inline")
        platforms, platform = (build or {}).get("platforms"), service.get("platform")
        if platforms and platform and platform not in platforms:
            self._fail(f"has platform '{platform}', which is not in 'build.platforms'", "platform")

    def _spoilt_source(self) -> bool:
        """Whether an error already tells of what should have been the image or build."""
        wrong = [p[2] for p in self._problems.tainted if p[:2] == ("services", self._name) and len(p) > 2]
        spoilt = self._problems.spoils("services", self._name)
        return spoilt or any(get_close_matches(str(key), _SOURCES, n=1) for key in wrong)

    def _networks(self) -> None:
        networks = self._service.get("networks")
        if networks and self._service.get("network_mode"):
            self._fail("gives both 'network_mode' and 'networks'", "network_mode", hint="remove one of them")
        for network in networks or ():
            if network != "default":
                self._reference("networks", network, "joins network", "networks", network)

    def _reference(self, section: str, key: str, verb: str, *path: str | int) -> None:
        known = list(self._tree.get(section) or ())
        if key not in known and not self._problems.spoils(section, key):
            hint = _close(key, known) or f"declare it under '{section}:'"
            self._fail(f"{verb} '{key}', which is not defined", *path, hint=hint)

    def _dependencies(self) -> None:
        for name, how in self._references():
            if name in self._tree["services"] or self._problems.spoils("services", name):
                continue
            if name in self._disabled:
                profiles = ", ".join(self._disabled[name])
                hint = f"activate a profile of it ({profiles}), or name '{name}' on the command line"
                self._fail(f"depends on service '{name}', whose profiles are not active", *how, hint=hint)
            else:
                known = [*self._tree["services"], *self._disabled]
                self._fail(
                    f"depends on service '{name}', which is not defined", *how, hint=_close(name, known)
                )

    def _references(self) -> list[tuple[str, tuple[str | int, ...]]]:
        service = self._service
        found: list[tuple[str, tuple[str | int, ...]]] = []
        for name, entry in (service.get("depends_on") or {}).items():
            if entry.get("required", True) or name not in self._disabled:
                found.append((name, ("depends_on", name)))
        found += [(linked(text), ("links", i)) for i, text in enumerate(service.get("links") or ())]
        for key in _NAMESPACES:
            mode = service.get(key)
            if isinstance(mode, str) and mode.startswith("service:"):
                found.append((mode.partition(":")[2], (key,)))
        for index, text in enumerate(service.get("volumes_from") or ()):
            if not text.startswith("container:"):
                found.append((text.partition(":")[0], ("volumes_from", index)))
        contexts: Mapping[str, Any] = (service.get("build") or {}).get("additional_contexts") or {}
        for key, text in contexts.items():
            if isinstance(text, str) and text.startswith("service:"):
                found.append((text.partition(":")[2], ("build", "additional_contexts", key)))
        return found

    def _mounts(self) -> None:
        service = self._service
        for index, mount in enumerate(service.get("volumes") or ()):
            if mount.get("type") == "volume" and mount.get("source"):
                self._reference("volumes", mount["source"], "uses volume", "volumes", index)
            elif mount.get("type") == "bind" and not mount.get("source"):
                self._fail("has a bind mount without 'source'", "volumes", index)
            if not mount.get("target"):
                self._fail("has a volume without 'target'", "volumes", index)
        for section in ("configs", "secrets"):
            for index, mount in enumerate(service.get(section) or ()):
                self._reference(section, mount.get("source", ""), f"uses {section[:-1]}", section, index)
        for index, mount in enumerate((service.get("build") or {}).get("secrets") or ()):
            self._reference(
                "secrets", mount.get("source", ""), "builds with secret", "build", "secrets", index
            )

        for index, device in enumerate(service.get("devices") or ()):
            if not device.get("target"):
                self._fail("has a device without 'target'", "devices", index)

        self._targets()

    def _numbers(self) -> None:
        for index, port in enumerate(self._service.get("ports") or ()):
            if port.get("target") is None:
                self._fail("has a port without 'target'", "ports", index)
        build = self._service.get("build") or {}
        for path, limits in (
            (("ulimits",), self._service.get("ulimits")),
            (("build", "ulimits"), build.get("ulimits")),
        ):
            for name, limit in (limits or {}).items():
                if not isinstance(limit, int) and not (
                    isinstance(limit, Map) and {"soft", "hard"} <= set(limit)
                ):
                    self._fail(f"has a limit '{name}' without a number for soft and hard", *path, name)

    def _targets(self) -> None:
        """No two temporary file systems, nor one and a volume, at the same place."""
        service = self._service
        taken: set[str] = set()
        for index, text in enumerate(service.get("tmpfs") or ()):
            if (target := text.partition(":")[0]) in taken:
                self._fail(f"mounts '{target}' as tmpfs twice", "tmpfs", index)
            taken.add(target)
        for index, mount in enumerate(service.get("volumes") or ()):
            if mount.get("target") in taken:
                self._fail(f"mounts '{mount['target']}' as volume and as tmpfs", "volumes", index)

    def _healthcheck(self) -> None:
        test = (self._service.get("healthcheck") or {}).get("test")
        if test and test[0] not in ("CMD", "CMD-SHELL", "NONE"):
            self._fail(
                f"has a healthcheck test that begins with '{test[0]}'",
                *("healthcheck", "test"),
                hint="begin the list with CMD, CMD-SHELL or NONE, or write one text",
            )

    def _watch(self) -> None:
        rules = (self._service.get("develop") or {}).get("watch") or ()
        for index, rule in enumerate(rules):
            if str(rule.get("action", "")).startswith("sync") and not rule.get("target"):
                self._fail("watches a path to synchronize without 'target'", "develop", "watch", index)

    def _restart(self) -> None:
        policy = str(self._service.get("restart") or "no")
        if not re.fullmatch(r"no|always|unless-stopped|on-failure(:\d+)?", policy):
            known = ("no", "always", "unless-stopped", "on-failure")
            hint = _close(policy, known) or f"one of {', '.join(known)}, on-failure:<attempts>"
            self._fail(f"has restart policy '{policy}', which is not known", "restart", hint=hint)

    def _models(self) -> None:
        for key in self._service.get("models") or ():
            self._reference("models", key, "uses model", "models", key)

    def _limits(self) -> None:
        service = self._service
        deploy = service.get("deploy") or {}
        limits = (deploy.get("resources") or {}).get("limits") or {}
        reserved = (deploy.get("resources") or {}).get("reservations") or {}
        for key, other, path in (
            ("scale", deploy.get("replicas"), "deploy.replicas"),
            ("mem_limit", limits.get("memory"), "deploy.resources.limits.memory"),
            ("cpus", limits.get("cpus"), "deploy.resources.limits.cpus"),
            ("pids_limit", limits.get("pids"), "deploy.resources.limits.pids"),
            ("mem_reservation", reserved.get("memory"), "deploy.resources.reservations.memory"),
        ):
            own = service.get(key)
            if own is not None and other is not None and float(own) != float(other):
                self._fail(f"gives different values for '{key}' and '{path}'", key, hint="remove one of them")
        scale = service.get("scale", deploy.get("replicas"))
        if service.get("container_name") and isinstance(scale, int) and scale > 1:
            hint = "a fixed name can be given to one container only"
            self._fail(f"has 'container_name' and {scale} containers", "container_name", hint=hint)
        for index, request in enumerate(reserved.get("devices") or ()):
            if request.get("count") is not None and request.get("device_ids"):
                self._fail(
                    "gives both 'count' and 'device_ids' of a device",
                    *("deploy", "resources", "reservations", "devices", index),
                )


def _dotted(path: tuple[str | int, ...]) -> str:
    from compose.load.tree import dotted

    return dotted(path)


def _close(name: str, known: Collection[str]) -> str:
    # letters that changed places count as near, however short the name
    close = get_close_matches(name, known, n=1) or [k for k in known if sorted(k) == sorted(name)]
    return f"did you mean '{close[0]}'?" if close else ""


def _external(tree: Map, key: str, entry: Map, problems: Problems) -> None:
    """An external volume is as it is: nothing but its name can be given."""
    if not entry.get("external"):
        return
    others = [
        one
        for one in entry
        if one not in ("external", "name") and not one.startswith("x-") and (entry[one] or entry[one] == {})
    ]
    for one in others:
        where: Where | None = entry.at.get(one) or place(tree, ("volumes", key))
        problems.add(f"volume '{key}' is external, so '{one}' cannot be given", ("volumes", key, one), where)


def _file_object(tree: Map, section: str, key: str, entry: Map, problems: Problems) -> None:
    if problems.spoils_in(section, key):
        return
    kinds = [k for k in ("file", "environment", "content", "external") if entry.get(k)]
    where = place(tree, (section, key))
    if len(kinds) > 1 and "external" not in kinds:
        problems.add(
            f"{section[:-1]} '{key}' gives {' and '.join(kinds)}: only one may be there",
            (section, key),
            where,
        )
    elif not kinds and "content" not in entry and (section == "secrets" or not entry.get("driver")):
        problems.add(
            f"{section[:-1]} '{key}' says not where its content comes from",
            (section, key),
            where,
            hint="give one of 'file', 'environment'" + (", 'content'" if section == "configs" else ""),
        )
