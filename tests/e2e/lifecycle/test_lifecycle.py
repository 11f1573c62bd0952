"""up, up again, a changed file, scale, stop, start, down: the states in between."""

from __future__ import annotations

import pytest

from tests.e2e.stack import Stack, alive, free_port


def test_up_twice_changes_nothing_and_says_so_in_one_line(stack: Stack) -> None:
    stack("up", "-d")
    before = stack.ids()
    pids = {name: stack.pid(name) for name in before}
    again = stack("up", "-d")
    assert set(before) == {"front-1", "back-1", "other-1"}
    assert stack.ids() == before
    assert {name: stack.pid(name) for name in before} == pids
    assert len(again.stderr.strip().splitlines()) == 1, again.stderr
    assert again.stdout == ""


def test_a_changed_service_alone_is_created_again(stack: Stack) -> None:
    stack("up", "-d")
    before = stack.ids()
    stack("up", "-d", env={"COLOUR": "blue"})
    after = stack.ids()
    assert {name for name in before if before[name] != after[name]} == {"front-1"}
    assert stack("exec", "front", "sh", "-c", "echo $COLOUR").stdout == "blue\n"


def test_force_recreate_makes_every_container_new(stack: Stack) -> None:
    stack("up", "-d")
    before = stack.ids()
    stack("up", "-d", "--force-recreate")
    after = stack.ids()
    assert not set(before.values()) & set(after.values())


def test_a_named_service_brings_what_it_depends_on_and_nothing_else(stack: Stack) -> None:
    stack("up", "-d", "front")
    assert set(stack.ps()) == {"front-1", "back-1"}


def test_no_deps_brings_the_named_service_alone(stack: Stack) -> None:
    stack("up", "-d", "--no-deps", "front")
    assert set(stack.ps()) == {"front-1"}


def test_scale_adds_and_takes_away_only_the_difference(stack: Stack) -> None:
    stack("up", "-d", "--scale", "other=3")
    three = stack.ids()
    assert {"other-1", "other-2", "other-3"} <= set(three)
    stack("up", "-d", "--scale", "other=1")
    assert stack.ids() == {name: id for name, id in three.items() if name not in {"other-2", "other-3"}}


def test_stop_and_start_keep_the_containers(stack: Stack) -> None:
    stack("up", "-d")
    before, pid = stack.ids(), stack.pid("front-1")
    stack("stop", "front")
    assert stack.ps()["front-1"]["State"] == "exited"
    assert not alive(pid)
    stack("start", "front")
    assert stack.ps()["front-1"]["State"] == "running"
    assert stack.ids() == before


def test_restart_gives_new_processes_in_the_same_containers(stack: Stack) -> None:
    stack("up", "-d")
    before, pid = stack.ids(), stack.pid("back-1")
    stack("restart", "back")
    assert stack.ids() == before
    assert stack.pid("back-1") != pid


def test_an_orphan_is_named_and_removed_when_asked(stack: Stack) -> None:
    stack("up", "-d")
    text = (stack.directory / "compose.yaml").read_text()
    start = text.index("  other:")
    stack.file(text[:start] + text[text.index("\nvolumes:") :])
    warned = stack("up", "-d")
    assert "other-1" in warned.stderr and "--remove-orphans" in warned.stderr
    assert stack("exec", "back", "true").returncode == 0
    stack("up", "-d", "--remove-orphans")
    assert "other-1" not in stack.ps()


def test_a_written_layer_survives_restart_and_a_volume_survives_down(stack: Stack) -> None:
    stack("up", "-d")
    stack("exec", "front", "sh", "-c", "echo layer > /kept; echo volume > /state/kept")
    stack("restart", "front")
    assert stack("exec", "front", "cat", "/kept", "/state/kept").stdout == "layer\nvolume\n"
    stack("down")
    stack("up", "-d")
    assert stack("exec", "front", "cat", "/state/kept").stdout == "volume\n"
    assert stack("exec", "front", "test", "-e", "/kept", check=False).returncode == 1
    stack("down", "-v")
    stack("up", "-d")
    assert stack("exec", "front", "test", "-e", "/state/kept", check=False).returncode == 1


@pytest.mark.smoke("nft")
def test_a_published_port_answers_on_every_address(stack: Stack) -> None:
    port = free_port()
    stack("up", "-d", env={"PORT": str(port)})
    assert stack.get(port) == "hello from a file\n"
    assert stack.get(port, host="[::1]") == "hello from a file\n"
    assert stack("port", "front", "80").stdout.strip() == f"0.0.0.0:{port}"
    stack("down")
    again = free_port()
    stack("up", "-d", env={"PORT": str(again)})
    assert stack.get(again) == "hello from a file\n"


def test_down_with_nothing_up_is_no_error(stack: Stack) -> None:
    assert stack("down").returncode == 0
    stack("up", "-d", "back")
    stack("down")
    assert stack.ps() == {}
    assert stack("down").returncode == 0
