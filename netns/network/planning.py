"""Choose link name, subnets, gateways and MTU of a new network.

Comes in:  a NetworkSpec; the networks, routes and resolvers of this machine.
Goes out:  a Network, of which nothing exists yet; AddressTaken, NetworkFailure for what cannot be.
Not here:  the choice of one subnet (netns.ipam), making it (networks).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from netns import ipam, naming
from netns.errors import NetworkFailure
from netns.links import Links
from netns.network.words import host_resolv_conf, of
from netns.spec import Network, NetworkSpec


def plan(run: Path, links: Links, others: Sequence[Network], spec: NetworkSpec) -> Network:
    """What ``spec`` comes to on this machine. others: the networks there are."""
    bridge = _link_name(run, spec)
    own = links.index(bridge)
    routes = list(links.routes())
    named = [(s, f"network '{n.spec.name}'{of(n)}") for n in others for s in ipam.subnets_of(n)]
    hosts = [(s, f"a route of the host by {links.name(n) or '?'}") for s, n in routes if not own or n != own]
    if spec.driver != "bridge":  # its subnet is that of its parent
        hosts = []
    servers = [ipam.parse_subnet(s.split("%")[0]) for s in naming.nameservers(host_resolv_conf())]
    taken = [subnet for subnet, _ in named + hosts] + servers
    four = six = gateway4 = gateway6 = ""
    if spec.ipv4:
        pool = ipam.pool_of(spec, 4)
        subnet = ipam.wanted_subnet(pool, named, hosts) if pool else ipam.choose_subnet(spec.name, taken)
        four, gateway4 = str(subnet), str(ipam.gateway_of(subnet, pool))
    if spec.ipv6:
        pool = ipam.pool_of(spec, 6)
        subnet = ipam.wanted_subnet(pool, named, hosts) if pool else ipam.choose_subnet6(spec.name, taken)
        six, gateway6 = str(subnet), str(ipam.gateway_of(subnet, pool))
    parent = parent_of(links, spec)
    return Network(
        spec=spec,
        bridge=bridge,
        subnet4=four,
        gateway4=gateway4,
        subnet6=six,
        gateway6=gateway6,
        mtu=spec.mtu or (links.mtu(parent) if parent else links.default_mtu(routes)),
    )


def parent_of(links: Links, spec: NetworkSpec) -> int:
    """The number of the link of the host that containers are put on, 0 for a bridge."""
    if spec.driver == "bridge":
        return 0
    if not (index := links.index(spec.parent)):
        raise NetworkFailure(
            f"network '{spec.name}': this machine has no link '{spec.parent}' to put containers on",
            hint="'ip link' lists the links; a VLAN's link has to be made before",
        )
    return index


def _link_name(run: Path, spec: NetworkSpec) -> str:
    if spec.driver != "bridge":
        return ""
    return naming.check_link_name(spec.bridge or naming.bridge_name(str(run.absolute()), spec.name))
