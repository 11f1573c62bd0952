"""Plug a container into its networks and take it out again: links, names, ports, /etc files.

Comes in:  a Launch, the path of a network namespace whose pid 1 waits at the gate.
Goes out:  effects by ``netns``; the files that are bound into the container's /etc.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from compose.engine.events import Emit, notice
from compose.plan.launch import Launch
from netns.dns.server import Server
from netns.naming import hosts_file, resolv_conf
from netns.network import Connection, Networks
from netns.spec import Endpoint


class Attachments:
    """The network side of one project's containers."""

    def __init__(self, run: Path, emit: Emit, loop: asyncio.AbstractEventLoop) -> None:
        self.networks = Networks(run)
        self.server = Server(loop, self.networks)
        self.emit = emit
        self._told = 0
        self._namespaces: dict[str, tuple[str, ...]] = {}

    def plug(self, launch: Launch, namespace: Path, record: Path) -> list[dict[str, Any]]:
        """Connect, publish ports, write /etc files, answer names. Gives the published ports for ``ps``.

        All or nothing. Raises NetworkFailure: PortBusy, AddressTaken, AddressesExhausted.
        """
        spec = launch.spec
        endpoints: tuple[Endpoint, ...] = ()
        ports: list[dict[str, Any]] = []
        if launch.endpoints:
            connection = self.networks.connect(namespace, launch.endpoints, launch.ports)
            endpoints = connection.endpoints
            ports = published(connection)
            self.tell()
            self.server.attach(
                spec.id, namespace, [e.spec.network for e in endpoints], dns=launch.dns
            )
        if spec.etc:
            self._write_etc(launch, endpoints, record / "etc")
        return ports

    def unplug(self, launch: Launch) -> None:
        """Free addresses and ports; the links go with the namespace. Idempotent."""
        self.server.detach(launch.spec.id)
        if launch.endpoints:
            self.networks.disconnect(launch.spec.id)

    def tell(self) -> None:
        """Pass on what ``netns`` changed on the host, once."""
        for text in self.networks.notices[self._told :]:
            self.emit(notice(text))
        self._told = len(self.networks.notices)

    def _write_etc(self, launch: Launch, endpoints: Sequence[Endpoint], directory: Path) -> None:
        """Fill the files in place: they are bound into the container already."""
        directory.mkdir(parents=True, exist_ok=True)
        spec = launch.spec
        (directory / "hosts").write_text(hosts_file(spec.hostname, spec.domainname, endpoints, self._extra(launch, endpoints)))
        (directory / "hostname").write_text(f"{spec.hostname}\n")
        (directory / "resolv.conf").write_text(
            resolv_conf(embedded=bool(endpoints), dns=launch.dns, search=launch.dns_search, options=launch.dns_opt)
        )

    def _extra(self, launch: Launch, endpoints: Sequence[Endpoint]) -> list[tuple[str, str]]:
        pairs = []
        for text in launch.hosts:
            name, _, address = text.partition("=")
            if address == "host-gateway":
                address = self._gateway(endpoints)
            pairs.append((address, name))
        return pairs

    def _gateway(self, endpoints: Sequence[Endpoint]) -> str:
        for endpoint in endpoints:
            network = self.networks.find(endpoint.spec.network)
            if network is not None and network.gateway4:
                return network.gateway4.partition("/")[0]
        return "127.0.0.1"


def published(connection: Connection) -> list[dict[str, Any]]:
    """Published ports in the form of ``engine.json``."""
    return [
        {
            "host_ip": port.spec.host_ip, "published": port.spec.published,
            "target": port.spec.target, "protocol": port.spec.protocol,
        }
        for port in connection.ports
    ]  # fmt: skip
