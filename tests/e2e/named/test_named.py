"""A project that is named can be looked at and ended from anywhere, whatever has become of its file."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e.stack import Stack


def states(stack: Stack) -> dict[str, str]:
    return {name: row["State"] for name, row in stack.ps("-a").items()}


@pytest.mark.parametrize("there", ["another project", "a broken file", "nothing"])
def test_its_name_is_enough(stack: Stack, tmp_path: Path, there: str) -> None:
    stack("up", "-d")
    stack.environment.pop("COMPOSE_PROJECT_NAME")
    named = ("-p", stack.name)
    elsewhere = stack.directory = tmp_path / "elsewhere"
    elsewhere.mkdir()
    if there != "nothing":
        text = "services: {zz: {image: busybox}}" if there == "another project" else "services: [${X:?}]"
        stack.file(text)
    assert stack(*named, "ps", "--services").stdout.split() == ["db", "web"]
    stack(*named, "stop")
    assert stack(*named, "ps", "-q").stdout == ""
    stack(*named, "start")
    stack(*named, "restart", "web")
    assert stack(*named, "ps", "--services").stdout.split() == ["db", "web"]
    stack(*named, "down")
    assert stack(*named, "ps", "-aq").stdout == ""


def test_a_missing_env_file_or_a_variable_that_names_it_is_enough_to_stop(stack: Stack) -> None:
    stack("up", "-d")
    stack.edit("    depends_on: [db]", "    env_file: gone.env")
    stack("stop", "web")
    stack.edit("    env_file", "    env_fil")
    told = stack("down").stderr
    assert f"cannot use the files of project '{stack.name}' and uses its records" in told
    assert stack("ps", "-aq").stdout == ""


def test_services_of_an_inactive_profile_are_left_alone(stack: Stack) -> None:
    stack("--profile", "debug", "up", "-d")
    for verb in ("pause", "unpause", "kill", "restart", "stop"):
        stack(verb)
        assert states(stack)["debug-1"] == "running", verb
    stack("rm", "-f")
    assert states(stack) == {"debug-1": "running"}
    stack("stop", "debug")
    assert states(stack) == {"debug-1": "exited"}


def test_a_directory_that_is_a_link_gives_its_own_name(stack: Stack, tmp_path: Path) -> None:
    link = tmp_path / "current"
    link.symlink_to(stack.directory)
    stack.environment.pop("COMPOSE_PROJECT_NAME")
    stack.directory = link
    assert "name: current" in stack("config", env={"PWD": str(link)}).stdout
