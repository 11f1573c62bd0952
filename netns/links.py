"""Make bridges and veth pairs, set up the inside of a namespace, read routes.

Comes in:  Network and Endpoint values, the path of a namespace.
Goes out:  kernel state; OSError when the kernel refuses.
Not here:  choosing addresses (ipam), remembering them (leases), firewall rules (nftables).
Source: rtnetlink(7), include/uapi/linux/if_link.h, include/uapi/linux/rtnetlink.h.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator, Sequence
from ipaddress import ip_address, ip_interface, ip_network
from pathlib import Path
from socket import if_indextoname, if_nametoindex

from netns.ipam import Subnet
from netns.netlink import ROUTE, Flag, Message, Socket, attr, attributes, inside, nest, text, u32
from netns.spec import Endpoint, Network

_NEWLINK, _DELLINK, _GETLINK, _NEWADDR, _NEWROUTE, _GETROUTE = 16, 17, 18, 20, 24, 26
_UP = 1
_ADDRESS, _IFNAME, _MTU, _MASTER, _LINKINFO, _NETNS_FD = 1, 3, 4, 10, 18, 28
_PROTINFO, _AF_SPEC, _GROUP = 12, 26, 27
_PORT_HAIRPIN, _PORT_ISOLATED = 4, 33
_NODAD = 0x02
_INET, _INET6, _BRIDGE = 2, 10, 7
_TABLE_MAIN, _BOOT, _UNIVERSE, _UNICAST = 254, 3, 0, 1
_SYSCTL = Path("/proc/sys/net")


def _link(*parts: bytes, index: int = 0, up: bool = False, family: int = 0) -> bytes:
    flags = _UP if up else 0
    return struct.pack("=BxHiII", family, 0, index, flags, flags) + b"".join(parts)


def _mac(value: str) -> bytes:
    return attr(_ADDRESS, bytes.fromhex(value.replace(":", "")))


def _new_address(index: int, interface: str) -> Message:
    """``ip address replace`` of a CIDR text; IPv6 without duplicate address detection."""
    value = ip_interface(interface)
    four = value.version == 4
    flags = 0 if four else _NODAD
    head = struct.pack("=BBBBI", _INET if four else _INET6, value.network.prefixlen, flags, 0, index)
    packed = value.ip.packed
    body = head + attr(1, packed) + attr(2, packed)  # IFA_ADDRESS, IFA_LOCAL
    if four:
        body += attr(4, value.network.broadcast_address.packed)  # IFA_BROADCAST
    return Message(_NEWADDR, body, Flag.CREATE | Flag.REPLACE, f"add address {interface}")


def _default_route(index: int, gateway: str) -> Message:
    address = ip_address(gateway)
    family = _INET if address.version == 4 else _INET6
    head = struct.pack("=BBBBBBBBI", family, 0, 0, 0, _TABLE_MAIN, _BOOT, _UNIVERSE, _UNICAST, 0)
    body = head + attr(5, address.packed) + u32(4, index)  # RTA_GATEWAY, RTA_OIF
    return Message(_NEWROUTE, body, Flag.CREATE | Flag.REPLACE, f"default route via {gateway}")


class Links:
    """One rtnetlink socket in the host's namespace (that of the thread that made it)."""

    def __init__(self) -> None:
        self._socket = Socket(ROUTE)

    def close(self) -> None:
        self._socket.close()

    def index(self, name: str) -> int:
        """The number of a link, 0 when there is none."""
        try:
            return if_nametoindex(name)
        except OSError:
            return 0

    def mtu(self, index: int) -> int:
        body = self._socket.get(Message(_GETLINK, _link(index=index), about=f"find link {index}"))
        return struct.unpack("=I", attributes(body[16:])[_MTU])[0] if body else 1500

    def delete(self, index: int) -> None:
        """Delete a link by number; nothing happens when it is gone. A bridge takes 30-60 ms (RCU)."""
        try:
            self._socket.request([Message(_DELLINK, _link(index=index), about=f"delete link {index}")])
        except OSError as error:
            if error.errno != 19:  # ENODEV
                raise

    def group_has(self, group: int, *, but: int = 0) -> bool:
        """Some link, ``but`` one, is a member of ``group``."""
        found = self._socket.dump(Message(_GETLINK, _link(), about="list links"))
        others = (body for body in found if struct.unpack_from("=i", body, 4)[0] != but)
        return any(attributes(body[16:]).get(_GROUP) == struct.pack("=I", group) for body in others)

    def make_bridge(self, network: Network, group: int) -> None:
        """Create the bridge with its addresses, up; what is already there is brought in line."""
        name = network.bridge
        if not self.index(name):
            create = _link(text(_IFNAME, name), u32(_MTU, network.mtu), nest(_LINKINFO, text(1, "bridge")))
            self._socket.request([Message(_NEWLINK, create, Flag.CREATE | Flag.EXCL, f"add bridge {name}")])
        # a container is no router of the host; the link-local address serves at once, without a probe
        for switch in ("accept_ra", "accept_redirects", "autoconf", "accept_dad"):
            _write(f"ipv6/conf/{name}/{switch}", "0")
        _write(f"ipv4/conf/{name}/accept_redirects", "0")
        _write(f"ipv6/conf/{name}/disable_ipv6", "0" if network.subnet6 else "1")
        index = self.index(name)
        messages = [_new_address(index, text) for text in _cidrs(network)]
        parts = (u32(_MTU, network.mtu), u32(_GROUP, group))
        up = Message(_NEWLINK, _link(*parts, index=index, up=True), about=f"set {name} up")
        self._socket.request([*messages, up])
        _write(f"ipv4/conf/{name}/route_localnet", "1")

    def master(self, index: int) -> int:
        """The number of the bridge that a link is a port of, 0 for none."""
        body = self._socket.get(Message(_GETLINK, _link(index=index), about=f"find link {index}"))
        return struct.unpack("=I", attributes(body[16:]).get(_MASTER, bytes(4)))[0] if body else 0

    def enslave(self, network: Network, link: str, *, hairpin: bool) -> None:
        """Make an existing link a port of the bridge again, as ``plug`` does."""
        master = u32(_MASTER, self.index(network.bridge))
        parts = _link(master, index=self.index(link), up=True)
        messages = [Message(_NEWLINK, parts, about=f"plug {link} into {network.bridge}")]
        self._socket.request(messages + _port_options(network, link, hairpin=hairpin))

    def name(self, index: int) -> str:
        """The name of a link by its number; "" when it is gone."""
        try:
            return if_indextoname(index)
        except OSError:
            return ""

    def plug(self, network: Network, endpoint: Endpoint, link: str, netns: int, *, hairpin: bool) -> None:
        """Create a veth pair: ``link`` on the bridge, up; the other end in the namespace. One round trip."""
        peer = _link(
            text(_IFNAME, endpoint.interface),
            u32(_MTU, network.mtu),
            _mac(endpoint.mac),
            u32(_NETNS_FD, netns),
        )
        info = nest(_LINKINFO, text(1, "veth"), nest(2, attr(1 | 0x8000, peer)))
        parts = (text(_IFNAME, link), u32(_MTU, network.mtu), u32(_MASTER, self.index(network.bridge)), info)
        about = f"plug {endpoint.interface} into {network.bridge}"
        messages = [Message(_NEWLINK, _link(*parts, up=True), Flag.CREATE | Flag.EXCL, about)]
        messages += _port_options(network, link, hairpin=hairpin)
        self._socket.request(messages)

    def routes(self) -> Iterator[tuple[Subnet, int]]:
        """Destinations of every routing table with the number of their link (0 when they have none)."""
        for family, size in ((_INET, 4), (_INET6, 16)):
            head = struct.pack("=BBBBBBBBI", family, 0, 0, 0, 0, 0, 0, 0, 0)
            for body in self._socket.dump(Message(_GETROUTE, head, about="list routes")):
                prefix, parts = body[1], attributes(body[12:])
                link = struct.unpack("=I", parts[4])[0] if 4 in parts else 0
                yield ip_network((parts.get(1, bytes(size)), prefix)), link

    def default_mtu(self, routes: Sequence[tuple[Subnet, int]]) -> int:
        """Smallest MTU of the devices that carry a default route (a VPN has one too); 1500 without any."""
        devices = {link for subnet, link in routes if subnet.prefixlen == 0 and subnet.version == 4 and link}
        return min(map(self.mtu, devices), default=1500)


