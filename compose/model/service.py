"""One service and what belongs to it: build, ports, mounts, health, resources."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from enum import StrEnum
from types import MappingProxyType
from typing import Any

from schemas.frozen import dataclass, field

NOTHING: Mapping[str, Any] = MappingProxyType({})


def _empty() -> Mapping[str, Any]:
    return NOTHING


class Condition(StrEnum):
    """When a dependency counts as ready."""

    STARTED = "service_started"
    HEALTHY = "service_healthy"
    COMPLETED = "service_completed_successfully"


@dataclass(frozen=True, slots=True, kw_only=True)
class Dependency:
    """``depends_on.<service>``."""

    condition: Condition = Condition.STARTED
    required: bool = True
    restart: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Port:
    """``ports[]``; ``published`` is "" (a free port), "8080" or a host range "9090-9091"."""

    target: int
    published: str = ""
    host_ip: str = ""
    protocol: str = "tcp"
    mode: str = "ingress"
    app_protocol: str = ""
    name: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class VolumeMount:
    """``volumes[]``; ``type`` is volume, bind, tmpfs, image, npipe or cluster; source "" is anonymous."""

    type: str
    target: str
    source: str = ""
    read_only: bool = False
    consistency: str = ""
    propagation: str = ""
    create_host_path: bool = False
    recursive: str = ""
    selinux: str = ""
    nocopy: bool = False
    subpath: str = ""
    labels: Mapping[str, str] = field(default_factory=_empty)
    size: int | None = None
    mode: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FileMount:
    """``secrets[]`` and ``configs[]`` of a service or build; target "" means the default place."""

    source: str
    target: str = ""
    uid: str = ""
    gid: str = ""
    mode: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Healthcheck:
    """``healthcheck``; ``test`` () inherits the image's. None means the image's or the default."""

    test: tuple[str, ...] = ()
    interval: timedelta | None = None
    timeout: timedelta | None = None
    retries: int | None = None
    start_period: timedelta | None = None
    start_interval: timedelta | None = None
    disable: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkAttachment:
    """``networks.<name>`` of a service."""

    aliases: tuple[str, ...] = ()
    interface_name: str = ""
    ipv4_address: str = ""
    ipv6_address: str = ""
    link_local_ips: tuple[str, ...] = ()
    mac_address: str = ""
    driver_opts: Mapping[str, str] = field(default_factory=_empty)
    priority: int = 0
    gw_priority: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Ulimit:
    """``ulimits.<name>``; -1 is unlimited."""

    soft: int
    hard: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Build:
    """``build``; ``context`` is an absolute path or a URL; None values of args take the caller's."""

    context: str
    dockerfile: str = "Dockerfile"
    dockerfile_inline: str = ""
    additional_contexts: Mapping[str, str] = field(default_factory=_empty)
    args: Mapping[str, str | None] = field(default_factory=_empty)
    ssh: tuple[str, ...] = ()
    cache_from: tuple[str, ...] = ()
    cache_to: tuple[str, ...] = ()
    entitlements: tuple[str, ...] = ()
    extra_hosts: tuple[str, ...] = ()
    isolation: str = ""
    labels: Mapping[str, str] = field(default_factory=_empty)
    network: str = ""
    no_cache: bool = False
    no_cache_filter: tuple[str, ...] = ()
    platforms: tuple[str, ...] = ()
    privileged: bool = False
    provenance: str = ""
    sbom: str = ""
    pull: bool = False
    secrets: tuple[FileMount, ...] = ()
    shm_size: int | None = None
    tags: tuple[str, ...] = ()
    target: str = ""
    ulimits: Mapping[str, Ulimit] = field(default_factory=_empty)


@dataclass(frozen=True, slots=True, kw_only=True)
class Logging:
    """``logging``."""

    driver: str = ""
    options: Mapping[str, str] = field(default_factory=_empty)


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceMount:
    """``devices[]``; ``source`` may be a CDI name."""

    source: str
    target: str = ""
    permissions: str = "rwm"


@dataclass(frozen=True, slots=True, kw_only=True)
class BlkioLimit:
    """One entry of ``blkio_config``; kind: weight, read_bps, write_bps, read_iops or write_iops."""

    kind: str
    path: str
    rate: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Hook:
    """``pre_start``, ``post_start``, ``pre_stop`` and ``develop.watch.exec``."""

    command: tuple[str, ...]
    user: str = ""
    privileged: bool = False
    working_dir: str = ""
    environment: Mapping[str, str | None] = field(default_factory=_empty)
    image: str = ""
    per_replica: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Watch:
    """``develop.watch[]``; ``path`` absolute."""

    path: str
    action: str
    target: str = ""
    ignore: tuple[str, ...] = ()
    include: tuple[str, ...] = ()
    exec: Hook | None = None
    initial_sync: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceRequest:
    """``gpus`` and ``deploy.resources.reservations.devices[]``; count -1 is all."""

    capabilities: tuple[str, ...] = ()
    driver: str = ""
    count: int | None = None
    device_ids: tuple[str, ...] = ()
    options: Mapping[str, str] = field(default_factory=_empty)


