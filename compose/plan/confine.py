"""How far a service is let: capabilities, seccomp, masked paths, namespaces, resource limits.

Comes in:  a Service.
Goes out:  the parts of a ContainerSpec that say so, Docker's defaults where the file is silent.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

from compose.errors import ComposeError
from compose.model.service import Service
from runtime.policy import capabilities, paths
from runtime.spec import Limits, Namespaces, Throttle, Ulimit
from schemas.frozen import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Security:
    """What ``privileged``, ``cap_add``, ``cap_drop`` and ``security_opt`` come to."""

    capabilities: tuple[str, ...]
    seccomp: str = "default"
    seccomp_file: str = ""
    no_new_privileges: bool = False
    masked: tuple[str, ...] = ()
    readonly_paths: tuple[str, ...] = ()


def security(service: Service, working_dir: str) -> Security:
    """Read the confinement of ``service``. Raises ComposeError for what cannot be applied here."""
    options = _options(service)
    profile = options.get("seccomp", "unconfined" if service.privileged else "default")
    path = "" if profile in ("default", "builtin", "unconfined") else profile
    if path and not path.startswith("/"):
        path = f"{working_dir}/{path}"
    open_paths = service.privileged or options.get("systempaths") == "unconfined"
    return Security(
        capabilities=_capabilities(service),
        seccomp="default" if path or profile == "builtin" else profile,
        seccomp_file=path,
        no_new_privileges=options.get("no-new-privileges", "false") in ("", *_TRUE),
        masked=() if open_paths else paths.masked(os.cpu_count() or 1),
        readonly_paths=() if open_paths else paths.READONLY,
    )


def _capabilities(service: Service) -> tuple[str, ...]:
    try:
        return capabilities.final(service.cap_add, service.cap_drop, privileged=service.privileged)
    except ValueError as error:
        raise ComposeError(
            f"service '{service.name}': {error}",
            hint="names as in capabilities(7), such as NET_ADMIN, or ALL",
            path=f"services.{service.name}.cap_add",
        ) from None


_TRUE, _FALSE = ("1", "t", "T", "TRUE", "true", "True"), ("0", "f", "F", "FALSE", "false", "False")
# what Docker ignores on a machine without the security module; a profile or label would not be applied
_HARMLESS = {"apparmor": ("unconfined",), "label": ("disable",)}
_KNOWN = "known: no-new-privileges[=true|false], seccomp=FILE|unconfined|builtin, systempaths=unconfined"


def _options(service: Service) -> Mapping[str, str]:
    """``security_opt`` as a table. Raises ComposeError for what cannot be applied here.

    Source: Docker Engine 28, daemon/daemon_unix.go parseSecurityOpt; Go, strconv.ParseBool.
    """
    options: dict[str, str] = {}
    for index, text in enumerate(service.security_opt):
        cut = min((i for i in (text.find("="), text.find(":")) if i >= 0), default=len(text))
        key, value = text[:cut], text[cut + 1 :]
        wrong = _wrong_option(key, value, given=cut < len(text))
        if wrong:
            raise ComposeError(
                f"service '{service.name}' has the security_opt '{text}', which {wrong}",
                hint=_KNOWN,
                path=f"services.{service.name}.security_opt[{index}]",
            )
        options[key] = value
    return options


def _wrong_option(key: str, value: str, *, given: bool) -> str:
    """Why ``key``=``value`` is refused, or ""."""
    if key == "no-new-privileges":
        return "" if not given or value in (*_TRUE, *_FALSE) else "is neither true nor false"
    if key == "seccomp":
        return "" if value else "names no profile"
    if key == "systempaths":
        return "" if value == "unconfined" else "is not known"
    if key in _HARMLESS:
        return "" if value in _HARMLESS[key] else "cannot be applied: pycompose uses no such security module"
    return "is not known"


def namespaces(service: Service, containers: Mapping[str, str]) -> Namespaces:
    """Which namespaces are private, the host's or another container's.

    containers: id by service name (and by container name) for ``service:x`` and ``container:x``.
    """

    def named(mode: str, attribute: str, default: str) -> str:
        if mode.startswith(("service:", "container:")):
            name = mode.partition(":")[2]
            if name not in containers:
                raise ComposeError(
                    f"service '{service.name}': {attribute} '{mode}' names a container that does not exist",
                    hint="start it first",
                    path=f"services.{service.name}.{attribute}",
                )
            return f"container:{containers[name]}"
        return mode if mode in ("host", "none") else default

    return Namespaces(
        pid=named(service.pid, "pid", "private"),
        ipc=named(service.ipc, "ipc", "private"),
        uts="host" if service.uts == "host" else "private",
        network=named(service.network_mode, "network_mode", "private"),
        cgroup="host" if service.cgroup == "host" else "private",
    )


def limits(service: Service) -> Limits:
    """Resource limits; ``deploy.resources`` counts where the short attribute is silent."""
    deploy = service.deploy
    reserved = deploy.reserve_memory if deploy else None
    memory = service.mem_limit or (deploy.limit_memory if deploy else None)
    return Limits(
        memory=memory,
        memory_swap=service.memswap_limit,
        memory_reservation=service.mem_reservation or reserved,
        memory_swappiness=None if service.mem_swappiness == -1 else service.mem_swappiness,
        oom_kill_disable=service.oom_kill_disable,
        cpus=service.cpus or (deploy.limit_cpus if deploy else None),
        cpu_period=service.cpu_period,
        cpu_quota=service.cpu_quota,
        cpu_shares=service.cpu_shares,
        cpu_rt_period=service.cpu_rt_period,
        cpu_rt_runtime=service.cpu_rt_runtime,
        cpuset_cpus=service.cpuset,
        pids=service.pids_limit or (deploy.limit_pids if deploy else None),
        blkio_weight=service.blkio_weight,
        throttles=tuple(Throttle(kind=b.kind, path=b.path, rate=b.rate) for b in service.blkio_limits),
        device_rules=service.device_cgroup_rules,
        parent=service.cgroup_parent,
    )


def ulimits(service: Service) -> tuple[Ulimit, ...]:
    """``ulimits`` in the order of their names."""
    return tuple(
        Ulimit(name=name, soft=limit.soft, hard=limit.hard) for name, limit in sorted(service.ulimits.items())
    )


def restart_policy(service: Service) -> str:
    """``restart``, else what ``deploy.restart_policy`` maps to, else "no"."""
    if service.restart:
        return service.restart
    policy = service.deploy.restart_policy if service.deploy else None
    if policy is None or policy.condition == "none":
        return "no"
    if policy.condition == "on-failure":
        return f"on-failure:{policy.max_attempts}" if policy.max_attempts else "on-failure"
    return "unless-stopped"


UNSUPPORTED = {
    "use_api_socket": "there is no engine API to hand into a container",
    "models": "there is no model runner here",
    "provider": "external providers are not run",
    "gpus": "GPU requests are not handled",
    "credential_spec": "Windows only",
}


def refuse_unsupported(service: Service) -> None:
    """Raise ComposeError for what cannot be done here."""
    for key, why in UNSUPPORTED.items():
        if getattr(service, key):
            raise ComposeError(
                f"service '{service.name}' uses '{key}', which is not supported: {why}",
                path=f"services.{service.name}.{key}",
            )
