"""logs: kept while the project lives, in order, followed over restarts."""

from __future__ import annotations

import re
import time

from tests.e2e.stack import Stack, until


def test_logs_of_a_finished_service_are_complete_and_in_order(stack: Stack) -> None:
    stack("up", "-d")
    until(lambda: stack.ps()["words-1"]["State"] == "exited")
    printed = stack("logs", "--no-log-prefix")
    lines = printed.stdout.splitlines()  # both streams, as docker compose prints them
    lines.remove("two")
    assert lines == ["one", "no newline", *(f"n{i}" for i in range(1, 201))]
    assert printed.stderr == ""
    assert stack("logs").stdout.splitlines()[-1] == "words-1  | n200"
    assert stack("logs", "--no-log-prefix", "--tail", "2").stdout.splitlines() == ["n199", "n200"]
    assert re.match(r"words-1  \| \d{4}-\d\d-\d\dT\S+Z one", stack("logs", "-t").stdout)


def test_follow_goes_on_over_a_restart_and_ends_when_the_service_does(stack: Stack) -> None:
    stack("up", "-d", "slow")
    follow = stack.start("logs", "-f", "--no-log-prefix", "slow")
    time.sleep(0.8)
    stack("restart", "slow")
    time.sleep(0.8)
    stack("stop", "slow")
    out, _ = follow.communicate(timeout=15)
    assert out.count("slow 1\n") == 2, out
    told = [line for line in out.splitlines() if "exited with code" in line]
    assert len(told) == 2, out
    assert [line for line in out.splitlines() if line not in told] == stack(
        "logs", "--no-log-prefix", "slow"
    ).stdout.splitlines()
