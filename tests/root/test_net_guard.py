"""Nobody gets in or through: host and neighbours against forged frames of a LAN and of containers."""

from __future__ import annotations

import socket
import struct
import subprocess
import time
from contextlib import closing
from ipaddress import ip_address
from pathlib import Path

import pytest

from netns.netlink import inside
from netns.network import Networks
from netns.nftables.apply import Firewall
from netns.nftables.messages import delete_table
from netns.spec import EndpointSpec, NetworkSpec, PortSpec
from tests.root.net_machine import HOST4, Box, Machine, ask, here, in_a_machine, serving

ARP, IP, IP6 = 0x0806, 0x0800, 0x86DD
FORWARD = Path("/proc/sys/net/ipv4/ip_forward")


def frames(box: Box, link: str = "eth0") -> socket.socket:
    """A socket that sends and receives whole frames."""
    with inside(box.netns):
        made = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
        made.bind((link, 0))
    made.settimeout(0.3)
    return made


def checksum(data: bytes) -> bytes:
    total = sum(struct.unpack(f">{(len(data) + 1) // 2}H", data + b"\0" * (len(data) % 2)))
    total = (total >> 16) + (total & 0xFFFF)
    return struct.pack(">H", ~(total + (total >> 16)) & 0xFFFF)


def syn(source: str, target: str, port: int) -> bytes:
    """An IPv4 packet that opens a TCP connection."""
    there, back = ip_address(source).packed, ip_address(target).packed
    tcp = struct.pack(">HHIIBBHHH", 40000, port, 1, 0, 0x50, 2, 8192, 0, 0)
    tcp = tcp[:16] + checksum(there + back + struct.pack(">BBH", 0, 6, 20) + tcp) + tcp[18:]
    head = struct.pack(">BBHHHBBH", 0x45, 0, 40, 7, 0, 64, 6, 0) + there + back
    return head[:10] + checksum(head) + head[12:] + tcp


def answered(wire: socket.socket, mac: bytes, packet: bytes) -> bool:
    """Whether a SYN in a frame for ``mac`` is answered."""
    own = wire.getsockname()[4]
    wire.send(mac + own + struct.pack(">H", IP) + packet)
    end = time.monotonic() + 0.6
    while time.monotonic() < end:
        try:
            frame = wire.recv(2000)
        except TimeoutError:
            continue
        if (
            frame[:6] == own
            and frame[12:14] == b"\x08\0"
            and frame[30:34] == packet[12:16]
            and frame[47] & 0x12
        ):
            return True
    return False


def mac_of(link: str) -> bytes:
    return bytes.fromhex(Path(f"/sys/class/net/{link}/address").read_text().strip().replace(":", ""))


def claim(sender: bytes, address: str, target: bytes, asker: str) -> bytes:
    """An ARP answer in which ``sender`` says that ``address`` is at its MAC."""
    head = struct.pack(">HHBBH", 1, IP, 6, 4, 2)
    return target + sender + struct.pack(">H", ARP) + head + sender + _ip(address) + target + _ip(asker)


def _ip(address: str) -> bytes:
    return ip_address(address).packed


@in_a_machine
def test_a_port_on_loopback_is_out_of_reach_from_the_lan(machine: Machine) -> None:
    machine.networks.create(NetworkSpec(name="n"))
    box = machine.box()
    ports = (PortSpec(target=80, published=8081, host_ip="127.0.0.1"), PortSpec(target=80, published=8082))
    machine.plug(box, "web", "n", ports=ports)
    with serving(box, 80), frames(machine.outside) as wire:
        assert ask(here(), "127.0.0.1", 8081) != "TimeoutError"
        assert answered(wire, mac_of("up0"), syn("192.0.2.1", HOST4, 8082))
        for target, port in (("127.0.0.1", 8081), ("127.0.0.1", 8082), ("127.8.8.8", 8082)):
            assert not answered(wire, mac_of("up0"), syn("192.0.2.1", target, port))


@in_a_machine
def test_loopback_stays_closed_to_containers_while_all_other_rules_are_gone(machine: Machine) -> None:
    network = machine.networks.create(NetworkSpec(name="n"))
    box = machine.box()
    own = machine.plug(box, "web", "n").endpoints[0].ipv4
    with socket.create_server(("127.0.0.1", 9000)), frames(box) as wire:
        packet = syn(own, "127.0.0.1", 9000)
        assert not answered(wire, mac_of(network.bridge), packet)
        with closing(Firewall()) as firewall:
            for table in firewall.tables():
                try:
                    firewall.commit([delete_table(table)])
                except PermissionError:
                    assert "guard" in table or "forward" in table
        assert not answered(wire, mac_of(network.bridge), packet)


@in_a_machine
def test_forwarding_is_for_containers_and_is_restored(machine: Machine) -> None:
    lan = Box(9)
    machine.undo.callback(lan.end)
    machine.outside.run("ip", "route", "add", "198.18.0.0/24", "via", HOST4)
    _second_lan(lan)
    machine.undo.callback(_without_second_lan)
    assert FORWARD.read_text() == "0\n"
    machine.networks.create(NetworkSpec(name="n"))
    machine.plug(machine.box(), "web", "n")
    assert FORWARD.read_text() == "1\n"
    with serving(lan, 80):
        assert ask(here(), "198.18.0.2", 80) == "198.18.0.1"
        assert ask(machine.outside.socket(), "198.18.0.2", 80) == "TimeoutError"
    for container in machine.networks.endpoints("n"):
        machine.networks.forget(container.spec.container)
    machine.networks.remove("n")
    assert FORWARD.read_text() == "0\n"


