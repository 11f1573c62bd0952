"""The words in which a network is asked for and answered: plain frozen values, JSON-able.

Comes in:  nothing.
Goes out:  NetworkSpec, EndpointSpec, PortSpec (asked); Network, Endpoint (answered).
Not here:  any decision (ipam, naming) or effect (links, ports, dns).
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from schemas.frozen import dataclass, field

NOTHING: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True, slots=True, kw_only=True)
class Pool:
    """One entry of ``ipam.config``: CIDR texts, "" where the file says nothing.

    subnet:    network in CIDR form.
    ip_range:  part of ``subnet`` that automatic addresses come from.
    gateway:   the bridge's own address; "" means the first host address.
    reserved:  ``aux_addresses``, never handed out.
    """

    subnet: str = ""
    ip_range: str = ""
    gateway: str = ""
    reserved: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkSpec:
    """One bridge network.

    name:     unique on this machine, such as ``shop_default``.
    project:  who creates it; "" when it belongs to none.
    bridge:   the link's name if the file fixes one, else "" (derived from ``name``).
    internal: no way out of the bridge and none in.
    mtu:      bytes; None means that of the host's default route.
    icc:      endpoints may talk to each other.
    driver:   "bridge", or "macvlan" and "ipvlan" on the link ``parent`` of the host, in ``mode``.
    """

    name: str
    project: str = ""
    bridge: str = ""
    pools: tuple[Pool, ...] = ()
    internal: bool = False
    ipv4: bool = True
    ipv6: bool = False
    mtu: int | None = None
    icc: bool = True
    masquerade: bool = True
    driver: str = "bridge"
    parent: str = ""
    mode: str = ""
    labels: Mapping[str, str] = field(default_factory=lambda: NOTHING)


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointSpec:
    """One container on one network.

    names:     service name, aliases, container name, short id: what DNS answers for on this network.
    interface: wanted name inside the container, "" means ``<prefix><n>`` by order of attachment.
    sysctls:   "net.ipv4.conf.IFNAME.log_martians=1" texts, set for its link inside.
    priority:  higher is attached first; gw_priority: the highest holds the default route.
    """

    network: str
    container: str
    container_name: str = ""
    names: tuple[str, ...] = ()
    ipv4: str = ""
    ipv6: str = ""
    link_local: tuple[str, ...] = ()
    mac: str = ""
    interface: str = ""
    prefix: str = "eth"
    sysctls: tuple[str, ...] = ()
    priority: int = 0
    gw_priority: int = 0
    routes: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class PortSpec:
    """One published port. ``published`` 0 asks for a free one; ``host_ip`` "" means all addresses.

    carried: by a process instead of the kernel, so that the host's INPUT rules count.
    """

    target: int
    published: int = 0
    last_published: int = 0  # end of a host range to choose from, 0 when there is none
    protocol: str = "tcp"
    host_ip: str = ""
    carried: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """A network as it exists: its link and its addresses in CIDR form ("" when the family is off)."""

    spec: NetworkSpec
    bridge: str
    subnet4: str = ""
    gateway4: str = ""
    subnet6: str = ""
    gateway6: str = ""
    mtu: int = 1500

    @property
    def direct(self) -> bool:
        """Containers have links on a link of the host; there is no bridge, no rule and no published port."""
        return self.spec.driver != "bridge"


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """An endpoint as it exists: plain addresses without prefix length."""

    spec: EndpointSpec
    ipv4: str = ""
    ipv6: str = ""
    mac: str = ""
    interface: str = ""
