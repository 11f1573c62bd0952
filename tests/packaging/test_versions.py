"""The versions that pyproject.toml allows and the ones that .ci/requirements*.txt pin."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

REPOSITORY = Path(__file__).parents[2]
PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())
BUILD = [Requirement(text) for text in PROJECT["build-system"]["requires"]]
RUNTIME = [Requirement(text) for text in PROJECT["project"]["dependencies"]]
DEV = [Requirement(text) for text in PROJECT["project"]["optional-dependencies"]["dev"]]
LOCKS = {"requirements.txt": BUILD + RUNTIME, "requirements-dev.txt": BUILD + RUNTIME + DEV}
PYTHONS = ("3.11.2", "3.12.1", "3.13.5")
# Tests of the product that need no privileges; between them they use every dependency.
CHOSEN = (
    "tests/compose/load/test_corpus.py",
    "tests/compose/load/test_parse.py",
    "tests/compose/test_cli_main.py",
    "tests/compose/test_cli_graph.py",
    "tests/compose/test_cli_parse.py",
    "tests/compose/test_graph.py",
    "tests/runtime/test_image_layer.py",
    "tests/runtime/test_store.py",
)
IMPORT_ALL = """
import importlib, pkgutil
for name in ("compose", "runtime", "netns", "schemas"):
    for found in pkgutil.walk_packages(importlib.import_module(name).__path__, name + "."):
        if not found.name.endswith("__main__"):
            importlib.import_module(found.name)
"""


def name_of(text: str) -> str:
    return re.sub(r"[-_.]+", "-", text).lower()


def pins(lock: str) -> list[tuple[Requirement, list[str]]]:
    """Every requirement of a lock file with its digests."""
    text = (REPOSITORY / ".ci" / lock).read_text().replace("\\\n", " ")
    found = []
    for line in text.splitlines():
        if line and not line.startswith("#"):
            words, *digests = re.split(r"\s+--hash=", line.strip())
            found.append((Requirement(words), digests))
    return found


def lowest(requirement: Requirement) -> str:
    """The lowest version that a requirement allows, as a constraint of pip."""
    (bound,) = [one for one in requirement.specifier if one.operator == ">="]
    marker = f" ; {requirement.marker}" if requirement.marker else ""
    return f"{requirement.name}=={bound.version}{marker}"


@pytest.mark.parametrize("lock", LOCKS)
@pytest.mark.parametrize("python", PYTHONS)
def test_the_lock_has_one_allowed_version_of_everything(lock: str, python: str) -> None:
    """A bound that was raised or a dependency that was added needs ``.ci/lock``."""
    at = {"python_full_version": python, "python_version": python.rpartition(".")[0]}
    chosen: dict[str, Version] = {}
    for pin, digests in pins(lock):
        assert digests and all(digest.startswith("sha256:") for digest in digests), pin
        if pin.marker is None or pin.marker.evaluate(at):
            assert name_of(pin.name) not in chosen, f"{pin.name} twice"
            (one,) = pin.specifier
            chosen[name_of(pin.name)] = Version(one.version)
    for wanted in LOCKS[lock]:
        if wanted.marker is None or wanted.marker.evaluate(at):
            assert name_of(wanted.name) in chosen, f"{wanted} is not locked"
            assert chosen[name_of(wanted.name)] in wanted.specifier, wanted


def test_the_locks_agree() -> None:
    every = {str(pin) for pin, _ in pins("requirements-dev.txt")}
    assert {str(pin) for pin, _ in pins("requirements.txt")} <= every


def test_dependencies_have_a_lower_bound_and_no_upper_one() -> None:
    """``pip install .`` stays open: the lock is for this clone, not for who installs the package."""
    for requirement in RUNTIME + DEV:
        assert [one.operator for one in requirement.specifier] == [">="], requirement


@pytest.mark.net
@pytest.mark.slow
def test_the_lowest_versions_that_are_allowed_run_the_product(tmp_path: Path) -> None:
    python = tmp_path / "venv/bin/python"
    constraints = tmp_path / "lowest.txt"
    constraints.write_text("\n".join(map(lowest, RUNTIME + DEV)) + "\n")
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "venv"], check=True)
    pip = [python, "-m", "pip", "-qq", "--disable-pip-version-check", "install"]
    subprocess.run([*pip, "--constraint", constraints, f"{REPOSITORY}[dev]"], check=True)
    frozen = subprocess.run(
        [python, "-m", "pip", "freeze"], capture_output=True, text=True, check=True
    ).stdout
    here = {name_of(line.partition("==")[0]): line.partition("==")[2] for line in frozen.splitlines()}
    for requirement in RUNTIME + DEV:
        if requirement.marker is None or requirement.marker.evaluate():
            wanted = lowest(requirement).partition("==")[2].partition(" ")[0]
            assert Version(here[name_of(requirement.name)]) == Version(wanted), requirement

    # What is installed is run, not this tree: the clone's packages are on no path of the interpreter.
    environment = {**os.environ, "PATH": f"{python.parent}:{os.environ['PATH']}", "PYTHONSAFEPATH": "1"}
    subprocess.run([python, "-c", IMPORT_ALL], cwd=tmp_path, env=environment, check=True)
    example = REPOSITORY / "examples/web-postgres"
    for words in (
        ["version"],
        ["--help"],
        ["up", "--help"],
        ["schema"],
        ["graph", "--format", "svg"],
        ["config"],
    ):
        command = [python.with_name("pycompose"), "--env-file", ".env.example", *words]
        done = subprocess.run(
            command, cwd=example, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{words}: {done.stdout}{done.stderr}"
    command = [python, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--basetemp={tmp_path}/t", *CHOSEN]
    done = subprocess.run(
        command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
