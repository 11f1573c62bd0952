"""exec, run, kill, rm, top, ps: codes and states."""

from __future__ import annotations

import json
import os
import pty
import subprocess

import pytest

from tests.e2e.stack import Stack, until


@pytest.mark.parametrize(
    ("command", "code"), [("exit 0", 0), ("exit 42", 42), ("kill -9 $$", 137), ("kill -15 $$", 143)]
)
def test_exec_gives_the_code_of_its_command(stack: Stack, command: str, code: int) -> None:
    stack("up", "-d")
    assert stack("exec", "web", "sh", "-c", command, check=False).returncode == code


def test_exec_tells_a_missing_command_from_one_that_cannot_run(stack: Stack) -> None:
    stack("up", "-d")
    assert stack("exec", "web", "nowhere", check=False).returncode == 127
    assert stack("exec", "web", "/etc/passwd", check=False).returncode == 126


def test_exec_keeps_stdin_stdout_and_stderr_apart(stack: Stack) -> None:
    stack("up", "-d")
    done = stack("exec", "-T", "web", "sh", "-c", "cat; echo err >&2", stdin="in\n")
    assert (done.stdout, done.stderr) == ("in\n", "err\n")


def test_exec_has_the_environment_directory_and_user_asked_for(stack: Stack) -> None:
    stack("up", "-d")
    assert stack("exec", "web", "sh", "-c", "echo $GREETING $PWD").stdout == "hello /tmp\n"
    asked = stack(
        "exec",
        "-e",
        "GREETING=bye",
        "-w",
        "/etc",
        "-u",
        "65534",
        "web",
        "sh",
        "-c",
        "echo $GREETING $PWD; id -u",
    )
    assert asked.stdout == "bye /etc\n65534\n"


def test_exec_on_a_terminal_gives_the_command_a_terminal(stack: Stack) -> None:
    stack("up", "-d")
    master, slave = pty.openpty()
    process = subprocess.Popen(
        stack.argv("exec", "web", "sh", "-c", "tty; stty size; exit 5"),
        cwd=stack.directory,
        env=stack.environment,
        stdin=slave,
        stdout=slave,
        stderr=slave,
        start_new_session=True,
    )
    os.close(slave)
    said = b""
    while True:
        try:
            chunk = os.read(master, 4096)
        except OSError:  # EIO: the other side is closed
            break
        if not chunk:
            break
        said += chunk
    os.close(master)
    assert process.wait(10) == 5
    assert b"/dev/pts/" in said, said


def test_exec_in_a_service_that_does_not_run_or_exist_says_so(stack: Stack) -> None:
    stack("up", "-d")
    assert 'service "job" is not running' in stack("exec", "job", "true", check=False).stderr.replace(
        "'", '"'
    )
    nobody = stack("exec", "wbe", "true", check=False)
    assert nobody.returncode == 1 and "wbe" in nobody.stderr


def test_run_gives_output_and_code_and_rm_leaves_no_container(stack: Stack) -> None:
    done = stack("run", "--rm", "-T", "job", "a", "b")
    assert done.stdout == "job a b\n"
    failed = stack("run", "--rm", "-T", "--entrypoint", "sh", "job", "-c", "exit 9", check=False)
    assert failed.returncode == 9
    assert set(stack.ps()) == {"web-1"}, "the dependency runs, the one-off is gone"


def test_run_reads_stdin(stack: Stack) -> None:
    assert stack(
        "run", "--rm", "-T", "--no-deps", "--entrypoint", "cat", "job", stdin="through\n"
    ).stdout.endswith("through\n")


def test_kill_and_rm(stack: Stack) -> None:
    stack("up", "-d")
    stack("kill", "web")
    until(lambda: stack.ps()["web-1"]["State"] == "exited")
    assert stack.ps()["web-1"]["ExitCode"] == 137
    stack("rm", "-f")
    assert stack.ps() == {}


def test_top_lists_the_processes_and_ps_has_the_columns_of_docker_compose(stack: Stack) -> None:
    stack("up", "-d")
    assert "sleep 1000000" in stack("top").stdout
    assert stack("ps").stdout.splitlines()[0].split() == [
        "NAME",
        "IMAGE",
        "COMMAND",
        "SERVICE",
        "CREATED",
        "STATUS",
        "PORTS",
    ]
    assert stack("ps", "-q").stdout.strip() == stack.state("web-1")["id"]
    assert stack("ps", "--services").stdout.split() == ["web"]
    row = stack.ps()["web-1"]
    assert {
        "ID",
        "Name",
        "Image",
        "Service",
        "Project",
        "State",
        "Status",
        "Health",
        "ExitCode",
        "Publishers",
    } <= set(row)


def test_config_prints_the_model_and_version_a_number(stack: Stack) -> None:
    model = json.loads(stack("config", "--format", "json").stdout)
    assert model["services"]["web"]["environment"] == {"GREETING": "hello"}
    assert stack("config", "--services").stdout.split() == ["web"]
    assert stack("version", "--short").stdout.strip()[0].isdigit()


def test_an_unknown_flag_or_file_is_a_sentence(stack: Stack) -> None:
    assert stack("up", "--nonsense", check=False).returncode != 0
    missing = stack("-f", "nowhere.yaml", "ps", check=False)
    assert missing.returncode != 0 and "nowhere.yaml" in missing.stderr
