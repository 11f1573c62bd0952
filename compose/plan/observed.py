"""The machine as it was seen once, before the plan.

Comes in:  nothing.
Goes out:  Observed and its parts, frozen values made by ``compose.engine.observe``.
"""

from __future__ import annotations

from collections.abc import Mapping

from compose.model.service import NOTHING
from schemas.frozen import dataclass, field

PROJECT = "com.docker.compose.project"
SERVICE = "com.docker.compose.service"
NUMBER = "com.docker.compose.container-number"
ONEOFF = "com.docker.compose.oneoff"
CONFIG_HASH = "com.docker.compose.config-hash"
IMAGE = "com.docker.compose.image"
IMAGE_NAME = "io.pycompose.image-name"
DEPENDS_ON = "com.docker.compose.depends_on"
WORKING_DIR = "com.docker.compose.project.working_dir"
CONFIG_FILES = "com.docker.compose.project.config_files"
ENVIRONMENT_FILE = "com.docker.compose.project.environment_file"
VERSION = "com.docker.compose.version"
SLUG = "com.docker.compose.slug"
NETWORK = "com.docker.compose.network"
VOLUME = "com.docker.compose.volume"
ALIVE = ("running", "paused", "restarting")  # what has to be stopped before it can be removed


@dataclass(frozen=True, slots=True, kw_only=True)
class Container:
    """One container of the project; ``status`` as in runtime.spec.ContainerState, or "restarting".

    networks:  real names of the networks it joins.
    depends_on: services it depended on when it was made (for the stop order without a file).
    anonymous: target path to volume name of its anonymous volumes.
    """

    id: str
    name: str
    service: str
    number: int = 1
    oneoff: bool = False
    status: str = "exited"
    health: str = ""
    exit_code: int | None = None
    config_hash: str = ""
    image: str = ""
    image_name: str = ""
    networks: tuple[str, ...] = ()
    depends_on: tuple[str, ...] = ()
    anonymous: Mapping[str, str] = field(default_factory=lambda: NOTHING)


@dataclass(frozen=True, slots=True, kw_only=True)
class Observed:
    """Containers of the project; networks and volumes of the machine by real name, with their labels."""

    containers: tuple[Container, ...] = ()
    networks: Mapping[str, Mapping[str, str]] = field(default_factory=lambda: NOTHING)
    volumes: Mapping[str, Mapping[str, str]] = field(default_factory=lambda: NOTHING)

    def of(self, service: str) -> tuple[Container, ...]:
        """Replicas of ``service`` by number; one-off containers are not among them."""
        found = [c for c in self.containers if c.service == service and not c.oneoff]
        return tuple(sorted(found, key=lambda c: c.number))
