"""Numbers of a service that no kernel takes, and limits that contradict each other.

Comes in:  a Service, how many processors there are.
Goes out:  (path below the service, what is wrong, hint) for every one.
Not here:  applying them (``runtime.cgroup``). Zero means "not given" for all of them but mem_swappiness.
Source: Docker Engine 28, daemon/daemon_unix.go; cgroups(7), getrlimit(2), proc(5).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import timedelta

from compose.model.service import Service
from compose.plan import confine

LEAST_MEMORY = 6 * 1024 * 1024
ULIMITS = frozenset({
    "as", "core", "cpu", "data", "fsize", "locks", "memlock", "msgqueue", "nice", "nofile", "nproc", "rss",
    "rtprio", "rttime", "sigpending", "stack",
})  # fmt: skip
# attribute -> (lowest, highest, further values that are fine, unit)
_RANGES: dict[str, tuple[int, int | None, tuple[int, ...], str]] = {
    "blkio_weight": (10, 1000, (0,), ""),
    "cpu_period": (1000, 1_000_000, (0,), " microseconds"),
    "cpu_quota": (1000, None, (0, -1), " microseconds"),
    "cpu_rt_period": (0, None, (), ""),
    "cpu_rt_runtime": (0, None, (), ""),
    "cpu_shares": (2, 262_144, (0,), ""),
    "mem_swappiness": (0, 100, (-1,), ""),
    "oom_score_adj": (-1000, 1000, (), ""),
    "pids_limit": (1, None, (0, -1), ""),
    "scale": (0, None, (), ""),
    "shm_size": (0, None, (), ""),
}
_FLAGS = frozenset({
    "rw", "ro", "exec", "noexec", "suid", "nosuid", "dev", "nodev", "sync", "async", "dirsync", "atime",
    "noatime", "diratime", "nodiratime", "relatime", "norelatime", "strictatime", "nostrictatime",
    "defaults", "mand", "nomand",
})  # fmt: skip
_AMOUNT, _NUMBER = r"\d+[kKmMgGtTpPeE%]?", r"\d+"
_TMPFS = {
    "size": _AMOUNT, "nr_blocks": _AMOUNT, "nr_inodes": _AMOUNT, "mode": "[0-7]{1,5}", "uid": _NUMBER,
    "gid": _NUMBER, "mpol": ".+", "huge": "never|always|within_size|advise",
}  # fmt: skip
_PATHS = {"blkio_weight": ("blkio_config", "weight")}
_LEAST_SPAN = timedelta(milliseconds=1)
_LOG_SIZE = re.compile(r"\d+(\.\d+)? ?[kKmMgGtTpP]?[bB]?\Z")

Fault = tuple[tuple[str | int, ...], str, str]


def faults(service: Service, processors: int) -> Iterator[Fault]:
    """Every number of ``service`` that means nothing."""
    for key, (lowest, highest, fine, unit) in _RANGES.items():
        value = getattr(service, key)
        if value is None or value in fine or (lowest <= value and (highest is None or value <= highest)):
            continue
        words = f"from {lowest} to {highest}{unit}" if highest is not None else f"at least {lowest}{unit}"
        also = [str(one) for one in fine if one]
        hint = f"use a number {words}" + (f", or {also[0]}" if also else "")
        yield _PATHS.get(key, (key,)), f"has {key} {value}, which is out of range", hint
    yield from _memory(service)
    yield from _processors(service, processors)
    for limit in service.blkio_limits:
        if limit.rate < 0 or (limit.kind == "weight" and not 10 <= limit.rate <= 1000):
            hint = "use a weight from 10 to 1000" if limit.kind == "weight" else "use 0 or more"
            yield ("blkio_config",), f"limits '{limit.path}' by {limit.rate}, which is out of range", hint
    yield from _ulimits(service)
    yield from _durations(service)
    yield from _logging(service)


def _memory(service: Service) -> Iterator[Fault]:
    limits = confine.limits(service)
    memory, reserved, swap = limits.memory, limits.memory_reservation, limits.memory_swap
    of_limit = _path(service, "mem_limit", "limits", "memory")
    of_reservation = _path(service, "mem_reservation", "reservations", "memory")
    for path, name, value in ((of_limit, "limit", memory), (of_reservation, "reservation", reserved)):
        if value and value < LEAST_MEMORY:
            yield path, f"has a memory {name} of {value} bytes", "the minimum memory limit is 6 MB"
    if memory and reserved and reserved > memory:
        message = f"reserves {reserved} bytes of memory and is limited to {memory}"
        yield of_reservation, message, "the reservation has to be at most the limit"
    if swap and swap != -1:
        if not memory:
            yield ("memswap_limit",), "gives 'memswap_limit' without a memory limit", "add 'mem_limit'"
        elif swap < memory:
            message = f"has memswap_limit {swap}, which is less than the memory limit {memory}"
            yield ("memswap_limit",), message, "it counts memory and swap together; -1 is no limit"


def tmpfs(options: str) -> str:
    """Why the options of a tmpfs mean nothing, or "". Source: tmpfs(5); the options that Docker takes."""
    for word in options.split(",") if options else ():
        key, given, value = word.partition("=")
        pattern = _TMPFS.get(key)
        if not given and key in _FLAGS:
            continue
        if pattern is None or not given:
            return f"the option '{word}', which is not known"
        if not re.fullmatch(pattern, value, re.ASCII):
            return f"the option '{word}', whose value is none"
    return ""


def _path(service: Service, key: str, *below: str) -> tuple[str, ...]:
    """Where a limit stands: as an attribute of its own or under ``deploy.resources``."""
    deploy, value = service.deploy, getattr(service, key)
    attribute = {"cpus": "limit_cpus", "mem_limit": "limit_memory", "mem_reservation": "reserve_memory"}[key]
    if deploy and getattr(deploy, attribute) is not None and value in (None, getattr(deploy, attribute)):
        return ("deploy", "resources", *below)
    return (key,)


def _processors(service: Service, processors: int) -> Iterator[Fault]:
    limits = confine.limits(service)
    path = _path(service, "cpus", "limits", "cpus")
    if limits.cpus and not 0.01 <= limits.cpus <= processors:
        hint = f"use a number from 0.01 to {processors}, as many processors as there are"
        yield path, f"has {limits.cpus:g} cpus, which is out of range", hint
    for key in ("cpu_period", "cpu_quota"):
        if limits.cpus and getattr(service, key):
            yield (key,), f"gives both 'cpus' and '{key}'", "remove one of them"
    if limits.cpu_rt_period and limits.cpu_rt_runtime and limits.cpu_rt_runtime > limits.cpu_rt_period:
        yield ("cpu_rt_runtime",), "has a cpu_rt_runtime that is longer than its period", "shorten it"
    numbers = _cpuset(limits.cpuset_cpus)
    if numbers is None:
        yield ("cpuset",), f"has cpuset '{limits.cpuset_cpus}', which is none", "write it as 0-2 or 0,1"
    elif numbers and max(numbers) >= processors:
        hint = f"this machine has the processors 0 to {processors - 1}"
        yield ("cpuset",), f"has cpuset '{limits.cpuset_cpus}', whose processors are not all there", hint


def _cpuset(text: str) -> list[int] | None:
    """The ends of the ranges in ``text``; None when it is no list of processors. Source: cpuset(7)."""
    numbers = []
    for part in text.split(",") if text else ():
        match = re.fullmatch(r"\s*(\d{1,6})(?:-(\d{1,6}))?\s*", part, re.ASCII)
        if not match or (match[2] and int(match[2]) < int(match[1])):
            return None
        numbers.append(int(match[2] or match[1]))
    return numbers


def _ulimits(service: Service) -> Iterator[Fault]:
    for name, limit in service.ulimits.items():
        path = ("ulimits", name)
        if name not in ULIMITS:
            yield path, f"has the ulimit '{name}', which is none", f"known: {', '.join(sorted(ULIMITS))}"
        elif min(limit.soft, limit.hard) < -1:
            yield path, f"has a ulimit '{name}' below 0", "use -1 for no limit"
        elif limit.hard != -1 and (limit.soft > limit.hard or limit.soft == -1):
            soft = "unlimited" if limit.soft == -1 else limit.soft
            message = f"has the ulimit '{name}' with soft {soft} above hard {limit.hard}"
            yield path, message, "the soft limit has to be at most the hard one"


def _durations(service: Service) -> Iterator[Fault]:
    check = service.healthcheck
    for key in ("interval", "timeout", "start_period", "start_interval") if check else ():
        value = getattr(check, key)
        if value and value < _LEAST_SPAN:
            yield ("healthcheck", key), f"has a health check {key} below 1 ms", "give it a longer one"
    if check and check.retries is not None and check.retries < 0:
        yield ("healthcheck", "retries"), "has a negative number of retries", "use 1 or more"
    if service.stop_grace_period and service.stop_grace_period < timedelta():
        yield ("stop_grace_period",), "has a negative stop_grace_period", "use 0s or more"


def _logging(service: Service) -> Iterator[Fault]:
    """A bound of the logs that cannot be read would be none."""
    options = service.logging.options if service.logging else {}
    size, count = options.get("max-size", ""), options.get("max-file", "")
    if size and size != "-1" and not _LOG_SIZE.match(size):
        yield ("logging", "options", "max-size"), f"has the log size '{size}', which is none", "such as 10m"
    if count and not (count.isascii() and count.isdigit() and int(count) > 0):
        yield ("logging", "options", "max-file"), f"keeps '{count}' log files", "use a number, 1 or more"
