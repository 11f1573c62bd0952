"""What goes wrong before anything is started: every fault with its place and a next step."""

from __future__ import annotations

import subprocess

from tests.e2e.stack import Stack


def test_required_variables_are_reported_together_with_the_copy_that_sets_them(stack: Stack) -> None:
    refused = stack("up", "-d", check=False)
    assert refused.returncode != 0
    assert "FIRST_PASSWORD" in refused.stderr and "compose.yaml:7" in refused.stderr
    assert "SECOND_PASSWORD" in refused.stderr and "compose.yaml:8" in refused.stderr
    assert "the second one is needed" in refused.stderr
    assert refused.stderr.count("cp .env.example .env") == 1
    subprocess.run("cp .env.example .env", shell=True, cwd=stack.directory, check=True)
    stack("up", "-d")
    assert stack("exec", "web", "sh", "-c", "echo $A $B").stdout == "a b\n"


def test_an_undefined_dependency_has_a_line_and_a_suggestion(stack: Stack) -> None:
    stack.edit("depends_on: [db]", "depends_on: [dbs]")
    refused = stack("config", "-q", check=False, env={"FIRST_PASSWORD": "a", "SECOND_PASSWORD": "b"})
    assert refused.returncode != 0
    assert "compose.yaml:9" in refused.stderr and "'db'" in refused.stderr


def test_a_yaml_fault_has_a_line(stack: Stack) -> None:
    stack.file("services:\n  web:\n    image: [\n")
    refused = stack("up", "-d", check=False)
    assert refused.returncode != 0 and "compose.yaml:" in refused.stderr


def test_no_file_at_all_says_what_was_looked_for(stack: Stack) -> None:
    (stack.directory / "compose.yaml").unlink()
    refused = stack("up", "-d", check=False)
    assert refused.returncode != 0 and "compose.yaml" in refused.stderr


def test_a_command_that_does_not_exist_in_the_image_is_named(stack: Stack) -> None:
    stack.environment.update(FIRST_PASSWORD="a", SECOND_PASSWORD="b")
    stack.edit("command: sleep 1000000", "command: nowhere-to-be-found")
    refused = stack("up", "-d", check=False)
    assert refused.returncode != 0 and "nowhere-to-be-found" in refused.stderr
