"""What scripts do with commands: background jobs, closed streams, pipes, old and new global flags."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess

import pytest

from tests.e2e.stack import Stack, until


def shell(stack: Stack, script: str) -> subprocess.CompletedProcess[str]:
    """Run ``script`` with $C as the command."""
    environment = {**stack.environment, "C": shlex.join(stack.argv())}
    return subprocess.run(
        ["sh", "-c", script],
        cwd=stack.directory,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_sigint_ends_a_background_job_that_a_shell_started_with_it_ignored(stack: Stack) -> None:
    script = (
        '$C up >/dev/null 2>&1 & p=$!; while [ -z "$($C ps -q)" ]; do sleep 0.1; done; '
        "sleep 1; kill -INT $p; wait $p"
    )
    assert shell(stack, script).returncode == 130
    assert stack.ps()["web-1"]["State"] == "exited"


@pytest.mark.parametrize("closed", [">&-", "<&-", ">&- 2>&- <&-"])
def test_closed_streams_are_the_null_device(stack: Stack, closed: str) -> None:
    for command in (
        "config -q",
        "up -d",
        "ps",
        "exec -T web true",
        "exec -T web cat",
        "run --rm -T web true",
    ):
        done = shell(stack, f"$C {command} {closed}" + ("" if "<&-" in closed else " </dev/null"))
        assert done.returncode == 0, f"{command} {closed}: {done.stderr}"


def test_an_answer_comes_from_a_pipe(stack: Stack) -> None:
    stack("create")
    assert shell(stack, "echo n | $C rm; yes | $C rm").returncode == 0
    assert stack.ps() == {}


def test_variables_and_global_flags_mean_what_they_mean_to_docker_compose(stack: Stack) -> None:
    stack("up", "-d")
    assert "Started" in stack("restart", "-t", "0", env={"COMPOSE_STATUS_STDOUT": "1"}).stdout
    assert "\033[" in stack("--ansi", "always", "restart", "-t", "0").stderr
    assert stack("ps", env={"COMPOSE_PARALLEL_LIMIT": "bad"}, check=False).returncode == 1
    stack("down", "-t", "0")
    for flag in ("--verbose", "--no-ansi", "--all-resources", "--workdir=."):
        stack(flag, "config", "-q")
    stack("up", "-d", env={"COMPOSE_COMPATIBILITY": "true"})
    assert stack("ps", "--format", "{{.Name}}").stdout == f"{stack.name}_web_1\n"


def test_a_terminating_signal_reaches_a_run_without_a_terminal(stack: Stack) -> None:
    run = stack.start("run", "--rm", "-T", "web", "sleep", "1000")
    until(lambda: stack.ps())
    os.kill(run.pid, signal.SIGTERM)
    run.communicate(timeout=30)
    assert run.returncode in (143, 130)
