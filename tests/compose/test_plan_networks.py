"""Networks of the file in the words of netns: every spelling, every wrong value with its place."""

from __future__ import annotations

import pytest

from compose.errors import ComposeError
from compose.model.project import IpamPool, Network, Project
from compose.model.service import NetworkAttachment, Port, Service
from compose.plan.netcheck import wrong_values
from compose.plan.networks import left_out, network_spec, with_modes

ICC = "com.docker.network.bridge.enable_icc"


def network(**options: object) -> Network:
    return Network(key="back", name="shop_back", **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("text", ["0", "f", "F", "FALSE", "false", "False"])
def test_every_spelling_of_false_isolates_containers(text: str) -> None:
    assert network_spec("shop", network(driver_opts={ICC: text})).icc is False


@pytest.mark.parametrize("text", ["1", "t", "T", "TRUE", "true", "True"])
def test_every_spelling_of_true_lets_them_talk(text: str) -> None:
    assert network_spec("shop", network(driver_opts={ICC: text})).icc is True


def test_a_word_that_is_no_truth_value_is_refused_at_its_place() -> None:
    with pytest.raises(ComposeError, match="enable_icc' is 'no'") as caught:
        network_spec("shop", network(driver_opts={ICC: "no"}))
    assert caught.value.path == f"networks.back.driver_opts.{ICC}"


def shop(**service: object) -> Project:
    made = Service(name="web", **service)  # type: ignore[arg-type]
    default = Network(key="default", name="shop_default")
    return Project(name="shop", working_dir="/", services={"web": made}, networks={"default": default})


@pytest.mark.parametrize("mode", ["bridge", "default"])
def test_the_default_bridge_is_a_network_of_the_project(mode: str) -> None:
    found = with_modes(shop(network_mode=mode))
    (key,) = found.services["web"].networks
    assert found.networks[key].name == "shop_bridge"
    assert not found.networks[key].external


def test_the_name_of_a_network_is_joined_and_an_unknown_one_has_to_exist() -> None:
    assert list(with_modes(shop(network_mode="shop_default")).services["web"].networks) == ["default"]
    found = with_modes(shop(network_mode="other"))
    assert found.networks["other"].external
    assert found.services["web"].network_mode == ""


@pytest.mark.parametrize("mode", ["host", "none", "service:vpn", "container:x"])
def test_other_modes_stay(mode: str) -> None:
    assert with_modes(shop(network_mode=mode)) == shop(network_mode=mode)


def test_ports_beside_the_hosts_network_are_named() -> None:
    (said,) = left_out(shop(network_mode="host", ports=(Port(target=80, published="80"),)), ["web"])
    assert "published ports are discarded" in said


def wrong(given: NetworkAttachment | None = None, scale: int = 1, **options: object) -> list[str]:
    """The attributes that are wrong about one service on one network."""
    made = Service(name="web", networks={"back": given or NetworkAttachment()}, scale=scale)
    shop = Project(
        name="shop", working_dir="/", services={"web": made}, networks={"back": network(**options)}
    )
    found = wrong_values(shop, ["web"])
    assert all(error.hint for error in found)
    return [error.path for error in found]


ON_BACK = "services.web.networks.back"


@pytest.mark.parametrize(
    "given, place",
    [
        (NetworkAttachment(ipv6_address="fd00::2"), "ipv6_address"),
        (NetworkAttachment(interface_name="a/b"), "interface_name"),
    ],
)
def test_wrong_attachments_are_named_with_their_place(given: NetworkAttachment, place: str) -> None:
    assert wrong(given) == [f"{ON_BACK}.{place}"]


@pytest.mark.parametrize(
    "options, place",
    [
        ({"enable_ipv4": False}, "enable_ipv4"),
        ({"ipam": (IpamPool(subnet="10.1.2.0"),)}, "ipam.config[0].subnet"),
        ({"ipam": (IpamPool(ip_range="10.1.2.0/24"),)}, "ipam.config[0].ip_range"),
        ({"ipam": (IpamPool(subnet="10.1.0.0/16", ip_range="10.2.0.0/24"),)}, "ipam.config[0].ip_range"),
        ({"ipam": (IpamPool(subnet="10.1.0.0/16", gateway="10.2.0.1"),)}, "ipam.config[0].gateway"),
        ({"ipam": (IpamPool(subnet="10.1.0.0/16", gateway="10.1.0.0"),)}, "ipam.config[0].gateway"),
        (
            {"ipam": (IpamPool(subnet="10.1.0.0/16", aux_addresses={"x": "10.2.0.1"}),)},
            "ipam.config[0].aux_addresses.x",
        ),
        ({"ipam": (IpamPool(subnet="10.1.0.0/16"), IpamPool(subnet="10.2.0.0/16"))}, "ipam.config[1].subnet"),
        ({"ipam": (IpamPool(subnet="fd00::/64"),)}, "ipam.config[0].subnet"),
        ({"ipam": (IpamPool(subnet="10.1.0.0/31"),)}, "ipam.config[0].subnet"),
    ],
)
def test_wrong_networks_are_named_with_their_place(options: dict[str, object], place: str) -> None:
    assert wrong(**options) == [f"networks.back.{place}"]


def test_a_static_address_has_to_be_in_the_subnet_and_for_one_container() -> None:
    pool = {"ipam": (IpamPool(subnet="10.1.0.0/16"),)}
    assert wrong(NetworkAttachment(ipv4_address="10.1.0.7"), **pool) == []
    assert wrong(NetworkAttachment(ipv4_address="10.2.0.7"), **pool) == [f"{ON_BACK}.ipv4_address"]
    assert wrong(NetworkAttachment(ipv4_address="10.1.0.1"), **pool) == [f"{ON_BACK}.ipv4_address"]
    assert wrong(NetworkAttachment(ipv4_address="10.1.0.7"), 2, **pool) == [f"{ON_BACK}.ipv4_address"]


def test_two_services_cannot_have_one_address() -> None:
    given = {"back": NetworkAttachment(ipv4_address="10.1.0.7")}
    services = {name: Service(name=name, networks=given) for name in ("a", "b")}
    shop = Project(name="shop", working_dir="/", services=services, networks={"back": network()})
    (error,) = wrong_values(shop, ["a", "b"])
    assert error.message == "service 'b' asks for 10.1.0.7 on network 'back', as service 'a' does"
