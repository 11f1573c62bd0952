"""The hash of a service that ``config --hash`` prints: docker compose's own, digit for digit.

Comes in:  a service of the canonical model, its env files not yet read.
Goes out:  64 hexadecimal digits.
Not here:  deciding whether a container is made anew (``compose.plan.fingerprint``).

Docker compose takes the SHA-256 of the service as JSON, without what does not live in a container. The
order of keys counts, so the tables below list them in docker compose's order.
Source: docker compose 2.40, ``config --hash``; the fields of compose-go's ServiceConfig.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from hashlib import sha256
from typing import Any

# kind -> its keys in order; "key:kind" is one of that kind or a list of them, "key:*kind" a mapping to them
_KINDS: Mapping[str, str] = {
    "service": """annotations attach develop:develop blkio_config:blkio cap_add cap_drop cgroup_parent cgroup
        cpu_count cpu_percent cpu_period cpu_quota cpu_rt_period cpu_rt_runtime cpus cpuset cpu_shares command
        configs:file container_name credential_spec:credentials deploy:deploy device_cgroup_rules
        devices:device dns dns_opt dns_search domainname entrypoint provider:provider environment
        env_file:env_file expose external_links extra_hosts group_add gpus:request hostname
        healthcheck:healthcheck image init ipc isolation labels label_file links logging:logging mem_limit
        mem_reservation memswap_limit mem_swappiness mac_address models:*model network_mode networks:*network
        oom_kill_disable oom_score_adj pid pids_limit platform ports:port privileged read_only restart runtime
        scale secrets:file security_opt shm_size stdin_open stop_grace_period stop_signal storage_opt sysctls
        tmpfs tty ulimits:*ulimit use_api_socket user userns_mode uts volumes:mount volumes_from working_dir
        post_start:hook pre_stop:hook""",
    "blkio": """weight weight_device:weight device_read_bps:rate device_read_iops:rate device_write_bps:rate
        device_write_iops:rate""",
    "bind": "selinux propagation create_host_path recursive",
    "credentials": "config file registry",
    "deploy": """mode labels update_config:update rollback_config:update resources:resources
        restart_policy:policy placement:placement endpoint_mode""",
    "develop": "watch:watch",
    "device": "source target permissions",
    "discrete": "kind value",
    "env_file": "path required format",
    "file": "source target uid gid mode",
    "generic": "discrete_resource_spec:discrete",
    "healthcheck": "test timeout interval retries start_period start_interval disable",
    "hook": "command user privileged working_dir environment",
    "logging": "driver options",
    "model": "endpoint_var model_var",
    "mount": "type source target read_only consistency bind:bind volume:volume tmpfs:tmpfs image",
    "network": """aliases driver_opts gw_priority interface_name ipv4_address ipv6_address link_local_ips
        mac_address priority""",
    "placement": "constraints preferences max_replicas_per_node",
    "policy": "condition delay max_attempts window",
    "port": "name mode host_ip target published protocol app_protocol",
    "provider": "type options",
    "rate": "Path Rate",
    "request": "capabilities driver count device_ids options",
    "resource": "cpus memory pids devices:request generic_resources:generic",
    "resources": "limits:resource reservations:resource",
    "tmpfs": "size mode",
    "ulimit": "single soft hard",
    "update": "parallelism delay failure_action monitor max_failure_ratio order",
    "volume": "labels nocopy subpath",
    "watch": "path action target exec:hook include ignore initial_sync",
    "weight": "Path Weight",
}


def service_hash(service: Mapping[str, Any]) -> str:
    """The SHA-256 of ``service`` as docker compose counts it. Pure."""
    kept = {key: value for key, value in service.items() if key not in ("pull_policy", "scale")}
    if files := kept.get("env_file"):
        kept["env_file"] = [one["path"] if one.get("required", True) else one for one in files]
    if isinstance(deploy := kept.get("deploy"), Mapping):
        kept["deploy"] = {key: value for key, value in deploy.items() if key != "replicas"}
    text = json.dumps(_ordered(kept, "service"), ensure_ascii=False, separators=(",", ":"))
    for char in "<>&\u2028\u2029":  # json.Marshal of Go writes them so
        text = text.replace(char, f"\\u{ord(char):04x}")
    return sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _ordered(value: Any, kind: str) -> Any:
    """``value`` with its keys in the order of ``kind``; those of a mapping without one are sorted."""
    if isinstance(value, list | tuple):
        return [_ordered(item, kind) for item in value]
    if isinstance(value, Mapping):
        if not kind or kind.startswith("*"):
            return {key: _ordered(value[key], kind[1:]) for key in sorted(value, key=_in_bytes)}
        fields = (field.partition(":") for field in _KINDS[kind].split())
        return {key: _ordered(value[key], inner) for key, _, inner in fields if key in value}
    return _number(value) if isinstance(value, float) else value


def _in_bytes(key: str) -> bytes:
    return key.encode("utf-8", "surrogatepass")


def _number(value: float) -> int | float:
    """A whole number without its point; others with the fewest digits that 32 bits can tell apart."""
    if value.is_integer():
        return int(value)
    single = struct.pack("f", value)
    return next(
        (
            short
            for digits in range(1, 9)
            if struct.pack("f", short := float(f"{value:.{digits}g}")) == single
        ),
        value,
    )
