"""A wheel built from this tree, installed where nothing of the tree can be seen, gives the command."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from compose.supervisor import client

REPOSITORY = Path(__file__).parents[3]


@pytest.mark.net
@pytest.mark.smoke("python3")
def test_a_built_wheel_in_a_clean_environment_gives_a_working_command(tmp_path: Path) -> None:
    python = tmp_path / "venv/bin/python"
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "venv"], check=True)
    pip = [python, "-m", "pip", "-qq", "--disable-pip-version-check"]
    subprocess.run([*pip, "wheel", "--no-deps", "-w", tmp_path / "dist", REPOSITORY], check=True)
    (wheel,) = (tmp_path / "dist").glob("pycompose-*.whl")
    subprocess.run([*pip, "install", wheel], check=True)
    (tmp_path / "compose.yaml").write_text("services: {web: {image: busybox, ports: ['80']}}\n")
    for words in (["version"], ["config"], ["--help"]):
        subprocess.run(
            [tmp_path / "venv/bin/pycompose", *words], cwd=tmp_path, check=True, capture_output=True
        )
    (tmp_path / "json.py").write_text("raise SystemExit('foreign code')\n")
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": "."}
    words = ["config", "--format", "json"]
    subprocess.run([tmp_path / "venv/bin/pycompose", *words], cwd=tmp_path, check=True, env=environment)


@pytest.fixture
def hostile(tmp_path: Path) -> Iterator[tuple[Path, dict[str, str]]]:
    """A project whose files stand in for modules of ours and of Python, and an environment for it."""
    for module in ("compose/__init__", "runtime/__init__", "json", "signal", "secrets", "sitecustomize"):
        path = tmp_path / "project" / f"{module}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"raise SystemExit('foreign code: {module}')\n")
    version = f"python{sys.version_info[0]}.{sys.version_info[1]}"
    for name in ("usercustomize.py", "foreign.pth"):
        path = tmp_path / f"home/.local/lib/{version}/site-packages" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("import os; os.write(2, b'foreign code: user site'); os._exit(3)\n")
    project = tmp_path / "project"
    (project / "compose.yaml").write_text("services: {web: {image: busybox}}\n")
    environment = {
        "PATH": os.environ["PATH"], "HOME": str(tmp_path / "home"), "PYCOMPOSE_RUN": str(tmp_path / "run"),
        "PYCOMPOSE_DATA": str(tmp_path / "data"),
    }  # fmt: skip
    yield project, environment


VARIABLES = [{}, {"PYTHONPATH": "."}, {"PYTHONHOME": "/nonexistent"}, {"PYTHONSTARTUP": "json.py"}]


@pytest.mark.parametrize("more", VARIABLES, ids=str)
def test_no_file_or_variable_of_the_caller_is_code_of_ours(
    hostile: tuple[Path, dict[str, str]], more: dict[str, str]
) -> None:
    project, environment = hostile
    command = Path(sys.executable).with_name("pycompose")
    for words in (["config", "--services"], ["config", "--services"]):  # read, and from the cache
        done = subprocess.run(
            [command, *words], cwd=project, env={**environment, **more}, capture_output=True, text=True
        )
        assert (done.stdout, done.stderr, done.returncode) == ("web\n", "", 0)


@pytest.mark.parametrize("more", VARIABLES, ids=str)
def test_no_file_or_variable_of_the_caller_is_code_of_the_supervisor(
    hostile: tuple[Path, dict[str, str]], more: dict[str, str]
) -> None:
    project, environment = hostile
    command = client.command("--pipes", "nonsense")
    done = subprocess.run(command, cwd=project, env={**environment, **more}, capture_output=True, text=True)
    assert "foreign" not in done.stdout + done.stderr
    assert "invalid literal for int()" in done.stderr or "list index" in done.stderr  # it came that far


def test_the_module_starts_itself_anew_without_the_working_directory(tmp_path: Path) -> None:
    for name in ("json", "signal", "secrets"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('foreign code')\n")
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path)}
    words = [sys.executable, "-m", "compose", "version"]
    done = subprocess.run(words, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert (done.stderr, done.returncode) == ("", 0)


def test_the_command_is_found_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "pycompose").symlink_to(Path(sys.executable).with_name("pycompose"))
    (tmp_path / "pycompose-python").write_text("#!/bin/false\n")
    done = subprocess.run([tmp_path / "pycompose", "version"], capture_output=True, text=True)
    assert (done.stderr, done.returncode) == ("", 0)
