"""Everything one container needs to be made and started, as one JSON-able value.

Comes in:  nothing.
Goes out:  Launch (kept beside the container's record, so that a restart or a supervisor that takes
           over needs no Compose file) and ImageFacts (what the command found out about the image).
Not here:  making it (``compose.plan.translate``), acting on it (``compose.engine``).
Durations are seconds, sizes bytes, as in ``runtime.spec``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from compose.model.service import NOTHING
from netns.spec import EndpointSpec, PortSpec
from runtime.policy.health import HealthSpec
from runtime.spec import ContainerSpec, ExecSpec
from schemas.frozen import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageFacts:
    """What an image says about running it. layers: host directories, lowest first.

    mounted: of each image that the service mounts, by the name in the file: its id, then its layers.
    """

    id: str
    name: str = ""
    layers: tuple[str, ...] = ()
    env: tuple[str, ...] = ()
    entrypoint: tuple[str, ...] = ()
    cmd: tuple[str, ...] = ()
    user: str = ""
    working_dir: str = ""
    volumes: tuple[str, ...] = ()
    exposed_ports: tuple[str, ...] = ()
    stop_signal: str = ""
    health_test: tuple[str, ...] = ()
    health: Mapping[str, float] = field(default_factory=lambda: NOTHING)
    labels: Mapping[str, str] = field(default_factory=lambda: NOTHING)
    mounted: Mapping[str, Sequence[str]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class File:
    """A config or secret to write before the start and bind read-only at its target.

    path: host file below RUN/<project>/containers/<id>/files; source: key in the project;
    kind: "configs" or "secrets", from whose table the engine takes the content.
    """

    path: str
    kind: str
    source: str
    uid: int = 0
    gid: int = 0
    mode: int = 0o444


@dataclass(frozen=True, slots=True, kw_only=True)
class Volume:
    """A volume the container mounts; ``anonymous`` ones go when the container goes for good."""

    name: str
    target: str
    anonymous: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """One container, ready to be made.

    binds:    host paths that have to exist; True: make a missing one as a directory.
    restart:  "no", "always", "on-failure[:n]" or "unless-stopped".
    hosts:    further lines of /etc/hosts as "name=address"; host-gateway is resolved at the start.
    links:    names for others that this container alone has (``links``, ``external_links``).
    auto_remove: it is removed when it ends (``run -d --rm``).
    seccomp_file: absolute path of a profile to read, or "".
    """

    spec: ContainerSpec
    service: str
    number: int = 1
    endpoints: tuple[EndpointSpec, ...] = ()
    ports: tuple[PortSpec, ...] = ()
    health: HealthSpec | None = None
    restart: str = "no"
    auto_remove: bool = False
    volumes: tuple[Volume, ...] = ()
    binds: Mapping[str, bool] = field(default_factory=dict)
    files: tuple[File, ...] = ()
    hosts: tuple[str, ...] = ()
    links: Mapping[str, str] = field(default_factory=dict)
    dns: tuple[str, ...] = ()
    dns_search: tuple[str, ...] = ()
    dns_opt: tuple[str, ...] = ()
    post_start: tuple[ExecSpec, ...] = ()
    pre_stop: tuple[ExecSpec, ...] = ()
    seccomp_file: str = ""
