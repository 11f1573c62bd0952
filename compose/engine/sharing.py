"""Network namespaces that containers share: whose they are, and who keeps them alive.

Comes in:  a service's ``network_mode``, launches, namespaces of running guests.
Goes out:  the owner of a namespace; paths by which a container is started into a kept one.
Not here:  joining (runtime.process.joins), plugging (attach).

A namespace belongs to a container, not to its process: while a guest lives in it, the owner's address, names
and ports stay, and the owner starts again into the same one (ADR 123).
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
from collections.abc import Iterable
from pathlib import Path

from compose.model.places import Places
from compose.model.service import Service
from compose.plan.launch import Launch
from compose.plan.networks import Owner
from runtime import state
from runtime.spec import ContainerSpec


def owner_id(launch: Launch) -> str:
    """The container whose network namespace ``launch`` lives in; "" when it has its own or the host's."""
    mode = launch.spec.namespaces.network
    return mode.removeprefix("container:") if mode.startswith("container:") else ""


def owner_of(spec: ContainerSpec) -> Owner:
    """What a guest takes over from the container of ``spec``."""
    return Owner(id=spec.id, etc=spec.etc, hostname=spec.hostname, domainname=spec.domainname)


def find_owner(
    places: Places, service: Service, launches: Iterable[Launch], containers: dict[str, str]
) -> Owner:
    """The container whose network ``service`` uses; one of another project is added to ``containers``."""
    mode, _, name = service.network_mode.partition(":")
    if mode not in ("service", "container"):
        return Owner()
    for launch in launches:
        if launch.spec.id == containers.get(name):
            return owner_of(launch.spec)
    found = _elsewhere(places, name) if mode == "container" else None
    if found:
        containers[name] = found.id
    return found or Owner()


def _elsewhere(places: Places, name: str) -> Owner | None:
    """A running container of any project by its name or id, for ``container:NAME``."""
    with contextlib.suppress(FileNotFoundError):
        for entry in sorted(os.scandir(places.data / "projects"), key=lambda e: e.name):
            found = state.containers(places.project_run(entry.name), places.project_data(entry.name))
            for spec, now in found:
                named = name == spec.name or (len(name) >= 12 and spec.id.startswith(name))
                if named and now.status in ("running", "paused"):
                    return owner_of(spec)
    return None


class Held:
    """Namespaces that guests live in, kept open by descriptors of this process."""

    def __init__(self) -> None:
        self._open: dict[str, int] = {}

    def hold(self, owner: str, namespace: Path) -> None:
        """Keep the namespace of ``owner``, found at one of its members."""
        if owner not in self._open:
            with contextlib.suppress(OSError):
                self._open[owner] = os.open(namespace, os.O_RDONLY | os.O_CLOEXEC)

    def path(self, owner: str) -> str:
        """Where other processes find the namespace, "" when it is not kept."""
        return f"/proc/{os.getpid()}/fd/{self._open[owner]}" if owner in self._open else ""

    def into(self, spec: ContainerSpec) -> ContainerSpec:
        """``spec`` with its kept namespace instead of a new one, or its owner's."""
        mode = spec.namespaces.network
        path = self.path(mode.removeprefix("container:") if mode.startswith("container:") else spec.id)
        if not path:
            return spec
        return dataclasses.replace(
            spec, namespaces=dataclasses.replace(spec.namespaces, network=f"path:{path}")
        )

    def drop(self, owner: str) -> None:
        """Let the namespace end with its last member."""
        if (handle := self._open.pop(owner, -1)) >= 0:
            os.close(handle)

    def close(self) -> None:
        for owner in list(self._open):
            self.drop(owner)
