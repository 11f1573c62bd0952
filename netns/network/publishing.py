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
from netns.ports.forward import Forwards
from netns.ports.reserve import Reservations
from netns.spec import Endpoint, Network, PortSpec


class Publishing:
    """The published ports of one project's containers."""

    def __init__(self, run: Path, firewall: Callable[[], Firewall]) -> None:
        self.reservations = Reservations(run)
        self._firewall = firewall
        self._forwards: Forwards | None = None
        self._running: dict[str, list[int]] = {}

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
        for number in self._running.pop(container, []):
            if self._forwards:
                self._forwards.remove(number)

    def close(self) -> None:
        """Let go of all sockets."""
        self._running.clear()
        if self._forwards:
            self._forwards.close()
        self.reservations.close()

    def _start_forwards(self, endpoint: Endpoint) -> None:
        """What the kernel does not lead; needs a running loop."""
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            return
        container = endpoint.spec.container
        self.stop(container)
        if self._forwards is None:
            self._forwards = Forwards(loop)
        for held in self.reservations.of(container):
            whole = ruleset.by_kernel(held.port, endpoint)
            running = self._running.setdefault(container, [])
            address = endpoint.ipv4 or endpoint.ipv6
            if held.four is not None and not whole[0]:
                running.append(self._forwards.add(held.four, address, held.port.target))
            if held.six is not None:  # [::1] is never led by the kernel
                running.append(self._forwards.add(held.six, address, held.port.target))


def _all(
    message: Callable[[Network, PortSpec, Endpoint], list[Message]],
    network: Network,
    endpoint: Endpoint,
    ports: Sequence[PortSpec],
) -> list[Message]:
    return [made for port in ports for made in message(network, port, endpoint)]
