"""Names of links, resolv.conf and hosts as text."""

from __future__ import annotations

from netns import naming
from netns.spec import EndpointSpec

HOST = """# made by hand
nameserver 192.0.2.53
nameserver fe80::1%eth0
nameserver broken
nameserver 192.0.2.53
domain old.example
search corp.example lan
options timeout:1 edns0
"""


def test_link_names_fit_into_fifteen_bytes_and_differ() -> None:
    names = {
        naming.bridge_name("/run/x", "a"),
        naming.bridge_name("/run/x", "b"),
        naming.veth_name("/run", "a", "c", "1"),
        naming.veth_name("/run", "a", "c", "2"),
    }
    assert len(names) == 4
    assert all(len(name) == 15 for name in names)


def test_a_mac_follows_from_the_address() -> None:
    assert naming.mac_address("172.18.0.2", "n") == "02:42:ac:12:00:02"
    assert naming.mac_address("fd00::2", "n").startswith("02:42:")
    assert naming.mac_address("fd00::2", "n") != naming.mac_address("fd00::3", "n")


def test_interfaces_are_numbered_around_the_names_that_are_fixed() -> None:
    specs = [
        EndpointSpec(network=n, container="c", interface=i) for n, i in (("a", ""), ("b", "eth1"), ("c", ""))
    ]
    assert [naming.interface_name(n, specs) for n in range(3)] == ["eth0", "eth1", "eth2"]


def test_a_hostile_network_name_does_not_leave_the_directory() -> None:
    assert naming.directory_name("shop_default") == "shop_default"
    for name in ("../etc", "a/b", "", ".", "..", "x" * 300, "Grüße"):
        safe = naming.directory_name(name)
        assert "/" not in safe
        assert safe.startswith("%")


def test_the_hosts_resolv_conf_is_read_as_resolv_conf_5_says() -> None:
    assert naming.nameservers(HOST) == ("192.0.2.53", "fe80::1%eth0")
    assert naming.search_domains(HOST) == ("corp.example", "lan")
    assert naming.options_of(HOST) == ("timeout:1", "edns0")


def test_the_containers_resolv_conf_names_our_resolver_and_keeps_the_rest() -> None:
    assert naming.resolv_conf(HOST).splitlines() == [
        "nameserver 127.0.0.11",
        "search corp.example lan",
        "options timeout:1 edns0 ndots:0",
    ]
    text = naming.resolv_conf(HOST, search=["x.example"], options=["ndots:2"])
    assert text == "nameserver 127.0.0.11\nsearch x.example\noptions ndots:2\n"
    assert naming.resolv_conf("", search=["."]) == "nameserver 127.0.0.11\noptions ndots:0\n"
    assert naming.direct_resolv_conf(HOST).startswith("nameserver 192.0.2.53\n")


def test_hosts_has_loopback_the_extra_hosts_and_the_container_itself() -> None:
    text = naming.hosts_file(
        ["172.18.0.2", "fd00::2"],
        "web",
        domainname="example.org",
        extra=[("api", "192.0.2.7"), ("six", "[2001:db8::1]"), ("host.docker.internal", "host-gateway")],
        gateway="172.18.0.1",
    )
    lines = text.splitlines()
    assert lines[0] == "127.0.0.1\tlocalhost"
    assert lines[6:] == [
        "192.0.2.7\tapi",
        "2001:db8::1\tsix",
        "172.18.0.1\thost.docker.internal",
        "172.18.0.1\thost.containers.internal",
        "172.18.0.2\tweb.example.org web",
        "fd00::2\tweb.example.org web",
    ]
    assert naming.hosts_file([], "web", gateway="127.0.0.1", host="::1 mine\n").splitlines() == [
        "::1 mine",
        "127.0.0.1\thost.docker.internal",
        "127.0.0.1\thost.containers.internal",
    ]
    assert "host.docker" not in naming.hosts_file([], "web", extra=[("host.docker.internal", "host-gateway")])
