"""Notice what others did to our networks, and mend it: rules, bridges, links, switches.

Comes in:  events of the kernel; the records of networks and endpoints.
Goes out:  what was lost, made anew with the same addresses; sentences about what cannot be mended.
Not here:  making a network (networks), protecting the host (safety).

Events only wake: what happened is found out by looking, so that no message has to be understood (ADR 122).
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path

from netns import ipam
from netns.errors import NetworkFailure
from netns.leases import Lease, Leases
from netns.links import Links, forwarding_is_off, furnish
from netns.netlink import NETFILTER, ROUTE, Events
from netns.network import foreign
from netns.network.publishing import Publishing
from netns.network.safety import Safety
from netns.nftables import ruleset
from netns.nftables.apply import Firewall
from netns.spec import Network, NetworkSpec

# RTNLGRP_LINK, _IPV4_ROUTE, _IPV6_ROUTE, _IPV4_NETCONF, _IPV6_NETCONF; NFNLGRP_NFTABLES
_ROUTE_GROUPS, _NETFILTER_GROUPS = (1, 7, 11, 24, 25), (7,)
_LINK_GONE, _SWITCHED, _ROUTES = 17, 80, {24, 25}  # RTM_DELLINK, RTM_NEWNETCONF, RTM_NEWROUTE, RTM_DELROUTE
_RULES = {10 << 8 | kind for kind in (0, 2, 3, 5, 8)}  # tables and chains that come and go, rules that go
_WAKING = {-1, _LINK_GONE, _SWITCHED, *_ROUTES, *_RULES}
FRESH = 0.1  # seconds in which a network that was whole is not looked at again
SETTLE = 0.15  # seconds in which events gather


class Watch:
    """Calls ``changed`` a moment after somebody changed links, routes, switches or rules."""

    def __init__(self, loop: asyncio.AbstractEventLoop, changed: Callable[[], None]) -> None:
        self._loop, self._changed = loop, changed
        self._events = [Events(ROUTE, _ROUTE_GROUPS)]
        try:
            self._events.append(Events(NETFILTER, _NETFILTER_GROUPS))
        except OSError:  # no nf_tables, no rules
            pass
        self._timer: asyncio.TimerHandle | None = None
        for events in self._events:
            loop.add_reader(events.fileno(), self._heard, events)

    def close(self) -> None:
        if self._timer:
            self._timer.cancel()
        for events in self._events:
            self._loop.remove_reader(events.fileno())
            events.close()

    def _heard(self, events: Events) -> None:
        if events.kinds() & _WAKING and self._timer is None:
            self._timer = self._loop.call_later(SETTLE, self._settled)

    def _settled(self) -> None:
        self._timer = None
        self._changed()


class Mender:
    """Looks after the networks that containers of one project are on."""

    def __init__(
        self,
        leases: Leases,
        safety: Safety,
        publishing: Publishing,
        kernel: Callable[[], tuple[Links, Firewall]],
        create: Callable[[NetworkSpec], Network],
    ) -> None:
        self._leases, self._safety, self._publishing = leases, safety, publishing
        self._kernel, self._create = kernel, create
        self._seen: dict[str, float] = {}

    def fresh(self, network: str) -> bool:
        """``network`` was looked at a moment ago (and is noted as looked at now)."""
        now, before = time.monotonic(), self._seen.get(network, 0.0)
        if now - before < FRESH:
            return True
        self._seen[network] = now
        return False

    def mend(self, containers: Mapping[str, Path]) -> list[str]:
        """Bring back what is missing for ``containers`` (id to namespace); sentences about what was done."""
        said = []
        for network, leases in self._used(containers):
            try:
                said += self._network(network, leases, containers)
            except (OSError, NetworkFailure) as error:
                said.append(f"network '{network.spec.name}' is damaged and cannot be mended: {error}")
        return said

    def troubles(self, containers: Collection[str]) -> list[str]:
        """What cuts the networks of ``containers`` off and is somebody else's to change."""
        links, firewall = self._kernel()
        used = [network for network, _ in self._used(containers)]
        if not used:
            return []
        said = []
        routes = [(route, link) for route, link in links.routes() if route.prefixlen < route.max_prefixlen]
        for network in used:
            own = links.index(network.bridge)
            for subnet in ipam.subnets_of(network):
                said += [
                    f"route {route} by {links.name(link)} covers network '{network.spec.name}' ({subnet}): "
                    "this machine and published ports do not reach its containers"
                    for route, link in routes
                    if link not in (0, own) and ipam.covers(route, subnet)
                ]
        closed = {
            table for network in used for table in foreign.enter(firewall, self._safety.tag, network.bridge)
        }
        return said + [closed_by(table) for table in sorted(closed)]

    def _used(self, containers: Collection[str]) -> Iterable[tuple[Network, list[Lease]]]:
        for network in self._leases.networks():
            mine = [
                lease
                for lease in self._leases.of_network(network.spec.name)
                if lease.endpoint.spec.container in containers
            ]
            if mine and not network.direct:
                yield network, mine

    def _network(self, network: Network, leases: list[Lease], containers: Mapping[str, Path]) -> list[str]:
        links, _ = self._kernel()
        said = []
        if missing := self.missing(network):
            self._create(network.spec)
            said.append(f"network '{network.spec.name}': {missing} was gone and is back")
        bridge = links.index(network.bridge)
        for lease in leases:
            index, port = links.index(lease.link), bool(lease.ports)
            if not index:
                self._plug(lease, containers[lease.endpoint.spec.container])
                said.append(
                    f"network '{network.spec.name}': the link of container "
                    f"'{lease.endpoint.spec.container_name}' was gone and is back"
                )
            elif links.master(index) != bridge:
                links.enslave(network, lease.link, hairpin=port)
            self._reserve(network, lease)
        return said

    def missing(self, network: Network) -> str:
        """What of a network is not there any more."""
        links, firewall = self._kernel()
        if network.direct:
            return ""
        if not links.index(network.bridge):
            return f"bridge '{network.bridge}'"
        if not firewall.has(ruleset.table_name(network)):
            return "its firewall table"
        if not self._safety.complete(firewall):
            return "a firewall table"
        if not network.spec.internal and forwarding_is_off(ipv6=bool(network.subnet6)):
            return "forwarding"
        return ""

    def _plug(self, lease: Lease, netns: Path) -> None:
        """Make the link of an endpoint anew, with its addresses and routes."""
        links, _ = self._kernel()
        container = lease.endpoint.spec.container
        found = [
            (self._leases.network(one.endpoint.spec.network), one)
            for one in self._leases.of_container(container)
        ]
        plugged = [(network, one.endpoint) for network, one in found if network]
        gateway = ipam.default_endpoint([pair for pair in plugged if pair[0].gateway4])
        six = ipam.default_endpoint([pair for pair in plugged if pair[0].gateway6])
        network = next(
            n for n, one in found if n and one.endpoint.spec.network == lease.endpoint.spec.network
        )
        descriptor = os.open(netns, os.O_RDONLY | os.O_CLOEXEC)
        try:
            links.plug(
                network, lease.endpoint, lease.link, descriptor, hairpin=any(one.ports for _, one in found)
            )
        finally:
            os.close(descriptor)
        furnish(netns, plugged, gateway[0].gateway4 if gateway else "", six[0].gateway6 if six else "")

    def _reserve(self, network: Network, lease: Lease) -> None:
        """Hold ports again that could not be had when the container was taken over."""
        spec = lease.endpoint.spec
        reservations = self._publishing.reservations
        if not lease.ports or reservations.of(spec.container):
            return
        try:
            reservations.reserve(spec.container, lease.ports, project=lease.project, name=spec.container_name)
        except NetworkFailure:
            return
        self._publishing.publish(network, lease.endpoint, lease.ports)


def closed_by(table: str) -> str:
    """The sentence about a firewall that drops what containers send."""
    return (
        f"table '{table}' of another firewall drops forwarded packets by policy: "
        "allow the bridges pc-* there if containers cannot reach the network"
    )
