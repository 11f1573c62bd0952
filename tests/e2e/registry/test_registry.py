"""The whole road of an image: built, pushed to Debian's docker-registry, removed, pulled, run."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.stack import Stack

sys.path.insert(0, str(Path(__file__).parent.parent.parent / "runtime"))
from real_registry import running


@pytest.fixture
def host(tmp_path: Path, stack: Stack) -> Iterator[str]:
    with running(tmp_path / "registry") as found:
        stack.environment |= {"REGISTRY": found, "HOME": str(tmp_path)}
        yield found
        for name in ("1", "extra"):
            stack("rmi", "-f", f"{found}/shop/web:{name}", check=False)


def test_an_image_goes_to_a_registry_and_comes_back(stack: Stack, host: str) -> None:
    stack("build")
    first = stack("push").stderr
    assert f" Image {host}/shop/web:1  Pushed" in first and f" Image {host}/shop/web:extra  Pushed" in first
    assert " Service db  Skipped" in first
    assert "Layer already exists" in stack("push").stderr
    assert stack("push", "-q").stderr == ""
    stack("rmi", f"{host}/shop/web:1", f"{host}/shop/web:extra")
    said = stack("up", "-d").stderr
    assert f" Image {host}/shop/web:1  Pulled" in said and "RUN" not in said
    assert stack("exec", "web", "cat", "/page", "/made").stdout == "a page\nmade\n"
    stack("down")


def test_policies_and_flags_of_pull(stack: Stack, host: str) -> None:
    stack("build", "--push")
    stack("rmi", "-f", f"{host}/shop/web:1", f"{host}/shop/web:extra")
    refused = stack("up", "--no-start", "db", check=False, env={"POLICY": "never"})
    assert refused.returncode == 1 and "its policy forbids to get it" in refused.stderr
    left = stack("pull", "db", env={"POLICY": "never"}).stderr
    assert "Skipped Its pull policy is never" in left
    assert "Skipped Image can be built" in stack("pull", "--ignore-buildable", "web").stderr
    assert f"{host}/shop/web:1  Pulled" in stack("pull", "--include-deps", "web").stderr
    assert "Skipped Image is already present locally" in stack("pull", "--policy", "missing", "db").stderr
    assert "Pulled" not in stack("up", "--no-start", "--pull", "missing").stderr
    assert "Pulled" in stack("up", "--no-start", "--pull", "always").stderr
    assert "Pulled" not in stack("up", "--no-start", env={"POLICY": "daily"}).stderr
    assert "Pulled" in stack("up", "--no-start", env={"POLICY": "refresh"}).stderr
    stack("down")


def test_what_cannot_be_pulled_or_pushed_is_an_error_unless_ignored(stack: Stack, host: str) -> None:
    missing = stack("pull", "db", check=False)
    assert missing.returncode == 1 and f"has no image '{host}/shop/web:extra'" in missing.stderr
    assert stack("pull", "--ignore-pull-failures", "db").returncode == 0
    nothing = stack("push", "web", check=False)
    assert nothing.returncode == 1 and "build it first" in nothing.stderr
    assert stack("push", "--ignore-push-failures", "web").returncode == 0


def test_what_another_service_builds_is_built_when_it_cannot_be_pulled(stack: Stack, host: str) -> None:
    said = stack("up", "--no-start", "--no-deps", "again", "web").stderr
    assert f" Image {host}/shop/web:1  Warning" in said and "Error" not in said
    assert said.count(f" Image {host}/shop/web:1  Built") == 1
    assert len(stack("ps", "-aq").stdout.split()) == 2
    stack("down")
