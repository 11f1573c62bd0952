"""The whole file: services and the networks, volumes, configs and secrets they share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from compose.model.service import NOTHING, Service
from schemas.frozen import dataclass, field


def _empty() -> Mapping[str, Any]:
    return NOTHING


@dataclass(frozen=True, slots=True, kw_only=True)
class IpamPool:
    """One entry of ``ipam.config``."""

    subnet: str = ""
    ip_range: str = ""
    gateway: str = ""
    aux_addresses: Mapping[str, str] = field(default_factory=_empty)


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """``networks.<key>``; ``name`` is the real name, ``<project>_<key>`` unless the file gives one."""

    key: str
    name: str
    driver: str = ""
    driver_opts: Mapping[str, str] = field(default_factory=_empty)
    attachable: bool = False
    enable_ipv4: bool = True
    enable_ipv6: bool = False
    external: bool = False
    internal: bool = False
    ipam_driver: str = ""
    ipam: tuple[IpamPool, ...] = ()
    labels: Mapping[str, str] = field(default_factory=_empty)


@dataclass(frozen=True, slots=True, kw_only=True)
class Volume:
    """``volumes.<key>``; ``name`` is the real name."""

    key: str
    name: str
    driver: str = ""
    driver_opts: Mapping[str, str] = field(default_factory=_empty)
    external: bool = False
    labels: Mapping[str, str] = field(default_factory=_empty)


@dataclass(frozen=True, slots=True, kw_only=True)
class FileObject:
    """``configs.<key>`` and ``secrets.<key>``: one of file (absolute), environment, content, external.

    ``content`` of a secret is never printed; for ``environment`` it holds the variable's value.
    """

    key: str
    name: str
    file: str = ""
    environment: str = ""
    content: str | None = field(default=None, repr=False)
    external: bool = False
    labels: Mapping[str, str] = field(default_factory=_empty)


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """``models.<key>``."""

    key: str
    model: str
    name: str = ""
    context_size: int | None = None
    runtime_flags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Project:
    """A checked Compose project.

    services:     active services only (profiles applied), in the order of the file.
    disabled:     names of services whose profiles are not active.
    separator:    between project, service and number in a container's name.
    all_resources: whether networks and volumes that no service uses are made as well.
    working_dir:  absolute; files: absolute paths of the Compose files ("-" for stdin).
    """

    name: str
    working_dir: str
    files: tuple[str, ...] = ()
    env_files: tuple[str, ...] = ()
    services: Mapping[str, Service] = field(default_factory=_empty)
    disabled: tuple[str, ...] = ()
    networks: Mapping[str, Network] = field(default_factory=_empty)
    volumes: Mapping[str, Volume] = field(default_factory=_empty)
    configs: Mapping[str, FileObject] = field(default_factory=_empty)
    secrets: Mapping[str, FileObject] = field(default_factory=_empty)
    models: Mapping[str, Model] = field(default_factory=_empty)
    profiles: tuple[str, ...] = ()
    separator: str = "-"
    all_resources: bool = False
