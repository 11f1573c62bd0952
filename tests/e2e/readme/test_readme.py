"""What the README promises on its first screen, done in a fresh clone as a newcomer does it."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.e2e.stack import Stack, fetch, free_port
from tests.support.programs import program

REPOSITORY = Path(__file__).parents[3]


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A clone of HEAD, without anything that was not committed."""
    target = tmp_path / "clone"
    quiet = ["git", "-c", "safe.directory=*", "-c", "advice.detachedHead=false"]
    subprocess.run([*quiet, "clone", "--quiet", str(REPOSITORY), str(target)], check=True)
    return target


@pytest.fixture
def example(clone: Path, home: Path, clean: None) -> Iterator[Stack]:
    name = f"web-postgres-{os.getpid()}"
    stack = Stack(clone / "examples/web-postgres", name, home / "run", (home / "data").resolve())
    stack.environment["WEB_PORT"] = str(free_port())
    stack.argv = lambda *words: [str(clone / ".venv/bin/pycompose"), *words]  # type: ignore[method-assign]
    yield stack
    stack.close()


def visits(page: str) -> int:
    found = re.search(r"visit number (\d+), counted by PostgreSQL 15", page)
    assert found, page
    return int(found[1])


@pytest.mark.net
def test_the_first_command_of_the_readme_serves_a_page_out_of_postgres(clone: Path, example: Stack) -> None:
    page = f"http://127.0.0.1:{(port := int(example.environment['WEB_PORT']))}/"
    environment = {**example.environment, "PATH": os.environ["PATH"].rpartition(":")[2]}

    run = subprocess.run(
        [clone / "examples/web-postgres/run"], env=environment, capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stdout + run.stderr
    assert "visit number 1, counted by PostgreSQL 15" in run.stdout
    assert (clone / "examples/web-postgres/.env").exists()
    assert {row["Health"] for row in example.ps().values()} == {"healthy"}

    # From the outside: every address of this host, IPv6 included.
    assert visits(fetch(page)) == 2
    assert visits(fetch(f"http://[::1]:{port}/")) == 3
    assert "This row was written by initdb" in fetch(page)

    # Written, taken down, brought up, read again.
    assert "a note to keep" in fetch(f"{page}notes", data=b"text=a+note+to+keep")
    example("down")
    assert example.ps() == {}
    with pytest.raises(OSError):
        fetch(page)
    example("up", "-d", "--wait")
    assert "a note to keep" in fetch(page)
    assert visits(fetch(page)) == 7

    # Again: nothing changes. The data is there until it is asked to go.
    before = example.ids()
    again = example("up", "-d", "--wait")
    assert example.ids() == before
    assert len(again.stderr.strip().splitlines()) == 1, again.stderr
    example("down", "-v")
    assert not list((example.data / "volumes").glob(f"{example.name}*"))
    assert example("images", "-q").stdout == "", "images of no running container"


def test_without_apt_a_missing_venv_module_is_named_exactly(clone: Path, tmp_path: Path) -> None:
    fake = tmp_path / "bin"
    fake.mkdir()
    python = fake / "python3"
    real = Path("/proc/self/exe").readlink()
    python.write_text(f'#!/bin/sh\ncase "$*" in *ensurepip*) exit 1;; esac\nexec {real} "$@"\n')
    python.chmod(0o755)
    without_apt = tmp_path / "programs"
    shutil.copytree(os.environ["PATH"].rpartition(":")[2], without_apt, symlinks=True)
    (without_apt / "apt-get").unlink(missing_ok=True)
    run = subprocess.run(
        [clone / "examples/web-postgres/run"],
        env={"PATH": f"{fake}:{without_apt}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 1
    assert run.stderr.splitlines()[-1].strip() == "apt-get install python3-venv"
    assert not (clone / ".venv").exists()


def test_docker_compose_reads_the_example_the_same(make_stack: Callable[[Path], Stack]) -> None:
    """Nothing in the example is special to us."""
    binary = program("docker-compose")
    stack = make_stack(REPOSITORY / "examples/web-postgres")
    (stack.directory / ".env").write_text((stack.directory / ".env.example").read_text())
    theirs = subprocess.run(
        [binary, "config", "--format", "json"],
        cwd=stack.directory,
        env=stack.environment,
        capture_output=True,
        check=True,
    )
    assert json.loads(stack("config", "--format", "json").stdout) == json.loads(theirs.stdout)
