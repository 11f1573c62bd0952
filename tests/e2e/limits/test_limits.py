"""What cgroups enforce, and how it is told."""

from __future__ import annotations

from tests.e2e.stack import Stack, until


def test_a_process_that_its_memory_limit_killed_is_reported_as_such(stack: Stack) -> None:
    stack("up", "-d")
    until(lambda: stack.ps()["glutton-1"]["State"] == "exited", seconds=20)
    assert stack.ps()["glutton-1"]["ExitCode"] == 137
    record = stack.exit_record("glutton-1")
    assert record["oom"] is True
    assert "32" in record["reason"] and "memory" in record["reason"]
    assert "memory" in stack("ps", "-a").stdout.lower()


def test_the_limits_hold_inside(stack: Stack) -> None:
    stack("up", "-d", "bounded")
    spawned = stack("exec", "bounded", "sh", "-c", "for i in $(seq 60); do sleep 3 & done; wait", check=False)
    assert "can't fork" in spawned.stderr
    stack("up", "-d", "bounded")
