"""Which services may become containers: values that mean nothing are refused before anything is made.

Comes in:  a Project, the services that are wanted, what the machine has (``Host``).
Goes out:  nothing, or a ComposeError for every value, each with the path of its attribute.
Not here:  numbers (``ranges``), capabilities and ``security_opt`` (``confine``), references (``load.check``).
Source: the checks of Docker Engine 28 at the creation of a container, which ``docker compose config`` does
        not make. Stricter where Docker ignores a limit or a protection that the file asks for.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from compose.errors import ComposeError, Several
from compose.model.project import Project
from compose.model.service import NetworkAttachment, Service
from compose.plan import confine, networking, ranges, resources
from compose.plan.values import link_sysctls, signal_number
from runtime.policy.sysctls import own_sysctl
from schemas.frozen import dataclass

CONTAINER_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]+\Z")
LONGEST_NAME = 240  # a log file is named after the container; NAME_MAX is 255
_HOST_NAME = re.compile(r"[a-zA-Z0-9_][a-zA-Z0-9_.-]*\Z")
_DEVICE_RULE = re.compile(r"[acb] (\d+|\*):(\d+|\*) [rwm]{1,3}\Z")
_PROPAGATION = ("", "private", "rprivate", "shared", "rshared", "slave", "rslave")
# attribute -> (its words besides "", whether service:NAME and container:NAME are words as well)
_WORDS: Mapping[str, tuple[tuple[str, ...], bool]] = {
    "cgroup": (("host", "private"), False),
    "ipc": (("none", "private", "shareable", "host"), True),
    "isolation": (("default",), False),
    "pid": (("host",), True),
    "runtime": (("runc", "io.containerd.runc.v2"), False),
    "userns_mode": (("host",), False),
    "uts": (("host",), False),
}
_OF_ONE_LINE = ("cgroup_parent", "dns", "dns_opt", "dns_search", "extra_hosts", "group_add", "user")
_LINK_SYSCTLS = "com.docker.network.endpoint.sysctls"
_WHY = {
    "isolation": "it is for Windows containers",
    "runtime": "pycompose runs containers itself and knows no other runtime",
    "userns_mode": "all containers share the host's user namespace",
}
# what would have to confine or limit the container, and cannot be applied
_LIMITS_OF_OTHERS = {
    "cpu_count": ("it is for Windows containers", "limit the processors with 'cpus'"),
    "cpu_percent": ("it is for Windows containers", "limit the processors with 'cpus'"),
    "storage_opt": ("the writable layer has no size limit of its own", "remove it"),
}
Fault = tuple[tuple[str | int, ...], str, str]
"""Path below the service, what is wrong, what to do about it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """What the machine has.

    processors: how many a container can use.
    kind:       "device", "directory", "file" or "missing" for a path of the host; "" where nobody looks.
    """

    processors: int
    kind: Callable[[str], str] = lambda _path: ""


def admit(project: Project, names: Iterable[str], host: Host) -> None:
    """Raise ComposeError, or Several, when one of the services ``names`` cannot become a container."""
    errors: list[ComposeError] = []
    for name in names:
        errors += refusals(project.services[name], host, project.working_dir)
    errors += resources.refusals(project, names)
    errors += _networks(project, names)
    if errors:
        raise errors[0] if len(errors) == 1 else Several(errors)


def _networks(project: Project, names: Iterable[str]) -> list[ComposeError]:
    """What does not fit together in networks; most files give nothing, and the look takes 5 ms to import."""
    services = [project.services[name] for name in names]
    given = (n.ipam or n.driver_opts or n.driver or not n.enable_ipv4 for n in project.networks.values())
    asked = (one != NetworkAttachment() for service in services for one in service.networks.values())
    if not any(given) and not any(asked):
        return []
    from compose.plan.netcheck import wrong_values

    return wrong_values(project, [service.name for service in services])


def admit_one(service: Service, working_dir: str) -> None:
    """Raise the first reason why ``service`` cannot become a container; files are not looked at."""
    for error in refusals(service, Host(processors=os.cpu_count() or 1), working_dir):
        raise error


def check_name(name: str, path: str = "") -> None:
    """Raise ComposeError unless ``name`` can be the name of a container."""
    if not CONTAINER_NAME.match(name):
        raise ComposeError(
            f"'{name}' is not a container name",
            hint="use two or more letters, digits, '_', '.' and '-', a letter or digit first",
            path=path,
        )
    if len(name) > LONGEST_NAME:
        raise ComposeError(
            f"the container name '{name[:20]}...' has {len(name)} characters",
            hint=f"use {LONGEST_NAME} or fewer",
            path=path,
        )