def _port_options(network: Network, link: str, *, hairpin: bool) -> list[Message]:
    options = attr(_PORT_HAIRPIN, b"\1") if hairpin else b""
    if not network.spec.icc:
        options += attr(_PORT_ISOLATED, b"\1")
    if not options:
        return []
    port = _link(text(_IFNAME, link), attr(_LINKINFO | 0x8000, text(4, "bridge") + nest(5, options)))
    return [Message(_NEWLINK, port, about=f"set bridge port {link}")]


def furnish(netns: Path, plugged: Sequence[tuple[Network, Endpoint]], gateway4: str, gateway6: str) -> None:
    """Set up the inside of a namespace: loopback, addresses, links up, default routes; two round trips.

    plugged: the endpoints whose links are in the namespace. gateway4, gateway6: "" for no route.
    """
    with inside(netns), Socket(ROUTE) as socket:
        lo = Message(_NEWLINK, _link(text(_IFNAME, "lo"), up=True), about="set lo up")
        messages, routes = [lo], []
        for network, endpoint in plugged:
            index = if_nametoindex(endpoint.interface)  # an ioctl, which does not wait for the kernel's RTNL
            for switch in ("addr_gen_mode", "accept_dad") if endpoint.ipv6 else ():
                _write(f"ipv6/conf/{endpoint.interface}/{switch}", "0")  # guard knows fe80::... by the MAC
            _write(f"ipv6/conf/{endpoint.interface}/disable_ipv6", "0" if endpoint.ipv6 else "1")
            for name, _, value in (text.partition("=") for text in endpoint.spec.sysctls):
                path = name.removeprefix("net.").replace(".", "/")
                _write(path.replace("IFNAME", endpoint.interface), value)
            messages += [_new_address(index, text) for text in _own_cidrs(network, endpoint)]
            messages.append(Message(_NEWLINK, _link(index=index, up=True), about="set link up"))
            if gateway4 and network.gateway4 == gateway4:
                routes.append(_default_route(index, gateway4.split("/")[0]))
            if gateway6 and network.gateway6 == gateway6:
                routes.append(_default_route(index, gateway6.split("/")[0]))
        socket.request(messages + routes)


