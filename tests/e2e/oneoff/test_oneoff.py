"""Containers of ``run``: what their flags mean, how they are left and found again."""

from __future__ import annotations

import os
import pty
import shutil
import struct
import termios
import time
from fcntl import ioctl
from pathlib import Path

import pytest

from tests.e2e.stack import Stack, until


class Terminal:
    """A command of the stack on a pseudo terminal of 7 rows and 61 columns."""

    def __init__(self, stack: Stack, *words: str) -> None:
        self.pid, self.master = pty.fork()
        if self.pid == 0:
            ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", 7, 61, 0, 0))
            os.chdir(stack.directory)
            os.execve(stack.argv()[0], stack.argv(*words), stack.environment)

    def until(self, text: str, seconds: float = 30) -> str:
        """Read until ``text`` has come."""
        seen, end = "", time.monotonic() + seconds
        while text not in seen:
            assert time.monotonic() < end, seen
            seen += os.read(self.master, 4096).decode()
        return seen

    def type(self, text: str) -> None:
        os.write(self.master, text.encode())

    def code(self) -> int:
        """Read to the end; the exit code."""
        try:
            while os.read(self.master, 4096):
                pass
        except OSError:
            pass
        os.close(self.master)
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])


def test_an_empty_entrypoint_takes_that_of_the_service_away(stack: Stack) -> None:
    assert stack("run", "--rm", "tool").stdout == "tool default\n"
    assert stack("run", "--rm", "--entrypoint", "", "tool", "echo", "plain").stdout == "plain\n"
    assert stack("run", "--rm", "--entrypoint=", "tool", "sh", "-c", "echo x").stdout == "x\n"


def test_a_detached_container_is_removed_when_it_ends_also_after_its_supervisor_died(stack: Stack) -> None:
    stack("run", "-d", "--rm", "box", "true")
    until(lambda: not stack.ps())
    stack("run", "-d", "--rm", "--name", f"{stack.name}-kept", "box", "sleep", "2")
    os.kill(stack.supervisor(), 9)
    until(lambda: not stack.ps(), seconds=20)


def test_a_name_is_taken_once(stack: Stack, tmp_path: Path) -> None:
    stack("up", "-d", "box")
    for name in (f"{stack.name}-box-1", "a b", "x"):
        refused = stack("run", "--rm", "--name", name, "box", "true", check=False)
        assert refused.returncode == 1, name
    assert "already in use" in stack("run", "--name", f"{stack.name}-box-1", "box", check=False).stderr
    assert set(stack.ps()) == {"box-1"}
    stack.file(
        f"services: {{box: {{image: busybox, command: sleep 9, container_name: {stack.name}-box-1}}}}",
        "other.yaml",
    )
    refused = stack("-p", f"{stack.name}o", "-f", "other.yaml", "up", "-d", check=False)
    assert refused.returncode == 1
    assert "already in use" in refused.stderr and "other.yaml:1" in refused.stderr
    stack("-p", f"{stack.name}o", "down")


@pytest.mark.parametrize("declared", ["data", "other"])
def test_a_volume_is_named_as_for_docker_run(stack: Stack, declared: str) -> None:
    name = f"{stack.name}{declared}"
    stack.edit("data: {}", f"data: {{}}\n  {stack.name}data: {{}}")
    try:
        stack("run", "--rm", "-v", f"{name}:/v", "box", "sh", "-c", "echo kept > /v/f")
        assert stack("run", "--rm", "-v", f"{name}:/v", "box", "cat", "/v/f").stdout == "kept\n"
        assert (stack.data / "volumes" / name / "_data" / "f").read_text() == "kept\n"
    finally:
        shutil.rmtree(stack.data / "volumes" / name)


def test_a_variable_without_a_value_takes_that_of_the_env_files(stack: Stack) -> None:
    stack.file("GIVEN=by .env\n", ".env")
    words = ("run", "--rm", "-e", "GIVEN", "-e", "MISSING", "box", "env")
    assert "GIVEN=by .env\n" in stack(*words).stdout
    assert "MISSING" not in stack(*words).stdout
    assert "GIVEN=by shell\n" in stack(*words, env={"GIVEN": "by shell"}).stdout


def test_exec_and_port_reach_the_container_of_run(stack: Stack) -> None:
    stack("run", "-d", "--service-ports", "box", "sleep", "1000")
    assert stack("exec", "box", "echo", "in").stdout == "in\n"
    assert stack("port", "box", "80").stdout.startswith("127.0.0.1:")


def test_the_keys_leave_a_terminal_and_the_command_runs_on(stack: Stack) -> None:
    name = f"{stack.name}-left"
    run = Terminal(stack, "run", "--rm", "--name", name, "box", "sh", "-c", "stty size; exec cat")
    assert "7 61" in run.until("7 61")
    run.type("\x10\x11")
    assert run.code() == 0
    assert stack.ps()["left"]["State"] == "running"
    inside = Terminal(stack, "exec", "box", "sh", "-c", "stty size; read x; touch /left; sleep 1000")
    inside.until("7 61")
    inside.type("\n\x10\x11")
    assert inside.code() == 1
    until(lambda: stack("exec", "box", "test", "-e", "/left", check=False).returncode == 0)
    stack("kill", "box")
    until(lambda: not stack.ps())
