"""Odd values of every attribute of a service: one line each in ``corners.tsv``, with what becomes of it.

``refused``, or the attribute as ``config --format json`` prints it; DIR stands for the project directory,
PARENT for the one above it.
Every line, and pairs of lines merged, are compared with the reference where PYCOMPOSE_ORACLE names one.
"""

from __future__ import annotations

import json
import random
import subprocess
from pathlib import Path
from typing import Any

import pytest
from test_corpus import ORACLE, comparable

from compose.errors import ComposeError
from compose.load.canonical import printed
from compose.load.project import LoadRequest, load

ENVIRONMENT = {"HOME": "/home/user", "PATH": "/bin"}
HEAD = "services:\n  web:\n    image: x\n"
TAIL = """\
  db: {image: y}
  off: {image: z, profiles: [p]}
volumes: {aa: }
networks: {a: , b: }
secrets: {s: {file: ./f}}
configs: {s: {file: ./f}}
models: {m: {model: ai/x}}
"""
LINES = [tuple(line.split("\t")) for line in (Path(__file__).parent / "corners.tsv").read_text().splitlines()]
# what docs/adr/0013 lists, or what the reference has no words for
UNLIKE = {
    "blkio_config", "build", "device_cgroup_rules", "devices", "external_links", "extra_hosts", "gpus",
    "group_add", "mem_swappiness", "models", "pre_start", "provider", "security_opt", "ulimits",
    "volumes_from",
}  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, text in (("f", ""), ("e", "A=1\n"), ("l", "a=b\n")):
        (tmp_path / name).write_text(text)
    return tmp_path


def ours(folder: Path) -> Any:
    """The model of ``folder``, or None when it is refused."""
    request = LoadRequest(cwd=str(folder), environment=ENVIRONMENT)
    try:
        return json.loads(json.dumps(printed(load(request, store=Path("/dev/null/none")).canonical)))
    except ComposeError:
        return None


def theirs(folder: Path) -> Any:
    """The same, by the reference."""
    words = [ORACLE, "config", "--format", "json"]
    done = subprocess.run(words, cwd=folder, env=ENVIRONMENT, capture_output=True, text=True, check=False)
    return json.loads(done.stdout) if done.returncode == 0 else None


def attribute(line: str) -> str:
    return line.partition(":")[0].strip()


def test_every_line_becomes_what_is_written_beside_it(folder: Path) -> None:
    wrong = []
    for line, expected in LINES:
        (folder / "compose.yaml").write_text(f"{HEAD}    {line}\n{TAIL}")
        model = comparable(ours(folder))
        web = model["services"].get("web", {}).get(attribute(line)) if model else None
        text = json.dumps(web, ensure_ascii=False, sort_keys=True)
        text = text.replace(str(folder), "DIR").replace(str(folder.parent), "PARENT")
        if (text if model else "refused") != expected:
            wrong.append((line, expected, text))
    assert wrong == []


@pytest.mark.slow
@pytest.mark.skipif(not ORACLE, reason="PYCOMPOSE_ORACLE names no docker-compose binary")
@pytest.mark.parametrize("part", range(20))
def test_the_reference_says_the_same_of_every_line(part: int, folder: Path) -> None:
    wrong = []
    for line, _ in LINES[part::20]:
        (folder / "compose.yaml").write_text(f"{HEAD}    {line}\n{TAIL}")
        if comparable(ours(folder)) != comparable(theirs(folder)):
            wrong.append(line)
    assert wrong == []


@pytest.mark.slow
@pytest.mark.skipif(not ORACLE, reason="PYCOMPOSE_ORACLE names no docker-compose binary")
@pytest.mark.parametrize("seed", range(10))
def test_the_reference_merges_pairs_in_the_same_way(seed: int, folder: Path) -> None:
    chance, wrong = random.Random(seed), []
    known = [line for line, expected in LINES if expected != "refused" and attribute(line) not in UNLIKE]
    for _ in range(25):
        one = chance.choice(known)
        two = chance.choice([line for line in known if attribute(line) == attribute(one)])
        tag = chance.choice(["", "", "", " !override", " !reset"])
        over = two.replace(":", f":{tag}", 1) if not tag or two[-1] in "]}" else two
        (folder / "compose.yaml").write_text(f"{HEAD}    {one}\n{TAIL}")
        (folder / "compose.override.yaml").write_text(f"services:\n  web:\n    {over}\n")
        if comparable(ours(folder)) != comparable(theirs(folder)):
            wrong.append((one, over))
    assert wrong == []
