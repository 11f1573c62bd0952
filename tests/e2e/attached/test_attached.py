"""up without -d: prefixed logs, Ctrl-C, a second Ctrl-C, exit codes."""

from __future__ import annotations

import signal
import subprocess
import time

from tests.e2e.stack import Stack, alive, until


def finish(process: subprocess.Popen[str], seconds: float = 30) -> str:
    out, _ = process.communicate(timeout=seconds)
    assert "Traceback" not in out, out
    return out


def running(stack: Stack) -> set[str]:
    return {name for name, row in stack.ps().items() if row["State"] == "running"}


def test_ctrl_c_stops_the_stack_in_reverse_order(stack: Stack) -> None:
    up = stack.start("up")
    until(lambda: running(stack) == {"db-1", "web-1"}, seconds=30, every=0.1)
    time.sleep(0.3)
    up.send_signal(signal.SIGINT)
    out = finish(up)
    lines = out.splitlines()
    said = [line.split("|", 1)[1].strip() for line in lines if "|" in line]
    assert [line for line in said if "stops" in line] == ["web stops", "db stops"], out
    assert {line.split("|")[0].strip() for line in lines if "is up" in line} == {"db-1", "web-1"}, out
    assert {name: row["State"] for name, row in stack.ps().items()} == {"db-1": "exited", "web-1": "exited"}
    assert up.returncode in (0, 130)


def test_a_second_ctrl_c_kills(stack: Stack) -> None:
    up = stack.start("up", "stubborn")
    until(lambda: running(stack) == {"stubborn-1"}, seconds=30, every=0.1)
    pid = stack.pid("stubborn-1")
    time.sleep(0.3)
    up.send_signal(signal.SIGINT)
    time.sleep(1)
    assert alive(pid)
    up.send_signal(signal.SIGINT)
    finish(up, seconds=10)
    assert up.returncode != 0
    until(lambda: not alive(pid))
    until(lambda: stack.ps()["stubborn-1"]["State"] == "exited")


def test_up_ends_by_itself_when_every_service_has(stack: Stack) -> None:
    up = stack.start("up", "brief")
    out = finish(up)
    assert "brief-1  | out" in out and "brief-1  | err" in out
    assert "brief-1 exited with code 7" in out
    assert up.returncode == 0


def test_the_code_of_a_chosen_service_becomes_that_of_up(stack: Stack) -> None:
    up = stack.start("up", "--exit-code-from", "brief", "brief", "db")
    finish(up)
    assert up.returncode == 7
    assert running(stack) == set()


def test_the_terminal_that_goes_away_leaves_the_stack_as_docker_compose_does(stack: Stack) -> None:
    up = stack.start("up")
    until(lambda: running(stack) == {"db-1", "web-1"}, seconds=30, every=0.1)
    up.kill()
    up.communicate(timeout=10)
    assert running(stack) == {"db-1", "web-1"}