def _second_lan(lan: Box) -> None:
    script = f"""set -e
    ip link add up1 type veth peer name eth0 netns {lan.pid}
    ip address add 198.18.0.1/24 dev up1; ip link set up1 up
    nsenter --net={lan.netns} sh -ec 'ip address add 198.18.0.2/24 dev eth0
      ip link set eth0 up; ip link set lo up; ip route add default via 198.18.0.1'"""
    subprocess.run(["sh", "-c", script], check=True)


def _without_second_lan() -> None:
    subprocess.run(["ip", "link", "del", "up1"], check=True)


@in_a_machine
def test_forwarding_that_was_on_before_is_not_touched(machine: Machine) -> None:
    FORWARD.write_text("1")
    machine.networks.create(NetworkSpec(name="n"))
    with closing(Firewall()) as firewall:
        assert not any("forward" in table for table in firewall.tables())
    machine.networks.remove("n")
    assert FORWARD.read_text() == "1\n"
    FORWARD.write_text("0")


@in_a_machine
def test_the_host_obeys_no_advertisement_or_redirect_of_a_container(machine: Machine) -> None:
    network = machine.networks.create(NetworkSpec(name="n", ipv6=True))
    six = Path("/proc/sys/net/ipv6/conf")
    assert (six / network.bridge / "accept_ra").read_text() == "0\n"
    assert (six / network.bridge / "accept_redirects").read_text() == "0\n"
    assert (six / "up0/accept_ra").read_text() == "2\n"
    assert (six / "default/accept_ra").read_text() == "1\n"
    machine.networks.remove("n")
    assert (six / "up0/accept_ra").read_text() == "1\n"


@in_a_machine
def test_a_container_cannot_take_a_neighbours_address_or_mac(machine: Machine) -> None:
    machine.networks.create(NetworkSpec(name="n", ipv6=True))
    evil, victim, peer = machine.box(), machine.box(), machine.box()
    machine.plug(evil, "evil", "n")
    at = machine.plug(victim, "victim", "n").endpoints[0]
    other = machine.plug(peer, "peer", "n").endpoints[0]
    with frames(evil) as wire, frames(victim) as seen, serving(peer, 80):
        own = wire.getsockname()[4]
        theirs = bytes.fromhex(at.mac.replace(":", ""))
        forged = (
            claim(own, other.ipv4, theirs, at.ipv4),
            theirs + own + struct.pack(">H", IP) + syn(other.ipv4, at.ipv4, 80),
            theirs
            + bytes.fromhex(other.mac.replace(":", ""))
            + struct.pack(">H", IP)
            + syn(at.ipv4, at.ipv4, 80),
            theirs + own + struct.pack(">H", IP6) + neighbour(other.ipv6, at.ipv6, own),
            theirs + own + struct.pack(">H", IP6) + advertisement(own),
            theirs + own + struct.pack(">H", 0x88B5) + bytes(46),
        )
        for frame in forged:
            wire.send(frame)
        assert not [f for f in received(seen) if f in forged]
        wire.send(claim(own, machine.networks.endpoints("n")[0].ipv4, theirs, at.ipv4))
        assert ask(victim.socket(), other.ipv4, 80) == at.ipv4


def received(wire: socket.socket) -> list[bytes]:
    """All frames that come within a moment."""
    found = []
    end = time.monotonic() + 0.4
    while time.monotonic() < end:
        try:
            found.append(wire.recv(2000))
        except TimeoutError:
            break
    return found


def icmp6(source: bytes, target: bytes, body: bytes) -> bytes:
    body = body[:2] + checksum(source + target + struct.pack(">II", len(body), 58) + body) + body[4:]
    return struct.pack(">IHBB", 0x60000000, len(body), 58, 255) + source + target + body


def neighbour(claimed: str, target: str, mac: bytes) -> bytes:
    """A neighbour advertisement: ``claimed`` is at ``mac``."""
    body = struct.pack(">BBHI", 136, 0, 0, 0x60000000) + _ip(claimed) + b"\2\1" + mac
    return icmp6(_ip(claimed), _ip(target), body)


def advertisement(mac: bytes) -> bytes:
    """A router advertisement from the link-local address of ``mac``."""
    local = b"\xfe\x80" + bytes(6) + bytes([mac[0] ^ 2]) + mac[1:3] + b"\xff\xfe" + mac[3:]
    body = struct.pack(">BBHBBHII", 134, 0, 0, 64, 0, 1800, 0, 0)
    return icmp6(local, _ip("ff02::1"), body)


@in_a_machine
def test_a_container_that_routes_sends_any_address_but_the_gateways(machine: Machine) -> None:
    network = machine.networks.create(NetworkSpec(name="n"))
    router, client = machine.box(), machine.box()
    machine.networks.connect(router.netns, [EndpointSpec(network="n", container=router.id, routes=True)])
    at = machine.plug(client, "client", "n").endpoints[0]
    with frames(router) as wire, frames(client) as seen:
        own, theirs = wire.getsockname()[4], bytes.fromhex(at.mac.replace(":", ""))
        passed = theirs + own + struct.pack(">H", IP) + syn("198.18.7.7", at.ipv4, 80)
        wire.send(passed)
        assert passed in received(seen)
        refused = claim(own, network.gateway4, theirs, at.ipv4)
        wire.send(refused)
        assert refused not in received(seen)


@in_a_machine
def test_the_tables_find_a_new_owner_when_a_supervisor_dies(machine: Machine) -> None:
    machine.networks.create(NetworkSpec(name="n"))
    other = Networks(machine.run, "other")
    other.create(NetworkSpec(name="m"))
    machine.networks.close()
    other.create(NetworkSpec(name="m"))
    with closing(Firewall()) as firewall:
        (guard,) = [table for table in firewall.tables() if "guard" in table]
        with pytest.raises(PermissionError):
            firewall.commit([delete_table(guard)])
    other.remove("m")
    other.close()
