"""What the records alone tell about a project, and which services a verb means."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from compose.cli.scope import Identity, working_directory
from compose.cli.stored import dependencies, model, sorted_services


def test_depends_on_comes_back_from_its_label() -> None:
    text = "db:service_healthy:true,gone:service_started:false,cache"
    assert dependencies(text, {"db", "cache"}) == {
        "db": {"condition": "service_healthy", "restart": True, "required": True},
        "cache": {"condition": "service_started", "restart": False, "required": True},
    }
    assert dependencies("", {"db"}) == {}


def test_the_services_of_a_recorded_project_are_those_that_have_a_container() -> None:
    last = {
        "name": "shop",
        "services": {"web": {"image": "w", "depends_on": {"db": {}}}, "never": {"image": "n"}},
        "networks": {"default": {"name": "shop_default"}},
        "x-pycompose": {"order": ["never", "web"], "disabled": ["db"], "working_dir": "/w"},
    }
    made = model("shop", last, {"web": "db:service_started:false", "db": ""})
    assert made["services"]["web"]["image"] == "w"
    assert set(made["services"]["web"]["depends_on"]) == {"db"}
    assert set(made["services"]) == {"web", "db"}
    assert made["networks"] == last["networks"]
    assert made["x-pycompose"] == {"order": ["web", "db"], "disabled": [], "working_dir": "/w"}


def test_recorded_services_stand_behind_what_they_wait_for() -> None:
    assert sorted_services(["web", "db"], [("web", "db")]) == ("db", "web")
    assert sorted_services(["a", "b"], [("a", "b"), ("b", "a")]) == ("a", "b")


@pytest.mark.parametrize(
    ("identity", "named", "meant"),
    [
        (Identity("p", ["web"], ["debug"], from_file=True), (), ["web"]),
        (Identity("p", ["web"], ["debug"], from_file=True), ("debug",), ["debug"]),
        (Identity("p"), (), ["web", "debug", "orphan"]),
        (Identity("p"), ("orphan",), ["orphan"]),
    ],
)
def test_without_a_name_the_active_services_are_meant(
    identity: Identity, named: tuple[str, ...], meant: list[str]
) -> None:
    assert [name for name in ("web", "debug", "orphan") if identity.acts_on(name, named)] == meant


def test_the_working_directory_is_the_one_the_caller_sees(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "42").mkdir()
    link = tmp_path / "current"
    link.symlink_to("42")
    monkeypatch.chdir(link)
    monkeypatch.setenv("PWD", str(link))
    assert working_directory() == str(link)
    for other in (str(tmp_path), "current", "/nowhere", ""):
        monkeypatch.setenv("PWD", other)
        assert working_directory() == os.path.realpath(link)
