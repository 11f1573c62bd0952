"""A wheel built from this tree, installed where nothing of the tree can be seen, gives the command."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).parents[3]


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
