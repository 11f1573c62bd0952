"""What is accepted and has no effect is named once; ``--strict`` refuses it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from compose.load.project import LoadRequest, load

REPOSITORY = Path(__file__).parents[3]
FILE = """\
services:
  a: {image: x, isolation: default, runtime: runc, userns_mode: host}
  b: {image: x, isolation: default, deploy: {placement: {constraints: [a]}}}
"""


def test_each_attribute_is_named_once_with_its_first_place(tmp_path: Path) -> None:
    (tmp_path / "compose.yaml").write_text(FILE)
    for _ in range(2):  # the second time from the cache
        loaded = load(LoadRequest(cwd=str(tmp_path)), store=tmp_path / "store")
        first, second = loaded.warnings
        place, _, told = first.partition(": ")
        assert place == "compose.yaml:3:46"
        assert told == "services.b.deploy.placement: 'deploy.placement' has no effect here: it is for swarm"
        assert second.startswith(
            "compose.yaml:2:17: services.a.isolation: 'isolation' has no effect here (and in 1"
        )


def test_strict_makes_them_fatal(tmp_path: Path) -> None:
    (tmp_path / "compose.yaml").write_text(FILE)
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(REPOSITORY),
        "PYCOMPOSE_DATA": str(tmp_path / "data"),
    }
    for flags, code in ((["--strict"], 1), ([], 0), (["--strict"], 1)):
        words = [sys.executable, "-m", "compose", *flags, "config", "-q"]
        done = subprocess.run(
            words, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == code
        assert done.stderr.count("'isolation' has no effect here") == 1