def _cidrs(network: Network) -> Iterator[str]:
    for gateway, subnet in ((network.gateway4, network.subnet4), (network.gateway6, network.subnet6)):
        if gateway and subnet:
            yield f"{gateway}/{subnet.split('/')[1]}"


def _own_cidrs(network: Network, endpoint: Endpoint) -> Iterator[str]:
    for address, subnet in ((endpoint.ipv4, network.subnet4), (endpoint.ipv6, network.subnet6)):
        if address and subnet:
            yield f"{address}/{subnet.split('/')[1]}"
    for address in endpoint.spec.link_local:
        yield address if "/" in address else f"{address}/{16 if '.' in address else 64}"


def loopback_up(netns: Path) -> None:
    """Set ``lo`` of a namespace up."""
    with inside(netns), Socket(ROUTE) as socket:
        socket.request([Message(_NEWLINK, _link(text(_IFNAME, "lo"), up=True), about="set lo up")])


SWITCHES = {_INET: "ipv4/ip_forward", _INET6: "ipv6/conf/all/forwarding"}  # by address family


def forwarding_is_off(*, ipv6: bool) -> list[int]:
    """The families whose packets the host does not pass on yet."""
    return [f for f, name in SWITCHES.items() if (f == _INET or ipv6) and _read(name) == "0"]


def advised() -> list[str]:
    """The host's links that obey router advertisements; a forwarding host does so only when told (2)."""
    names = (entry.name for entry in (_SYSCTL / "ipv6/conf").iterdir())
    return [
        n for n in names if n not in ("all", "default", "lo") and _read(f"ipv6/conf/{n}/accept_ra") == "1"
    ]


def switch_forwarding(families: Sequence[int], advised: Sequence[str], *, on: bool) -> None:
    """Pass packets on, or stop it; links of the host that obeyed advertisements go on to do so."""
    for name in advised if _INET6 in families else ():
        _write(f"ipv6/conf/{name}/accept_ra", "2" if on else "1")
    for family in families:
        _write(SWITCHES[family], "1" if on else "0")


def _read(name: str) -> str:
    try:
        return (_SYSCTL / name).read_text().strip()
    except FileNotFoundError:
        return ""


def _write(name: str, value: str) -> None:
    """Write a sysctl of the calling thread's namespace; a kernel without IPv6 has none of its files."""
    if _read(name) in ("", value):
        return
    descriptor = os.open(_SYSCTL / name, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(descriptor, value.encode())
    finally:
        os.close(descriptor)
