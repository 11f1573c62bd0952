"""Networks on real kernel objects; pyroute2 is the oracle for links, addresses and routes."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from ipaddress import ip_address, ip_network
from multiprocessing import get_context
from pathlib import Path

import pytest

from netns.errors import AddressesExhausted, AddressTaken, NetworkFailure, NetworkInUse, NetworkNotFound
from netns.netlink import inside
from netns.network import Networks
from netns.nftables.apply import Firewall
from netns.nftables.messages import BRIDGE, delete_table
from netns.spec import EndpointSpec, NetworkSpec, Pool, PortSpec
from tests.root.net_machine import HOST4, HOST6, Machine, ask, in_a_machine, serving
from tests.support.programs import need


def oracle(read: Callable[[object], object]) -> object:
    """Ask the kernel through pyroute2, in the namespace of the calling thread."""
    from pyroute2 import IPRoute

    with IPRoute() as route:
        return read(route)


def links(route: object) -> dict[str, dict[str, object]]:
    return {link.get("ifname"): link for link in route.get_links()}  # type: ignore[attr-defined]


def addresses(route: object) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    names = {link["index"]: link.get("ifname") for link in route.get_links()}  # type: ignore[attr-defined]
    for entry in route.get_addr(family=2):  # type: ignore[attr-defined]
        found.setdefault(names[entry["index"]], []).append(f"{entry.get('address')}/{entry['prefixlen']}")
    return found


def gateways(route: object) -> list[str]:
    routes = route.get_default_routes(family=2)  # type: ignore[attr-defined]
    return [entry.get("gateway") for entry in routes]


@in_a_machine
def test_a_network_is_a_bridge_with_the_mtu_of_the_default_route(machine: Machine) -> None:
    network = machine.networks.create(NetworkSpec(name="shop_default", project="shop"))
    bridge = oracle(links)[network.bridge]  # type: ignore[index]
    assert bridge.get("mtu") == network.mtu == 1400
    assert bridge["flags"] & 1
    prefix = ip_network(network.subnet4).prefixlen
    assert oracle(addresses)[network.bridge] == [f"{network.gateway4}/{prefix}"]  # type: ignore[index]
    assert Path("/proc/sys/net/ipv4/ip_forward").read_text() == "1\n"
    assert "ip_forward was 0" in machine.networks.notices[0]


@in_a_machine
def test_the_inside_has_loopback_address_mac_and_default_route(machine: Machine) -> None:
    network = machine.networks.create(NetworkSpec(name="shop_default"))
    box = machine.box()
    (endpoint,) = machine.plug(box, "web", "shop_default").endpoints
    with inside(box.netns):
        found, inner, routes = oracle(links), oracle(addresses), oracle(gateways)
    assert set(found) == {"lo", "eth0"}  # type: ignore[call-overload]
    assert found["eth0"].get("address") == endpoint.mac  # type: ignore[index]
    assert found["eth0"].get("mtu") == 1400  # type: ignore[index]
    assert inner == {"lo": ["127.0.0.1/8"], "eth0": [f"{endpoint.ipv4}/22"]}
    assert routes == [network.gateway4]


@in_a_machine
def test_containers_of_one_network_talk_and_see_each_others_address(machine: Machine) -> None:
    machine.networks.create(NetworkSpec(name="n"))
    web, db = machine.box(), machine.box()
    at = machine.plug(db, "db", "n").endpoints[0].ipv4
    own = machine.plug(web, "web", "n").endpoints[0].ipv4
    with serving(db, 5432):
        assert ask(web.socket(), at, 5432) == own


@in_a_machine
def test_networks_are_isolated_from_each_other_and_from_other_machines(machine: Machine) -> None:
    machine.networks.create(NetworkSpec(name="a"))
    machine.networks.create(NetworkSpec(name="b"))
    one, two = machine.box(), machine.box()
    at = machine.plug(one, "one", "a").endpoints[0].ipv4
    machine.plug(two, "two", "b")
    machine.outside.run("ip", "route", "add", f"{at}/32", "via", HOST4)
    with serving(one, 80):
        assert ask(two.socket(), at, 80) == "TimeoutError"
        assert ask(machine.outside.socket(), at, 80) == "TimeoutError"


@in_a_machine
def test_the_way_out_is_masqueraded(machine: Machine) -> None:
    machine.networks.create(NetworkSpec(name="n"))
    box = machine.box()
    machine.plug(box, "web", "n")
    with serving(machine.outside, 80):
        assert ask(box.socket(), "192.0.2.1", 80) == HOST4


@in_a_machine
def test_an_internal_network_has_no_way_out_and_publishes_nothing(machine: Machine) -> None:
    machine.networks.create(NetworkSpec(name="n", internal=True))
    box, other = machine.box(), machine.box()
    connection = machine.plug(box, "db", "n", ports=(PortSpec(target=80, published=8080),))
    machine.plug(other, "web", "n")
    with inside(box.netns):
        assert oracle(gateways) == []
    box.run("ip", "route", "add", "default", "dev", "eth0")
    assert connection.ports == ()
    assert "on internal networks" in machine.networks.notices[-1]
    with serving(machine.outside, 80):
        assert ask(box.socket(), "192.0.2.1", 80) in ("TimeoutError", "OSError")
    with serving(box, 80):
        at = connection.endpoints[0].ipv4
        assert ask(other.socket(), at, 80) != "TimeoutError"


@in_a_machine
def test_without_icc_containers_reach_the_world_and_not_each_other(machine: Machine) -> None:
    machine.networks.create(NetworkSpec(name="n", icc=False))
    one, two = machine.box(), machine.box()
    at = machine.plug(one, "one", "n").endpoints[0].ipv4
    machine.plug(two, "two", "n")
    with serving(one, 80), serving(machine.outside, 80):
        assert ask(two.socket(), at, 80) in ("TimeoutError", "OSError")
        assert ask(two.socket(), "192.0.2.1", 80) == HOST4


@in_a_machine
def test_the_highest_gateway_priority_holds_the_default_route(machine: Machine) -> None:
    machine.networks.create(NetworkSpec(name="a"))
    chosen = machine.networks.create(NetworkSpec(name="b"))
    box = machine.box()
    specs = [
        EndpointSpec(network="a", container=box.id, priority=5),
        EndpointSpec(network="b", container=box.id, gw_priority=1, interface="lan"),
    ]
    connection = machine.networks.connect(box.netns, specs, ())
    assert [endpoint.interface for endpoint in connection.endpoints] == ["eth0", "lan"]
    with inside(box.netns):
        assert oracle(gateways) == [chosen.gateway4]


@in_a_machine
def test_ipv6_networks_have_unique_local_addresses(machine: Machine) -> None:
    network = machine.networks.create(NetworkSpec(name="n", ipv6=True))
    one, two = machine.box(), machine.box()
    first = machine.plug(one, "one", "n").endpoints[0]
    second = machine.plug(two, "two", "n").endpoints[0]
    assert ip_address(first.ipv6) in ip_network(network.subnet6)
    listener = one.socket(family=10)
    listener.bind(("::", 80))
    listener.listen()
    client = two.socket(family=10)
    client.connect((first.ipv6, 80))
    connection, who = listener.accept()
    assert who[0] == second.ipv6
    for made in (listener, client, connection):
        made.close()


@in_a_machine
def test_what_the_file_fixes_is_honoured_and_clashes_name_the_holder(machine: Machine) -> None:
    pool = Pool(subnet="10.9.0.0/24", gateway="10.9.0.254", ip_range="10.9.0.64/28", reserved=("10.9.0.65",))
    network = machine.networks.create(NetworkSpec(name="n", project="shop", pools=(pool,), bridge="br-shop"))
    assert (network.bridge, network.gateway4) == ("br-shop", "10.9.0.254")
    one, two, three = machine.box(), machine.box(), machine.box()
    assert machine.plug(one, "one", "n").endpoints[0].ipv4 == "10.9.0.64"
    assert machine.plug(two, "two", "n").endpoints[0].ipv4 == "10.9.0.66"
    with pytest.raises(AddressTaken, match=r"10\.9\.0\.64 .* held by 'shop-one-1' of project 'shop'"):
        machine.plug(three, "three", "n", ipv4="10.9.0.64")
    assert machine.networks.published(three.id) == ()
    with pytest.raises(AddressTaken, match="network 'n' of project 'shop'"):
        machine.networks.create(NetworkSpec(name="m", pools=(Pool(subnet="10.9.0.128/25"),)))
    with pytest.raises(AddressTaken, match="a route of the host"):
        machine.networks.create(NetworkSpec(name="m", pools=(Pool(subnet="192.0.2.0/24"),)))
    with pytest.raises(AddressTaken, match="link 'up0' exists already"):
        machine.networks.create(NetworkSpec(name="m", bridge="up0"))
    with pytest.raises(AddressTaken, match="bridge 'br-shop' belongs to network 'n' of project 'shop'"):
        machine.networks.create(NetworkSpec(name="m", bridge="br-shop"))
    with pytest.raises(NetworkFailure, match="'a-name-of-16-byte' is not a name for a link"):
        machine.networks.create(NetworkSpec(name="m", bridge="a-name-of-16-byte"))


@in_a_machine
def test_a_full_subnet_says_so(machine: Machine) -> None:
    machine.networks.create(NetworkSpec(name="n", pools=(Pool(subnet="10.9.0.0/30"),)))
    one, two = machine.box(), machine.box()
    machine.plug(one, "one", "n")
    with pytest.raises(AddressesExhausted, match=r"no address is left in 10\.9\.0\.0/30"):
        machine.plug(two, "two", "n")


@in_a_machine
def test_a_container_that_starts_again_keeps_its_address(machine: Machine) -> None:
    machine.networks.create(NetworkSpec(name="n"))
    first, second, again = machine.box(), machine.box(), machine.box()
    machine.plug(machine.box(), "zero", "n")
    kept = machine.plug(first, "one", "n").endpoints[0].ipv4
    machine.networks.disconnect(first.id)
    machine.networks.disconnect(first.id)
    assert machine.plug(second, "two", "n").endpoints[0].ipv4 != kept
    again.id = first.id
    assert machine.plug(again, "one", "n").endpoints[0].ipv4 == kept


@in_a_machine
def test_a_failed_connection_leaves_nothing(machine: Machine) -> None:
    machine.networks.create(NetworkSpec(name="n"))
    box = machine.box()
    before = os.listdir("/sys/class/net")  # noqa: PTH208
    with pytest.raises(NetworkNotFound):
        machine.plug(box, "web", "n", "missing", ports=(PortSpec(target=80, published=8080),))
    assert machine.networks.endpoints("n") == []
    assert os.listdir("/sys/class/net") == before  # noqa: PTH208
    assert ask(box.socket(), "127.0.0.1", 1) in ("OSError", "ConnectionRefusedError")
    machine.plug(box, "web", "n", ports=(PortSpec(target=80, published=8080),))


@in_a_machine
def test_a_network_in_use_is_not_removed_and_a_missing_one_is_no_error(machine: Machine) -> None:
    machine.networks.create(NetworkSpec(name="n"))
    box = machine.box()
    machine.plug(box, "web", "n")
    with pytest.raises(NetworkInUse, match="1 endpoints: 'shop-web-1' of project 'shop'"):
        machine.networks.remove("n")
    machine.networks.disconnect(box.id)
    machine.networks.remove("n")
    machine.networks.remove("n")


@in_a_machine
def test_what_a_crash_left_is_replaced(machine: Machine) -> None:
    network = machine.networks.create(NetworkSpec(name="n"))
    (machine.run / "networks/n/network.json").unlink()
    os.system(f"ip address add 10.1.2.3/24 dev {network.bridge}")
    assert machine.networks.create(NetworkSpec(name="n")) == network
    assert len(oracle(addresses)[network.bridge]) == 1  # type: ignore[index]


@in_a_machine
def test_rules_that_another_program_flushed_come_back(machine: Machine) -> None:
    machine.networks.create(NetworkSpec(name="n"))
    box = machine.box()
    machine.plug(box, "web", "n", ports=(PortSpec(target=80, published=8080),))
    firewall = Firewall()
    with pytest.raises(PermissionError):  # what protects the host has an owner
        firewall.commit([delete_table(name) for name in firewall.tables() if "guard" in name])
    mine = ("guard", "forward")
    firewall.commit([delete_table(n) for n in firewall.tables() if n.split("_")[1] not in mine])
    firewall.commit([delete_table(n, family=BRIDGE) for n in firewall.tables(BRIDGE)])
    firewall.close()
    machine.networks.create(NetworkSpec(name="n"))
    with serving(box, 80):
        assert ask(machine.outside.socket(), HOST4, 8080) == "192.0.2.1"


def _create(run: Path, number: int) -> str:
    networks = Networks(run)
    network = networks.create(NetworkSpec(name=f"net{number}"))
    networks.close()
    return network.subnet4


@in_a_machine
def test_creators_at_the_same_time_get_different_subnets(machine: Machine) -> None:
    with ProcessPoolExecutor(4, mp_context=get_context("fork")) as pool:
        found = list(pool.map(_create, [machine.run] * 12, range(12)))
    assert len(set(found)) == 12
    nets = [ip_network(text) for text in found]
    assert not any(a.overlaps(b) for n, a in enumerate(nets) for b in nets[n + 1 :])


@pytest.mark.smoke("nft")
@in_a_machine
def test_another_firewall_that_drops_is_named(machine: Machine) -> None:
    need("nft")
    policy = "{ type filter hook forward priority 0; policy drop; }"
    os.system(f"nft 'add table ip theirs; add chain ip theirs fw {policy}'")
    machine.networks.create(NetworkSpec(name="n"))
    assert machine.networks.notices[-1].startswith("table 'theirs' of another firewall drops")
    os.system("nft delete table ip theirs")


@in_a_machine
def test_two_run_directories_do_not_share_a_bridge(machine: Machine) -> None:
    mine = machine.networks.create(NetworkSpec(name="shop_default"))
    other = Networks(machine.run.with_name("other"))
    theirs = other.create(NetworkSpec(name="shop_default"))
    assert mine.bridge != theirs.bridge
    assert not ip_network(mine.subnet4).overlaps(ip_network(theirs.subnet4))
    other.remove("shop_default")
    other.close()


@in_a_machine
def test_networks_are_removed_in_threads_at_once(machine: Machine) -> None:
    names = [f"n{number}" for number in range(6)]
    for name in names:
        machine.networks.create(NetworkSpec(name=name))
    with ThreadPoolExecutor(6) as pool:
        list(pool.map(machine.networks.remove, names))
    assert machine.networks.all() == []


@in_a_machine
def test_the_way_out_by_ipv6_is_masqueraded_and_the_way_in_is_closed(machine: Machine) -> None:
    os.system("ip -6 route add default via 2001:db8::1")
    machine.networks.create(NetworkSpec(name="n", ipv6=True))
    assert "ipv6.conf.all.forwarding was 0" in machine.networks.notices[-1]
    box = machine.box()
    at = machine.plug(box, "web", "n").endpoints[0].ipv6
    machine.outside.run("ip", "-6", "route", "add", f"{at}/128", "via", HOST6)
    listener = machine.outside.socket(family=socket.AF_INET6)
    listener.bind(("::", 80))
    listener.listen()
    client = box.socket(family=socket.AF_INET6)
    client.connect(("2001:db8::1", 80))
    connection, who = listener.accept()
    assert who[0] == HOST6
    inner = box.socket(family=socket.AF_INET6)
    inner.bind(("::", 80))
    inner.listen()
    assert ask(machine.outside.socket(family=socket.AF_INET6), at, 80) == "TimeoutError"
    for made in (listener, client, connection, inner):
        made.close()


def _connect(run: Path, netns: str, number: int) -> str:
    networks = Networks(run)
    spec = EndpointSpec(network="n", container=f"{number:02d}" * 32)
    (endpoint,) = networks.connect(Path(netns), [spec]).endpoints
    networks.close()
    return endpoint.ipv4


@in_a_machine
def test_containers_connected_by_several_processes_get_different_addresses(machine: Machine) -> None:
    machine.networks.create(NetworkSpec(name="n"))
    boxes = [machine.box() for _ in range(8)]
    paths = [str(box.netns) for box in boxes]
    with ProcessPoolExecutor(4, mp_context=get_context("fork")) as pool:
        found = list(pool.map(_connect, [machine.run] * 8, paths, range(8)))
    assert len(set(found)) == 8
    for number in range(8):
        machine.networks.disconnect(f"{number:02d}" * 32)


def on_the_lan(**options: object) -> NetworkSpec:
    pool = Pool(subnet="192.0.2.0/24", ip_range="192.0.2.64/26", gateway="192.0.2.1")
    return NetworkSpec(name="lan", driver="macvlan", parent="up0", pools=(pool,), **options)  # type: ignore[arg-type]


@in_a_machine
def test_macvlan_puts_containers_on_the_lan_of_the_host(machine: Machine) -> None:
    if os.system("ip link add probe link up0 type macvlan 2>/dev/null"):
        with pytest.raises(NetworkFailure, match="this kernel has no driver 'macvlan'"):
            machine.networks.create(on_the_lan())
            machine.plug(machine.box(), "web", "lan")
        return
    os.system("ip link del probe")
    network = machine.networks.create(on_the_lan())
    assert (network.bridge, network.mtu) == ("", 1400)
    web, other = machine.box(), machine.box()
    connection = machine.plug(web, "web", "lan", ports=(PortSpec(target=80, published=8080),))
    at = connection.endpoints[0].ipv4
    machine.plug(other, "other", "lan", ipv4="192.0.2.40")
    assert at == "192.0.2.64"
    assert (
        "container 'shop-web-1' is on internal networks or links of the host only"
        in machine.networks.notices[-1]
    )
    with serving(web, 80), serving(machine.outside, 80):
        assert ask(machine.outside.socket(), at, 80) == "192.0.2.1"
        assert ask(other.socket(), at, 80) == "192.0.2.40"
        assert ask(web.socket(), "192.0.2.1", 80) == at
    assert machine.networks.mender.mend({web.id: web.netns}) == []


@in_a_machine
def test_a_parent_that_is_not_there_is_named(machine: Machine) -> None:
    with pytest.raises(NetworkFailure, match="no link 'eth9' to put containers on"):
        machine.networks.create(NetworkSpec(name="lan", driver="macvlan", parent="eth9"))


@in_a_machine
def test_the_way_out_by_ipv4_is_a_network_that_has_it(machine: Machine) -> None:
    machine.networks.create(NetworkSpec(name="a", ipv4=False, ipv6=True))
    chosen = machine.networks.create(NetworkSpec(name="b"))
    box = machine.box()
    machine.plug(box, "web", "a", "b", ports=(PortSpec(target=80, published=8080),))
    with inside(box.netns):
        assert oracle(gateways) == [chosen.gateway4]
    with serving(box, 80):
        assert ask(machine.outside.socket(), HOST4, 8080) == "192.0.2.1"


@in_a_machine
def test_names_and_kernel_parameters_of_links_are_as_the_options_say(machine: Machine) -> None:
    machine.networks.create(NetworkSpec(name="a"))
    machine.networks.create(NetworkSpec(name="b"))
    box = machine.box()
    martians = "net.ipv4.conf.IFNAME.log_martians=1"
    specs = [
        EndpointSpec(network="a", container=box.id, prefix="lan", sysctls=(martians,)),
        EndpointSpec(network="b", container=box.id),
    ]
    connection = machine.networks.connect(box.netns, specs, ())
    assert [end.interface for end in connection.endpoints] == ["lan0", "eth0"]
    assert box.run("cat", "/proc/sys/net/ipv4/conf/lan0/log_martians") == "1\n"
    machine.networks.adopt(box.id)
