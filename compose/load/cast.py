"""Texts in typed attributes become booleans and numbers.

Comes in:  a text after interpolation and the path where it stands.
Goes out:  the text, or a bool, int or float where the attribute is one.
Source: Compose Specification "Interpolation"; YAML 1.1 words such as ``yes`` count in boolean places.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

TRUE = frozenset({"true", "yes", "on", "y"})
FALSE = frozenset({"false", "no", "off", "n"})


def shortened(text: str) -> str:
    """``text`` as far as an error should show it."""
    return text if len(text) <= 60 else text[:57] + "..."


def boolean(text: str) -> bool:
    """``true``, ``yes``, ``on``, ``y`` ... as bool; ValueError otherwise."""
    word = text.lower()
    if word in TRUE or word in FALSE:
        return word in TRUE
    raise ValueError(f"'{shortened(text)}' is not a boolean: write true or false")


def integer(text: str) -> int:
    """A whole number in decimal digits."""
    if not re.fullmatch(r"[-+]?[0-9]{1,400}", text):
        raise ValueError(f"'{shortened(text)}' is not a whole number")
    return int(text)


def number(text: str) -> float:
    """A decimal number."""
    try:
        return float(text)
    except ValueError:
        raise ValueError(f"'{shortened(text)}' is not a number") from None


_SERVICE: dict[Callable[[str], bool | int | float], tuple[str, ...]] = {
    boolean: (
        "attach", "init", "oom_kill_disable", "privileged", "read_only", "stdin_open", "tty",
        "healthcheck.disable", "volumes.*.read_only", "volumes.*.volume.nocopy",
        "volumes.*.bind.create_host_path", "build.no_cache", "build.pull", "build.privileged",
        "depends_on.*.restart", "env_file.*.required",
        "post_start.*.privileged", "pre_stop.*.privileged", "pre_start.*.privileged",
        "pre_start.*.per_replica",
    ),
    integer: (
        "cpu_count", "cpu_period", "cpu_quota", "cpu_rt_period", "cpu_rt_runtime", "cpu_shares",
        "deploy.replicas", "deploy.update_config.parallelism", "deploy.rollback_config.parallelism",
        "deploy.restart_policy.max_attempts", "deploy.placement.max_replicas_per_node",
        "deploy.resources.limits.pids", "healthcheck.retries", "mem_swappiness", "oom_score_adj",
        "pids_limit", "ports.*.target", "scale", "ulimits.*", "ulimits.*.soft", "ulimits.*.hard",
        "build.ulimits.*", "build.ulimits.*.soft", "build.ulimits.*.hard",
        "blkio_config.weight", "blkio_config.weight_device.*.weight",
    ),
    number: (
        "cpu_percent", "cpus", "deploy.update_config.max_failure_ratio",
        "deploy.rollback_config.max_failure_ratio", "deploy.resources.limits.cpus",
        "deploy.resources.reservations.cpus",
    ),
}  # fmt: skip

_TOP: dict[Callable[[str], bool | int | float], tuple[str, ...]] = {
    boolean: (
        "networks.*.external", "networks.*.internal", "networks.*.attachable", "networks.*.enable_ipv4",
        "networks.*.enable_ipv6", "volumes.*.external", "secrets.*.external", "configs.*.external",
    ),
}  # fmt: skip


def _table() -> dict[tuple[str, ...], Callable[[str], bool | int | float]]:
    table = {tuple(f"services.*.{p}".split(".")): kind for kind, paths in _SERVICE.items() for p in paths}
    table |= {tuple(path.split(".")): kind for kind, paths in _TOP.items() for path in paths}
    return table


_CASTS = _table()
# the few last steps that occur at all: most texts are left alone after one look-up
_LAST = {pattern[-1] for pattern in _CASTS if pattern[-1] != "*"}


def cast(text: str, path: Sequence[str | int]) -> str | bool | int | float:
    """``text`` in the type of the attribute at ``path``. Raises ValueError with a sentence."""
    if not path or (path[-1] not in _LAST and "ulimits" not in path):
        return text
    for pattern, kind in _CASTS.items():
        if len(pattern) == len(path) and all(p in ("*", s) for p, s in zip(pattern, path, strict=True)):
            return kind(text)
    return text