def refusals(service: Service, host: Host, working_dir: str) -> Iterator[ComposeError]:
    """Every reason why ``service`` cannot become a container. O(attributes)."""
    for attempt in (confine.refuse_unsupported, lambda one: confine.security(one, working_dir), _name):
        try:
            attempt(service)
        except ComposeError as error:
            yield error
    for path, message, hint in _faults(service, host):
        yield ComposeError(f"service '{service.name}' {message}", hint=hint, path=_dotted(service, path))


def _dotted(service: Service, path: tuple[str | int, ...]) -> str:
    text = f"services.{service.name}"
    for step in path:
        text += f"[{step}]" if isinstance(step, int) else f".{step}"
    return text


def _name(service: Service) -> None:
    if service.container_name:
        check_name(service.container_name, f"services.{service.name}.container_name")


def _faults(service: Service, host: Host) -> Iterator[Fault]:
    yield from _words(service)
    yield from _unenforced(service)
    yield from ranges.faults(service, host.processors)
    yield from _names_and_texts(service)
    yield from networking.faults(service)
    yield from _devices(service, host)
    yield from _mounts(service)
    yield from _files(service, host)
    yield from _sysctls(service)
    yield from _process(service)


def _words(service: Service) -> Iterator[Fault]:
    for key, (known, shared) in _WORDS.items():
        value: str = getattr(service, key)
        if not value or value in known:
            continue
        kind, colon, owner = value.partition(":")
        if shared and colon and owner and kind in ("service", "container"):
            continue
        words = ", ".join((*known, *(("service:NAME", "container:NAME") if shared else ())))
        why = f": {_WHY[key]}" if key in _WHY else ""
        yield (key,), f"has {key} '{value}', which is not supported{why}", f"known: {words}"


def _unenforced(service: Service) -> Iterator[Fault]:
    for key, (why, hint) in _LIMITS_OF_OTHERS.items():
        if getattr(service, key):
            yield (key,), f"sets '{key}', which cannot be applied: {why}", hint
    if service.deploy and service.deploy.reserve_devices:
        path = ("deploy", "resources", "reservations", "devices")
        message = "reserves devices, which cannot be applied: there is no driver that could hand them in"
        yield path, message, "name the device nodes under 'devices'"
    for key, attachment in service.networks.items():
        try:
            link_sysctls(attachment.driver_opts.get(_LINK_SYSCTLS, ""))
        except ValueError as error:
            message = f"sets {error} in network '{key}', which is not a kernel parameter of a link"
            hint = "write net.ipv4.conf.IFNAME.<name>=<number>, or ipv6, or neigh"
            yield ("networks", key, "driver_opts", _LINK_SYSCTLS), message, hint


def _names_and_texts(service: Service) -> Iterator[Fault]:
    for key in ("hostname", "domainname"):
        value: str = getattr(service, key)
        if value and (not _HOST_NAME.match(value) or len(value) > 64):
            hint = "use at most 64 letters, digits, '-', '.' and '_', a letter or digit first"
            yield (key,), f"has {key} '{value[:80]}', which cannot be one", hint
    for key in ("environment", "labels", "annotations"):
        for name in getattr(service, key):
            if not name or "\0" in name or "\n" in name:
                yield (key,), f"has the name '{name}' in '{key}'", "a name has one line and is not empty"
    if service.uts == "host" and service.hostname:
        yield ("hostname",), "gives 'hostname' and has the host's by 'uts: host'", "remove one of them"
    if service.uts == "host" and service.domainname:
        yield ("domainname",), "gives 'domainname' and has the host's by 'uts: host'", "remove one of them"
    for key in _OF_ONE_LINE:
        value = getattr(service, key)
        if any(
            not char.isprintable()
            for text in ((value,) if isinstance(value, str) else value)
            for char in text
        ):
            yield (key,), f"has a control character in '{key}'", "its texts have one line each"
    yield from ((path, "holds a NUL character", "no text of a process can") for path in _with_nul(service))


def _with_nul(service: Service) -> Iterator[tuple[str | int, ...]]:
    for key in ("command", "entrypoint", "environment", "labels", "annotations", "user", "working_dir"):
        value: Any = getattr(service, key)
        items = value.items() if isinstance(value, Mapping) else ((None, value),)
        for name, text in items:
            if "\0" in (text if isinstance(text, str) else "\n".join(text or ())):
                yield (key,) if name is None else (key, name)


