"""What others do to our networks is noticed by events and mended, or told."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from netns.network import Cuts, Networks, Watch
from netns.nftables import messages as nft
from netns.nftables.apply import Firewall
from netns.spec import NetworkSpec, PortSpec
from tests.root.net_machine import HOST4, Box, Machine, ask, here, in_a_machine, serving

WEB = PortSpec(target=80, published=8080)


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True)


def watched(networks: Networks, boxes: dict[str, Path], harm: Callable[[], None]) -> list[str]:
    """Do ``harm`` while a supervisor's loop watches; what was said within a second."""
    said: list[str] = []

    async def body() -> None:
        watch = Watch(asyncio.get_running_loop(), lambda: said.extend(networks.mender.mend(boxes)))
        await asyncio.to_thread(harm)
        await asyncio.sleep(0.8)
        watch.close()

    asyncio.run(body())
    return said


def stack(machine: Machine) -> tuple[Box, Box, str]:
    """Two containers on one network, the first with a published port."""
    machine.networks.create(NetworkSpec(name="n"))
    web, other = machine.box(), machine.box()
    at = machine.plug(web, "web", "n", ports=(WEB,)).endpoints[0].ipv4
    machine.plug(other, "other", "n")
    return web, other, at


def works(machine: Machine, web: Box, other: Box, at: str) -> bool:
    with serving(web, 80), serving(machine.outside, 81):
        answers = (
            ask(machine.outside.socket(), HOST4, 8080) == "192.0.2.1",
            ask(other.socket(), at, 80) != "TimeoutError",
            ask(other.socket(), "192.0.2.1", 81) == HOST4,
        )
    return all(answers)


def places(*boxes: Box) -> dict[str, Path]:
    return {box.id: box.netns for box in boxes}


def flush() -> None:
    """What ``nft flush ruleset`` does: every table without another owner."""
    firewall = Firewall()
    for family in (nft.INET, nft.BRIDGE):
        for table in firewall.tables(family):
            try:
                firewall.commit([nft.delete_table(table, family=family)])
            except PermissionError:
                assert "guard" in table or "forward" in table
    firewall.close()


@in_a_machine
def test_a_flushed_rule_set_is_back_within_a_second(machine: Machine) -> None:
    web, other, at = stack(machine)
    said = watched(machine.networks, places(web, other), flush)
    assert said == ["network 'n': its firewall table was gone and is back"]
    assert works(machine, web, other, at)


@in_a_machine
def test_a_deleted_link_is_back_with_its_addresses(machine: Machine) -> None:
    web, other, at = stack(machine)
    said = watched(
        machine.networks, places(web, other), lambda: web.run("ip", "link", "del", "eth0") and None
    )
    assert said == ["network 'n': the link of container 'shop-web-1' was gone and is back"]
    assert works(machine, web, other, at)


@in_a_machine
def test_a_deleted_bridge_is_back_and_everybody_is_plugged_in_again(machine: Machine) -> None:
    web, other, at = stack(machine)
    bridge = machine.networks.find("n").bridge  # type: ignore[union-attr]
    said = watched(machine.networks, places(web, other), lambda: ip("link", "del", bridge))
    assert said == [f"network 'n': bridge '{bridge}' was gone and is back"]
    assert works(machine, web, other, at)


@in_a_machine
def test_a_container_starts_right_after_the_bridge_was_deleted(machine: Machine) -> None:
    web, other, at = stack(machine)
    ip("link", "del", machine.networks.find("n").bridge)  # type: ignore[union-attr]
    flush()
    third = machine.box()
    machine.plug(third, "third", "n")
    machine.networks.mender.mend(places(web, other, third))
    assert works(machine, web, third, at)


@in_a_machine
def test_forwarding_that_somebody_switched_off_is_on_again(machine: Machine) -> None:
    web, other, at = stack(machine)
    switch = Path("/proc/sys/net/ipv4/ip_forward")
    said = watched(machine.networks, places(web, other), lambda: switch.write_text("0") and None)
    assert said == ["network 'n': forwarding was gone and is back"]
    assert works(machine, web, other, at)


