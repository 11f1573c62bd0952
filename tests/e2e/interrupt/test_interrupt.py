"""A command that is given up at any moment leaves a project that the next command handles."""

from __future__ import annotations

import signal
import time

import pytest

from tests.e2e.stack import Stack


def running(stack: Stack) -> set[str]:
    return {name for name, row in stack.ps().items() if row["State"] == "running"}


def given_up(stack: Stack, after: float, signum: int, *words: str) -> str:
    """Start a command, send it ``signum`` ``after`` seconds, give what it said."""
    process = stack.start(*words)
    time.sleep(after)
    process.send_signal(signum)
    out, _ = process.communicate(timeout=60)
    return out


# 0.1 s is about the time Python needs before a line of ours runs, 0.5 s the end of ``up``
@pytest.mark.parametrize("after", [0.12, 0.16, 0.2, 0.24, 0.28, 0.32, 0.4, 0.5])
def test_ctrl_c_at_any_moment_of_up_leaves_nothing_running(stack: Stack, after: float) -> None:
    out = given_up(stack, after, signal.SIGINT, "up")
    assert "Traceback" not in out
    assert running(stack) == set(), out
    stack("down", "-t", "0")
    assert stack.ps() == {}


@pytest.mark.parametrize("after", [0.12, 0.18, 0.22, 0.26, 0.3, 0.4])
def test_up_killed_at_any_moment_is_finished_by_the_next_up(stack: Stack, after: float) -> None:
    given_up(stack, after, signal.SIGKILL, "up", "-d")
    stack("up", "-d", "-t", "0")
    assert running(stack) == {"db-1", "web-1", "aside-1"}


@pytest.mark.parametrize("round", range(6))
def test_a_service_that_ends_while_others_still_start_stops_all_that_are_named(
    stack: Stack, round: int
) -> None:
    up = stack.start("up", "-t", "0", "--exit-code-from", "brief", "brief", "web", "aside")
    up.communicate(timeout=60)
    assert up.returncode == 7
    assert running(stack) <= {"db-1"}  # which nobody named: it may have been there for others


def test_two_terminals_that_say_up_and_down_at_once_get_answers(stack: Stack) -> None:
    """Whoever comes while a supervisor ends is served by the next one."""
    for _ in range(4):
        stack("up", "-d")
        down, up = stack.start("down", "-t", "0"), stack.start("up", "-d")
        for process in (down, up):
            out, _ = process.communicate(timeout=60)
            assert "Traceback" not in out
            assert "supervisor" not in out, out


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_a_build_that_is_ended_leaves_nothing(stack: Stack, signum: int) -> None:
    """Killed outright it leaves a bridge to the next ``down`` of anybody."""
    inline = "FROM busybox\\nRUN echo begun && sleep 1000"
    stack.file(f'services: {{made: {{build: {{dockerfile_inline: "{inline}"}}}}}}', "build.yaml")
    process = stack.start("-f", "build.yaml", "build", "--progress", "plain")
    assert process.stdout is not None
    said = ""
    while "] begun" not in said:
        line = process.stdout.readline()
        assert line, said
        said += line
    process.send_signal(signum)
    out, _ = process.communicate(timeout=60)
    assert "Traceback" not in out
    assert process.returncode == (-signal.SIGKILL if signum == signal.SIGKILL else 130)
    if signum == signal.SIGKILL:
        stack("up", "-d")
        stack("down")
