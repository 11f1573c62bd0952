"""Publish the ports of connected containers: reserved, led by the kernel, the rest carried by a process.

Comes in:  leases with ports; the open Firewall.
Goes out:  elements of the networks' tables; bound sockets; forwards.
Not here:  which elements (nftables.ruleset), binding (ports.reserve), copying (ports.forward).
"""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Callable, Sequence
from pathlib import Path

from netns.leases import Lease
from netns.netlink import Message
from netns.nftables import ruleset
from netns.nftables.apply import Firewall
from netns.ports.flows import forget_flows
from netns.ports.forward import Forward, forward
from netns.ports.reserve import Reservations
from netns.spec import Endpoint, Network, PortSpec


class Publishing:
    """The published ports of one project's containers."""

    def __init__(self, run: Path, firewall: Callable[[], Firewall]) -> None:
        self.reservations = Reservations(run)
        self._firewall = firewall
        self._forwards: dict[str, list[Forward]] = {}

    def publish(self, network: Network, endpoint: Endpoint, ports: Sequence[PortSpec]) -> None:
        """Lead ``ports``, which are reserved, to ``endpoint``; the forwards need a running loop."""
        self.lead(network, endpoint, ports)
        forget_flows(ports)
        self._start_forwards(endpoint)

    def withdraw(self, network: Network, lease: Lease) -> None:
        """Lead nothing to the endpoint of ``lease`` any more; the ports stay reserved."""
        self.stop(lease.endpoint.spec.container)
        self._firewall().remove(_all(ruleset.remove_port, network, lease.endpoint, lease.ports))
        forget_flows(lease.ports)

    def lead(self, network: Network, endpoint: Endpoint, ports: Sequence[PortSpec]) -> None:
        """Let the kernel lead ``ports`` to an endpoint; one that a dead container left is replaced."""
        firewall, adding = self._firewall(), _all(ruleset.add_port, network, endpoint, ports)
        try:
            firewall.commit(adding)
        except OSError as error:
            if error.errno not in (errno.EEXIST, errno.EBUSY):
                raise
            firewall.remove(_all(ruleset.remove_port, network, endpoint, ports))
            firewall.commit(adding)

    def stop(self, container: str) -> None:
        """End the forwards of ``container``."""
        for running in self._forwards.pop(container, []):
            running.stop()

    def close(self) -> None:
        """Let go of all sockets."""
        for container in list(self._forwards):
            self.stop(container)
        self.reservations.close()

    def _start_forwards(self, endpoint: Endpoint) -> None:
        """IPv6 of the host, and IPv4 towards a container without it; needs a running loop."""
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            return
        container = endpoint.spec.container
        self.stop(container)
        running = self._forwards.setdefault(container, [])
        address = endpoint.ipv4 or endpoint.ipv6
        for held in self.reservations.of(container):
            for used in (held.six, None if endpoint.ipv4 else held.four):
                if used is not None:
                    running.append(forward(loop, used, address, held.port.target))


def _all(
    message: Callable[[Network, PortSpec, Endpoint], list[Message]],
    network: Network,
    endpoint: Endpoint,
    ports: Sequence[PortSpec],
) -> list[Message]:
    return [made for port in ports for made in message(network, port, endpoint)]