@dataclass(frozen=True, slots=True, kw_only=True)
class RestartPolicy:
    """``deploy.restart_policy``; ``condition`` none, on-failure or any."""

    condition: str = "any"
    delay: timedelta | None = None
    max_attempts: int | None = None
    window: timedelta | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Deploy:
    """``deploy``, as far as one machine can act on it; the rest stays in ``extra``."""

    mode: str = "replicated"
    replicas: int | None = None
    labels: Mapping[str, str] = field(default_factory=_empty)
    endpoint_mode: str = ""
    limit_cpus: float | None = None
    limit_memory: int | None = None
    limit_pids: int | None = None
    reserve_cpus: float | None = None
    reserve_memory: int | None = None
    reserve_devices: tuple[DeviceRequest, ...] = ()
    restart_policy: RestartPolicy | None = None
    extra: Mapping[str, Any] = field(default_factory=_empty)


@dataclass(frozen=True, slots=True, kw_only=True)
class Provider:
    """``provider``; option values are a text or a tuple of texts."""

    type: str
    options: Mapping[str, Any] = field(default_factory=_empty)


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelUse:
    """``models.<name>`` of a service."""

    endpoint_var: str = ""
    model_var: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """One service, every default filled in.

    command, entrypoint: argv as execve(2) takes it; None means the image decides, () clears.
    environment:  final values with env_file merged in; None removes the image's variable.
    scale:        wanted number of containers (``scale`` or ``deploy.replicas``).
    memory sizes are bytes; mem_limit, cpus and pids_limit already agree with ``deploy``.
    links, volumes_from: as written, in long text form; their dependencies are in ``depends_on``.
    extra_hosts:  "name=address" texts, ``host-gateway`` not yet resolved.
    security_opt: "key=value" or "key:value" texts as written.
    """

    name: str
    image: str = ""
    build: Build | None = None
    annotations: Mapping[str, str] = field(default_factory=_empty)
    attach: bool = True
    blkio_weight: int | None = None
    blkio_limits: tuple[BlkioLimit, ...] = ()
    cap_add: tuple[str, ...] = ()
    cap_drop: tuple[str, ...] = ()
    cgroup: str = ""
    cgroup_parent: str = ""
    command: tuple[str, ...] | None = None
    configs: tuple[FileMount, ...] = ()
    container_name: str = ""
    cpu_count: int | None = None
    cpu_percent: float | None = None
    cpu_shares: int | None = None
    cpu_period: int | None = None
    cpu_quota: int | None = None
    cpu_rt_period: int | None = None
    cpu_rt_runtime: int | None = None
    cpus: float | None = None
    cpuset: str = ""
    credential_spec: Mapping[str, str] = field(default_factory=_empty)
    depends_on: Mapping[str, Dependency] = field(default_factory=_empty)
    deploy: Deploy | None = None
    develop: tuple[Watch, ...] = ()
    device_cgroup_rules: tuple[str, ...] = ()
    devices: tuple[DeviceMount, ...] = ()
    dns: tuple[str, ...] = ()
    dns_opt: tuple[str, ...] = ()
    dns_search: tuple[str, ...] = ()
    domainname: str = ""
    entrypoint: tuple[str, ...] | None = None
    environment: Mapping[str, str | None] = field(default_factory=_empty)
    expose: tuple[str, ...] = ()
    external_links: tuple[str, ...] = ()
    extra_hosts: tuple[str, ...] = ()
    gpus: tuple[DeviceRequest, ...] = ()
    group_add: tuple[str, ...] = ()
    healthcheck: Healthcheck | None = None
    hostname: str = ""
    init: bool = False
    ipc: str = ""
    isolation: str = ""
    labels: Mapping[str, str] = field(default_factory=_empty)
    links: tuple[str, ...] = ()
    logging: Logging | None = None
    mac_address: str = ""
    mem_limit: int | None = None
    mem_reservation: int | None = None
    mem_swappiness: int | None = None
    memswap_limit: int | None = None
    models: Mapping[str, ModelUse] = field(default_factory=_empty)
    network_mode: str = ""
    networks: Mapping[str, NetworkAttachment] = field(default_factory=_empty)
    oom_kill_disable: bool = False
    oom_score_adj: int | None = None
    pid: str = ""
    pids_limit: int | None = None
    platform: str = ""
    ports: tuple[Port, ...] = ()
    ports_obey_firewall: bool = False
    pre_start: tuple[Hook, ...] = ()
    post_start: tuple[Hook, ...] = ()
    pre_stop: tuple[Hook, ...] = ()
    privileged: bool = False
    profiles: tuple[str, ...] = ()
    provider: Provider | None = None
    pull_policy: str = ""
    read_only: bool = False
    restart: str = ""
    runtime: str = ""
    scale: int = 1
    secrets: tuple[FileMount, ...] = ()
    security_opt: tuple[str, ...] = ()
    shm_size: int | None = None
    stdin_open: bool = False
    stop_grace_period: timedelta | None = None
    stop_signal: str = ""
    storage_opt: Mapping[str, str] = field(default_factory=_empty)
    sysctls: Mapping[str, str] = field(default_factory=_empty)
    tmpfs: tuple[str, ...] = ()
    tty: bool = False
    ulimits: Mapping[str, Ulimit] = field(default_factory=_empty)
    use_api_socket: bool = False
    user: str = ""
    userns_mode: str = ""
    uts: str = ""
    volumes: tuple[VolumeMount, ...] = ()
    volumes_from: tuple[str, ...] = ()
    working_dir: str = ""
