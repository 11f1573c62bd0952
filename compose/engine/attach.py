"""Plug a container into its networks and take it out again: links, names, ports, /etc files.

Comes in:  a Launch, the path of a network namespace whose pid 1 waits at the gate.
Goes out:  effects by ``netns``; the files that are bound into the container's /etc.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from compose.engine.events import Emit, notice, warning
from compose.engine.faults import Faults
from compose.engine.sharing import Held, owner_id
from compose.plan.launch import Launch
from netns import naming
from netns.dns.server import Server
from netns.network import RESOLV_CONF, Networks, Watch
from netns.spec import Endpoint, PortSpec
from runtime.state import write_json

HOSTS = Path("/etc/hosts")


class Attachments:
    """The network side of one project's containers."""

    def __init__(self, run: Path, project: str, emit: Emit, loop: asyncio.AbstractEventLoop) -> None:
        self.networks = Networks(run, project)
        self.server = Server(loop, self.networks)
        self.server.on_failure = self._note_failures
        self._noting: asyncio.TimerHandle | None = None
        self.emit = emit
        self._told = 0
        self.held = Held()
        self.guests: Callable[[str], bool] = lambda id: False
        self._loop = loop
        self._record = run / project / "troubles.json"
        self._plugged: dict[str, Path] = {}  # namespaces by container id
        self._watch: Watch | None = None
        self._troubles: list[str] = []
        self.faults = Faults(project, self.networks, lambda: list(self._plugged))

    def reserve(self, launch: Launch) -> None:
        """Hold the published ports before anything starts. Raises PortBusy naming the holder."""
        if launch.ports:
            self.networks.reserve(launch.spec.id, launch.ports, name=launch.spec.name)

    def plug(self, launch: Launch, namespace: Path) -> list[dict[str, Any]]:
        """Connect, publish ports, write /etc files, answer names. Gives the published ports for ``ps``.

        All or nothing. Raises NetworkFailure: PortBusy, AddressTaken, AddressesExhausted.
        """
        endpoints: tuple[Endpoint, ...] = ()
        ports: tuple[PortSpec, ...] = ()
        if owner := owner_id(launch):
            self.held.hold(owner, namespace)
            return []
        if launch.endpoints and self.held.path(
            launch.spec.id
        ):  # guests kept its namespace, plugged as it was
            self._plugged[launch.spec.id] = namespace
            return published(self.networks.published(launch.spec.id))
        if launch.endpoints:
            connection = self.networks.connect(namespace, launch.endpoints, launch.ports)
            endpoints, ports = connection.endpoints, connection.ports
            self.tell()
            self._look_after(launch.spec.id, namespace)
            self._answer_names(launch, namespace, endpoints)
        if launch.spec.etc:
            self._write_etc(launch, endpoints)
        return published(ports)

    def sockets(self, launch: Launch) -> tuple[int, ...]:
        """Descriptors of its name server; kept by another process, no question is lost in a takeover."""
        return self.server.sockets(launch.spec.id)

    def adopt(self, launch: Launch, namespace: Path, held: Sequence[int]) -> None:
        """Take over a running container: its ports are held again, its names answered again.

        held: what ``sockets`` gave to the supervisor before us; ours from now on.
        """
        connection = self.networks.adopt(launch.spec.id) if launch.endpoints else None
        self.tell()
        if connection is not None:
            self._look_after(launch.spec.id, namespace)
            self._answer_names(launch, namespace, connection.endpoints, held)
        else:
            for number in held:
                os.close(number)

    def left(self, launch: Launch) -> None:
        """Take over a container that does not run: its endpoints serve its guests, or are freed."""
        if path := self.held.path(launch.spec.id):
            self.adopt(launch, Path(path), ())
        else:
            self.unplug(launch)

    def unplug(self, launch: Launch, *, for_good: bool = False) -> None:
        """Free addresses and ports; the links go with the namespace. Idempotent.

        for_good: its former addresses are not kept for a next start either. Nothing happens while others
        live in its network namespace.
        """
        if not for_good and self.held.path(launch.spec.id) and self.guests(launch.spec.id):
            self._plugged[launch.spec.id] = Path(self.held.path(launch.spec.id))
            return
        self.held.drop(launch.spec.id)
        self.server.detach(launch.spec.id)
        self._plugged.pop(launch.spec.id, None)
        if for_good:
            self.networks.forget(launch.spec.id)
        elif launch.endpoints:
            self.networks.disconnect(launch.spec.id)

    def tell(self) -> None:
        """Pass on what ``netns`` changed on the host, once."""
        for text in self.networks.notices[self._told :]:
            self.emit(notice(text))
        self._told = len(self.networks.notices)

    def look(self) -> None:
        """Mend what others took away, and tell what cuts containers off; ``ps`` reads it from a file."""
        for text in self.networks.mender.mend(self._plugged):
            self.emit(warning(text))
        troubles = self.networks.mender.troubles(self._plugged)
        for text in troubles:
            self.emit(warning(text))
        if troubles != self._troubles:
            self._troubles = troubles
            with suppress(OSError):  # a full disk; the project is about to go
                write_json(self._record, {"troubles": troubles})

    def _note_failures(self) -> None:
        """Names that nobody knew go to a file for ``pycompose dns``, at most once a second."""
        if self._noting is None:
            self._noting = self._loop.call_later(1.0, self._write_failures)

    def _write_failures(self) -> None:
        self._noting = None
        rows = [{"container": c, "name": n, "at": at} for (c, n), at in self.server.failed.items()]
        with suppress(OSError):
            write_json(self._record.with_name("lookups.json"), {"failed": rows})

    def _look_after(self, container: str, namespace: Path) -> None:
        self._plugged[container] = namespace
        if self._watch is None:
            self._watch = Watch(self._loop, self.look)
        self.faults.follow()

    def close(self) -> None:
        """Let go of sockets; what is connected stays connected."""
        if self._watch is not None:
            self._watch.close()
        self.held.close()
        self.faults.close()
        if self._noting is not None:
            self._noting.cancel()
        self.server.close()
        self.networks.close()

    def _answer_names(
        self, launch: Launch, namespace: Path, endpoints: Sequence[Endpoint], held: Sequence[int] = ()
    ) -> None:
        names = [endpoint.spec.network for endpoint in endpoints]
        self.server.attach(launch.spec.id, namespace, names, dns=launch.dns, links=launch.links, held=held)

    def _write_etc(self, launch: Launch, endpoints: Sequence[Endpoint]) -> None:
        """Fill the files in place: they are bound into the container already."""
        spec, directory = launch.spec, Path(launch.spec.etc)
        host = RESOLV_CONF.read_text() if RESOLV_CONF.exists() else ""
        addresses = [a for endpoint in endpoints for a in (endpoint.ipv4, endpoint.ipv6)]
        extra = [(name, address) for name, _, address in (text.partition("=") for text in launch.hosts)]
        gateway = self._gateway(endpoints)
        shared = spec.namespaces.network == "host"
        hosts = naming.hosts_file(
            ["127.0.1.1"] if shared and spec.hostname != socket.gethostname() else addresses,
            spec.hostname,
            domainname=spec.domainname,
            extra=extra,
            gateway="127.0.0.1" if shared else gateway,
            host=HOSTS.read_text() if shared and HOSTS.exists() else "",
        )
        search, options = launch.dns_search, launch.dns_opt
        if endpoints:
            resolv = naming.resolv_conf(host, search=search, options=options)
        else:
            resolv = naming.direct_resolv_conf(host, launch.dns, search=search, options=options)
        for name, text in (("hosts", hosts), ("hostname", f"{spec.hostname}\n"), ("resolv.conf", resolv)):
            (directory / name).write_text(text)

    def _gateway(self, endpoints: Sequence[Endpoint]) -> str:
        for endpoint in endpoints:
            network = self.networks.find(endpoint.spec.network)
            if network is not None and network.gateway4:
                return network.gateway4
        return ""


def published(ports: Sequence[PortSpec]) -> list[dict[str, Any]]:
    """Published ports in the form of ``engine.json``."""
    return [
        {
            "host_ip": port.host_ip,
            "published": port.published,
            "target": port.target,
            "protocol": port.protocol,
        }
        for port in ports
    ]
