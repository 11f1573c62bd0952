"""Restart policies: who comes back, how often, and who stays down."""

from __future__ import annotations

import time

from tests.e2e.stack import Stack, kill, until


def test_on_failure_tries_as_often_as_it_says(stack: Stack) -> None:
    stack("up", "-d", "flaky", "once")
    until(lambda: stack("logs", "--no-log-prefix", "flaky").stdout.count("start") == 3, seconds=15, every=0.2)
    time.sleep(1)
    rows = stack.ps()
    assert (rows["flaky-1"]["State"], rows["flaky-1"]["ExitCode"]) == ("exited", 5)
    assert (rows["once-1"]["State"], rows["once-1"]["ExitCode"]) == ("exited", 6)
    assert stack("logs", "--no-log-prefix", "once").stdout == "start\n"
    assert stack("logs", "--no-log-prefix", "flaky").stdout == "start\n" * 3


def test_unless_stopped_comes_back_after_a_kill_and_stays_down_after_stop(stack: Stack) -> None:
    stack("up", "-d", "stays")
    pid, id = stack.pid("stays-1"), stack.ids()["stays-1"]
    kill(pid)
    until(lambda: stack.pid("stays-1") not in (0, pid))
    assert stack.ids()["stays-1"] == id
    stack("stop", "stays")
    time.sleep(0.5)
    assert stack.ps()["stays-1"]["State"] == "exited"


def test_what_waits_for_its_restart_can_be_stopped_and_killed(stack: Stack) -> None:
    for verb in ("stop", "kill"):
        stack("up", "-d", "again")
        until(lambda: stack.ps()["again-1"]["State"] == "restarting")
        stack(verb, "again")
        time.sleep(1)
        assert stack.ps()["again-1"]["State"] == "exited"


def test_wait_does_not_take_a_crash_for_a_start(stack: Stack) -> None:
    done = stack("up", "-d", "--wait", "once", check=False)
    assert done.returncode == 1
    assert "once-1 exited (6)" in done.stderr


def test_a_signal_of_kill_that_ends_it_keeps_it_down(stack: Stack) -> None:
    for signal in ("TERM", "INT", "KILL", "USR1"):
        stack("up", "-d", "stays")
        stack("kill", "-s", signal, "stays")
        until(lambda: stack.ps()["stays-1"]["State"] == "exited")
        assert stack.supervised_facts("stays-1")["restarting"] is False


def test_pause_and_unpause_take_all_and_name_those_that_were(stack: Stack) -> None:
    stack("up", "-d", "stays", "--scale", "stays=2")
    stack("pause")
    told = stack("pause", check=False)
    assert told.returncode == 1 and told.stderr.count("is already paused") == 2
    stack("unpause")
    assert {row["State"] for row in stack.ps().values()} == {"running"}


def test_deploy_wins_over_restart(stack: Stack) -> None:
    stack.edit("on-failure:2", "always\n    deploy: {restart_policy: {condition: any, max_attempts: 1}}")
    stack("up", "-d", "flaky")
    until(lambda: stack("logs", "--no-log-prefix", "flaky").stdout.count("start") == 2, seconds=15)
    until(lambda: stack.ps()["flaky-1"]["State"] == "exited")
