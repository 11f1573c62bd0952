"""Networks of the file in the words of netns: every spelling, every wrong value with its place."""

from __future__ import annotations

import pytest

from compose.errors import ComposeError
from compose.model.project import Network, Project
from compose.model.service import Port, Service
from compose.plan.networks import check_modes, network_spec, with_modes

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


@pytest.mark.parametrize(
    "attribute, value",
    [
        ("ports", (Port(target=80, published="80"),)),
        ("dns", ("192.0.2.1",)),
        ("hostname", "a"),
        ("extra_hosts", ("a=::1",)),
    ],
)
def test_what_a_shared_namespace_makes_void_is_refused_at_its_place(attribute: str, value: object) -> None:
    with pytest.raises(ComposeError, match="conflicting options") as caught:
        check_modes(shop(network_mode="service:vpn", **{attribute: value}), ["web"])
    assert caught.value.path == f"services.web.{attribute}"
    assert check_modes(shop(network_mode="service:vpn", **{attribute: value}), []) == []


def test_ports_beside_the_hosts_network_are_named() -> None:
    (said,) = check_modes(shop(network_mode="host", ports=(Port(target=80, published="80"),)), ["web"])
    assert "published ports are discarded" in said