def _devices(service: Service, host: Host) -> Iterator[Fault]:
    for index, device in enumerate(service.devices):
        access = device.permissions
        if access and (set(access) - set("rwm") or len(set(access)) != len(access)):
            hint = "use some of r (read), w (write) and m (mknod)"
            yield ("devices", index), f"has a device with the permissions '{access}'", hint
        kind = host.kind(device.source) if device.source.startswith("/") else ""
        if kind in ("file", "missing"):
            why = "is not a device node" if kind == "file" else "does not exist"
            yield ("devices", index), f"has the device '{device.source}', which {why}", "see 'ls -l /dev'"
    for index, rule in enumerate(service.device_cgroup_rules):
        if not _DEVICE_RULE.match(rule):
            hint = "write 'a', 'b' or 'c', MAJOR:MINOR and some of 'rwm', such as 'c 1:3 rwm'"
            yield ("device_cgroup_rules", index), f"has the device rule '{rule}', which is none", hint
    for index, limit in enumerate(service.blkio_limits):
        if not limit.path.startswith("/"):
            message = f"limits the device '{limit.path}', which is not a path"
            yield ("blkio_config",), message, f"it is entry {index + 1}; use one such as /dev/sda"


def _mounts(service: Service) -> Iterator[Fault]:
    for index, mount in enumerate(service.volumes):
        if mount.propagation not in _PROPAGATION:
            message = f"has a bind with propagation '{mount.propagation}', which is not known"
            yield ("volumes", index), message, f"one of {', '.join(_PROPAGATION[1:])}"
        yield from _target(("volumes", index), mount.target)
    for index, text in enumerate(service.tmpfs):
        target, _, options = text.partition(":")
        yield from _target(("tmpfs", index), target)
        if wrong := ranges.tmpfs(options):
            yield ("tmpfs", index), f"mounts a tmpfs with {wrong}", "such as size=64m,mode=1770,noexec"


def _target(path: tuple[str | int, ...], target: str) -> Iterator[Fault]:
    if not target.startswith("/"):
        yield path, f"mounts at '{target}', which is not absolute", f"did you mean '/{target.lstrip('./')}'?"
    elif not target.strip("/."):
        yield path, "mounts over the root directory of the container", "name a directory in it"


def _files(service: Service, host: Host) -> Iterator[Fault]:
    """Files of the host that a limit or a filter is about."""
    for limit in service.blkio_limits:
        if limit.path.startswith("/") and host.kind(limit.path) not in ("", "device"):
            yield ("blkio_config",), f"limits '{limit.path}', which is no device", "see lsblk(8)"
    for index, text in enumerate(service.security_opt):
        path = text[len("seccomp=") :] if text.startswith(("seccomp=", "seccomp:")) else ""
        if path.startswith("/") and host.kind(path) not in ("", "file"):
            message = f"has the seccomp profile '{path}', where there is no file"
            yield ("security_opt", index), message, "give the path of a JSON file, or 'unconfined'"


def _sysctls(service: Service) -> Iterator[Fault]:
    network = "host" if service.network_mode == "host" else "private"
    ipc = "host" if service.ipc == "host" else "private"
    uts = "host" if service.uts == "host" else "private"
    for name in service.sysctls:
        if not own_sysctl(name, network=network, ipc=ipc, uts=uts):
            hint = (
                "net.*, fs.mqueue.*, kernel.msg*, kernel.shm*, kernel.sem and kernel.domainname are its own"
            )
            yield ("sysctls", name), f"sets sysctl '{name}', which would change the host", hint


def _process(service: Service) -> Iterator[Fault]:
    if service.stop_signal:
        try:
            signal_number(service.stop_signal)
        except ComposeError as error:
            yield ("stop_signal",), f"has an {error.message}", error.hint
    if service.working_dir and not service.working_dir.startswith("/"):
        message = f"has the working directory '{service.working_dir}', which is not absolute"
        yield ("working_dir",), message, f"did you mean '/{service.working_dir}'?"
    if ".." in service.cgroup_parent.split("/"):
        message = f"has cgroup_parent '{service.cgroup_parent}', which leads out of pycompose's own group"
        yield ("cgroup_parent",), message, "remove '..'"
    check = service.healthcheck
    if check and check.test[:1] in (("CMD",), ("CMD-SHELL",)) and not any(check.test[1:]):
        yield ("healthcheck", "test"), "has a health check without a command", "add one, or 'disable: true'"