def docker_like(policy: int) -> list[nft.Message]:
    """The chain FORWARD of iptables as docker has it, empty and with ``policy``."""
    place = nft.nest(4, nft.number(1, nft.FORWARD), nft.number(2, 0))
    parts = (
        nft.text(1, "filter"),
        nft.text(3, "FORWARD"),
        place,
        nft.number(5, policy),
        nft.text(7, "filter"),
    )
    return [
        nft.table("filter", family=nft.IPV4),
        nft.message(3, *parts, family=nft.IPV4, flags=nft.Flag.CREATE, about="add chain filter FORWARD"),
    ]


@in_a_machine
def test_containers_pass_a_forward_policy_of_drop_and_leave_nothing_there(machine: Machine) -> None:
    web, other, at = stack(machine)
    firewall = Firewall()
    firewall.commit(docker_like(nft.DROP))
    assert machine.networks.mender.troubles(places(web, other)) == []
    assert works(machine, web, other, at)
    rules = firewall.comments("filter", "FORWARD", nft.IPV4)
    assert len(rules) == 2
    machine.networks.mender.troubles(places(web, other))
    assert firewall.comments("filter", "FORWARD", nft.IPV4) == rules
    for box in (web, other):
        machine.networks.forget(box.id)
    machine.networks.remove("n")
    assert firewall.comments("filter", "FORWARD", nft.IPV4) == []
    firewall.commit([nft.delete_table("filter", family=nft.IPV4)])
    firewall.close()


@in_a_machine
def test_a_route_over_a_network_is_told_with_its_interface(machine: Machine) -> None:
    web, other, at = stack(machine)
    wider = at.rpartition(".")[0] + ".0/24"
    ip("route", "add", wider, "via", "192.0.2.1", "dev", "up0")
    (said,) = machine.networks.mender.troubles(places(web, other))
    assert said.startswith(f"route {wider} by up0 covers network 'n' (")
    ip("route", "del", wider)
    assert machine.networks.mender.troubles(places(web, other)) == []


@in_a_machine
def test_a_port_that_could_not_be_taken_over_is_held_as_soon_as_it_is_free(machine: Machine) -> None:
    web, _, _ = stack(machine)
    machine.networks.close()
    with here() as thief:
        thief.bind(("", 8080))
        heir = Networks(machine.run, "shop")
        heir.adopt(web.id)
        assert "it is still led to container" in heir.notices[-1]
    heir.mender.mend(places(web))
    with here() as thief:
        assert _bound(thief) is False
    heir.close()


def _bound(made: socket.socket) -> bool:
    end = time.monotonic() + 1
    while time.monotonic() < end:
        try:
            made.bind(("", 8080))
            return True
        except OSError:
            time.sleep(0.1)
    return False


@in_a_machine
def test_a_cut_keeps_two_apart_and_goes_with_its_process(machine: Machine) -> None:
    web, other, at = stack(machine)
    third = machine.box()
    machine.plug(third, "third", "n")
    one, two = (end.mac for end in machine.networks.endpoints("n")[:2])
    firewall = Firewall()
    before = firewall.tables(nft.BRIDGE)
    child = os.fork()
    if child == 0:
        cuts = Cuts("shop")
        cuts.apply([(one, two, 1000), (two, one, 1000)])
        time.sleep(60)
    end = time.monotonic() + 5
    while firewall.tables(nft.BRIDGE) == before and time.monotonic() < end:
        time.sleep(0.01)
    try:
        with serving(web, 80):
            assert ask(other.socket(), at, 80) in ("TimeoutError", "OSError")
            assert ask(third.socket(), at, 80) != "TimeoutError"
    finally:
        os.kill(child, 9)
        os.waitpid(child, 0)
    assert firewall.tables(nft.BRIDGE) == before
    assert works(machine, web, other, at)
    firewall.close()


@in_a_machine
def test_a_share_of_packets_is_lost_in_one_direction(machine: Machine) -> None:
    web, other, at = stack(machine)
    source = next(end for end in machine.networks.endpoints("n") if end.spec.container == other.id)
    target = next(end for end in machine.networks.endpoints("n") if end.spec.container == web.id)
    cuts = Cuts("shop")
    cuts.apply([(source.mac, target.mac, 500)])
    with web.socket(socket.SOCK_DGRAM) as receiver, other.socket(socket.SOCK_DGRAM) as sender:
        receiver.bind(("", 90))
        receiver.settimeout(0.2)
        got = 0
        for _ in range(200):
            sender.sendto(b"x", (at, 90))
        try:
            while receiver.recv(10):
                got += 1
        except TimeoutError:
            pass
    assert 50 < got < 150
    cuts.close()
