"""Conditions of depends_on, and --wait."""

from __future__ import annotations

from tests.e2e.stack import Stack, until


def test_each_waits_for_its_condition_and_a_long_interval_holds_nobody_up(stack: Stack) -> None:
    stack("up", "-d", "--wait", "middle", "last")
    rows = stack.ps()
    assert rows["middle-1"]["Health"] == "healthy"
    assert rows["last-1"]["State"] == "running"
    assert (rows["job-1"]["State"], rows["job-1"]["ExitCode"]) == ("exited", 0)


def test_a_job_that_fails_stops_those_who_wait_for_it(stack: Stack) -> None:
    failed = stack("up", "-d", env={"CODE": "4"}, check=False)
    assert failed.returncode == 1
    assert "job" in failed.stderr and "4" in failed.stderr
    assert [name for name, row in stack.ps().items() if row["State"] == "running"] == []


def test_wait_fails_when_a_service_turns_unhealthy(stack: Stack) -> None:
    failed = stack("up", "-d", "--wait", "never", check=False)
    assert failed.returncode == 1
    assert "unhealthy" in failed.stderr
    until(lambda: stack.ps()["never-1"]["Health"] == "unhealthy")


def test_wait_timeout_is_kept(stack: Stack) -> None:
    stack.edit("interval: 200ms", "interval: 60s\n      start_period: 60s")
    failed = stack("up", "-d", "--wait", "--wait-timeout", "1", "never", check=False)
    assert failed.returncode == 1
