"""What config.toml says about published ports."""

from __future__ import annotations

from pathlib import Path

import pytest

from compose.engine import house
from compose.engine.house import House
from compose.errors import ComposeError
from compose.model.project import Project
from compose.model.service import Port, Service
from runtime.image import settings


def read(tmp_path: Path, text: str) -> House:
    (tmp_path / "config.toml").write_text(text)
    return house.read({"PYCOMPOSE_CONFIG": str(tmp_path / "config.toml")})


def test_a_machine_without_a_file_has_no_rules(tmp_path: Path) -> None:
    assert house.read({"PYCOMPOSE_CONFIG": str(tmp_path / "none")}) == House()
    environment = {"HOME": "/home/a"}
    assert house._files(environment) == settings.files(environment)


def test_ports_without_an_address_get_that_of_the_house(tmp_path: Path) -> None:
    rules = read(tmp_path, '[ports]\nhost_ip = "127.0.0.1"\nobey_firewall = true\n')
    ports = (Port(target=80, published="80"), Port(target=81, published="81", host_ip="0.0.0.0"))
    shop = Project(name="shop", working_dir="/", services={"web": Service(name="web", ports=ports)})
    found = house.apply(shop, rules).services["web"]
    assert [port.host_ip for port in found.ports] == ["127.0.0.1", "0.0.0.0"]
    assert found.ports_obey_firewall
    assert house.apply(shop, House()) is shop


@pytest.mark.parametrize(
    "text, what",
    [
        ('[ports]\nhost_ip = "here"', "host_ip is 'here', which is no address"),
        ('[ports]\nobey_firewall = "yes"', "obey_firewall is 'yes'"),
        ("[ports]\nhost = 1", "'host' is not known under"),
        ("ports = 1", "'ports' is not a table"),
        ("[ports", "config.toml: "),
    ],
)
def test_what_is_wrong_in_the_file_is_named(tmp_path: Path, text: str, what: str) -> None:
    with pytest.raises(ComposeError, match=what) as caught:
        read(tmp_path, text)
    assert caught.value.hint
