"""Odd lines of env files: each text of ``dotenv.json`` with what becomes of it in four places that read one.

null is a refusal. Where PYCOMPOSE_ORACLE names a docker-compose binary, it has to say the same.
"""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from test_corpus import ORACLE

from compose.errors import ComposeError
from compose.load.canonical import printed
from compose.load.project import LoadRequest, load

CASES: list[dict[str, Any]] = json.loads((Path(__file__).parent / "dotenv.json").read_text())
ENVIRONMENT = {"HOME": "/home/user", "PATH": "/bin", "SH": "shell"}
# place -> (Compose file, name of the env file, attribute to look at)
PLACES = {
    "env_file": ("services: {web: {image: x, env_file: e, environment: {OWN: own}}}\n", "e", "environment"),
    "raw": ("services: {web: {image: x, env_file: [{path: e, format: raw}]}}\n", "e", "environment"),
    "label_file": ("services: {web: {image: x, label_file: e}}\n", "e", "labels"),
    "dotenv": (
        'services: {web: {image: x, environment: {A: "$A", B: "$B", C: "${C-unset}", SH: $SH}}}\n',
        ".env",
        "environment",
    ),
}


def laid_out(folder: Path, place: str, text: str) -> str:
    """Write the files of a case; the attribute to look at."""
    compose, name, attribute = PLACES[place]
    for other in ("e", ".env"):
        (folder / other).unlink(missing_ok=True)
    (folder / "compose.yaml").write_text(compose)
    (folder / name).write_bytes(text.encode())
    return attribute


@pytest.mark.parametrize("place", PLACES)
def test_a_text_becomes_what_is_written_beside_it(place: str, tmp_path: Path) -> None:
    wrong = []
    for case in CASES:
        attribute = laid_out(tmp_path, place, case["text"])
        try:
            request = LoadRequest(cwd=str(tmp_path), environment=ENVIRONMENT)
            model = printed(load(request, store=Path("/dev/null/none")).canonical)
            found = model["services"]["web"].get(attribute, {})
        except ComposeError:
            found = None
        if found != case[place]:
            wrong.append((case["text"], case[place], found))
    assert wrong == []


@pytest.mark.slow
@pytest.mark.skipif(not ORACLE, reason="PYCOMPOSE_ORACLE names no docker-compose binary")
@pytest.mark.parametrize("place", PLACES)
def test_the_reference_reads_the_same(place: str, tmp_path: Path) -> None:
    wrong = []
    for case in CASES:
        attribute = laid_out(tmp_path, place, case["text"])
        words = [ORACLE, "config", "--format", "json"]
        done = subprocess.run(
            words, cwd=tmp_path, env=ENVIRONMENT, capture_output=True, text=True, check=False
        )
        refused = done.returncode != 0
        found = None if refused else json.loads(done.stdout)["services"]["web"].get(attribute, {})
        if found != case[place]:
            wrong.append((case["text"], case[place], found))
    assert wrong == []
