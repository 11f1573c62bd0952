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


def test_a_named_job_ends_up_and_leaves_its_dependency(stack: Stack) -> None:
    assert "job-1 exited with code 3" in finish(up := stack.start("up", "job"))
    assert up.returncode == 0
    assert running(stack) == {"db-1"}
    finish(up := stack.start("up", "--abort-on-container-exit", "job"))
    assert up.returncode == 3
    assert running(stack) == {"db-1"}


def test_ctrl_c_stops_the_named_services_only(stack: Stack) -> None:
    stack("up", "-d")
    up = stack.start("up", "web")
    assert up.stdout is not None
    assert "Attaching to web-1" in up.stdout.readline()
    up.send_signal(signal.SIGINT)
    finish(up)
    assert running(stack) == {"db-1"}


def test_it_stays_over_a_restart_and_a_new_container_and_shows_new_replicas(stack: Stack) -> None:
    stack("up", "-d")
    up = stack.start("up", "web")
    assert up.stdout is not None
    assert "Attaching to web-1" in up.stdout.readline()
    stack("restart", "-t", "5", "web")
    stack("up", "-d", "--force-recreate", "--scale", "web=2", "web")
    assert up.poll() is None
    stack("stop", "web")
    lines = finish(up).splitlines()
    said = [line.split("|", 1) for line in lines if "is up" in line]
    assert [who.strip() for who, _ in said].count("web-1") == 2, lines
    assert [who.strip() for who, _ in said].count("web-2") == 1, lines
    assert up.returncode == 0


def test_logs_that_follow_say_how_a_container_ended(stack: Stack) -> None:
    stack("up", "-d", "web")
    logs = stack.start("logs", "-f", "web")
    assert logs.stdout is not None
    assert "web is up" in logs.stdout.readline()
    stack("stop", "web")
    assert "web-1 exited with code 0" in finish(logs)
