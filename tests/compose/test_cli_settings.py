"""Variables of the command line from env files."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from compose.cli.settings import from_env_files

REPOSITORY = Path(__file__).parents[2]


def test_compose_variables_of_dotenv_count_and_others_do_not(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("A=1\nCOMPOSE_ANSI=never\nCOMPOSE_PROFILES=${A}\nCOMPOSE_FILE=x\n")
    found = from_env_files({}, {"COMPOSE_FILE": "shell"}, str(tmp_path))
    assert found == {"COMPOSE_ANSI": "never", "COMPOSE_PROFILES": "1"}


def test_env_files_take_the_place_of_dotenv(tmp_path: Path) -> None:
    for name in (".env", "a", "b"):
        (tmp_path / name).write_text(f"COMPOSE_PROGRESS={name}\n")
    assert from_env_files({"env_file": ("a", "b")}, {}, str(tmp_path)) == {"COMPOSE_PROGRESS": "b"}
    assert from_env_files({}, {"COMPOSE_ENV_FILES": "b,a"}, str(tmp_path)) == {"COMPOSE_PROGRESS": "a"}
    assert from_env_files({}, {"COMPOSE_DISABLE_ENV_FILE": "1"}, str(tmp_path)) == {}
    assert from_env_files({"project_directory": "none"}, {}, str(tmp_path)) == {}


@pytest.mark.parametrize("content", [b"\xff\xfe\x00", b"COMPOSE_ANSI='open\n"])
def test_a_broken_file_is_left_to_the_loader(tmp_path: Path, content: bytes) -> None:
    (tmp_path / ".env").write_bytes(content)
    assert from_env_files({}, {}, str(tmp_path)) == {}


def test_dotenv_steers_the_command(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("COMPOSE_FILE=a.yaml:b.yaml\nCOMPOSE_PROGRESS=odd\n")
    for name in ("a", "b"):
        (tmp_path / f"{name}.yaml").write_text(f"services: {{{name}: {{image: x}}}}\n")
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(REPOSITORY), "HOME": str(tmp_path)}
    environment["PYCOMPOSE_DATA"] = str(tmp_path / "data")

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "compose", *words, "config", "--services"]
        return subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        )

    assert "unsupported progress type 'odd'" in run().stderr
    assert run("--progress", "plain").stdout == "a\nb\n"
