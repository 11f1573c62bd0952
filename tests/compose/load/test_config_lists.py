"""What ``config`` lists, as expected text and, where there is one, beside the reference."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest
from corpus_cases import ROOT, cases, environment, request, settings
from test_corpus import ORACLE

from compose.cli import listing, main
from compose.cli.hashes import service_hash
from compose.load import resolve
from compose.load.project import load
from compose.load.request import Reader
from schemas.frozen import replace

FILE = """\
services:
  web: {image: "nginx:${TAG:-1}", profiles: [front], networks: [n], volumes: ["data:/d"], models: [llm]}
  api: {build: ., depends_on: [db], environment: ["A=${NEEDED:?say it}", "B=${ALT:+yes}", "C=$PLAIN"]}
  db: {image: postgres, command: ["${TAG-2}", "${DEEP:-${TAG}}"], profiles: [back, front]}
networks: {n: , unused: }
volumes: {data: , spare: }
models: {llm: {model: ai/x}, other: {model: ai/y}}
"""
TEXTS = {
    "--services": "api\ndb\nweb\n",
    "--images": "shop-api\npostgres\nnginx:1\n",
    "--volumes": "data\n",
    "--networks": "default\nn\n",
    "--models": "ai/x\n",
    "--profiles": "back\nfront\n",
    "--variables": """\
NAME                REQUIRED            DEFAULT VALUE       ALTERNATE VALUE
ALT                 false                                   yes
DEEP                false               ${TAG}
NEEDED              true
PLAIN               false
TAG                 false               1
""",
}


def asked(words: list[str], folder: Path) -> str:
    """What the reference prints."""
    given = settings(folder) if (folder / "request.json").exists() else {}
    flags: list[str] = []
    for flag, key in (("-f", "files"), ("--env-file", "env_files"), ("--profile", "profiles")):
        for value in given.get(key, ()):
            flags += [flag, value]
    for flag, key in (("-p", "project_name"), ("--project-directory", "project_directory")):
        flags += [flag, given[key]] if key in given else []
    done = subprocess.run(
        [ORACLE, *flags, *words],
        cwd=folder,
        env=environment(folder),
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "shop"
    folder.mkdir()
    (folder / "compose.yaml").write_text(FILE)
    monkeypatch.chdir(folder)
    for name in ("TAG", "ALT", "DEEP", "PLAIN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NEEDED", "x")
    monkeypatch.setenv("PYCOMPOSE_DATA", str(tmp_path / "data"))
    return folder


@pytest.mark.parametrize("flag", TEXTS)
def test_a_list_has_one_name_per_line(flag: str, shop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["--profile", "front", "config", flag])
    assert "".join(f"{line.rstrip()}\n" for line in capsys.readouterr().out.splitlines()) == TEXTS[flag]


@pytest.mark.skipif(not ORACLE, reason="PYCOMPOSE_ORACLE names no docker-compose binary")
@pytest.mark.parametrize("flag", TEXTS)
def test_the_reference_lists_the_same(flag: str, shop: Path) -> None:
    words = [ORACLE, "--profile", "front", "config", flag]
    told = subprocess.run(
        words, cwd=shop, env={**os.environ, "NEEDED": "x"}, capture_output=True, text=True, check=True
    ).stdout
    # a map of Go has no order, and each of the two forms of TAG may be the one that is shown
    shown = sorted(line.rstrip() for line in told.splitlines() if not line.startswith("TAG"))
    assert shown == sorted(line for line in TEXTS[flag].splitlines() if not line.startswith("TAG"))


def test_the_environment_is_that_of_interpolation(shop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (shop / ".env").write_text("FROM_FILE=1\nNEEDED=file\n")
    main(["--profile", "front", "config", "--environment"])
    lines = capsys.readouterr().out.splitlines()
    assert {"FROM_FILE=1", "NEEDED=x", "COMPOSE_PROJECT_NAME=shop"} <= set(lines)


@pytest.mark.skipif(not ORACLE, reason="PYCOMPOSE_ORACLE names no docker-compose binary")
def test_the_reference_has_the_same_environment(shop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (shop / ".env").write_text("FROM_FILE=1\nNEEDED=file\n")
    main(["--profile", "front", "config", "--environment"])
    ours = set(capsys.readouterr().out.splitlines())
    words = [ORACLE, "--profile", "front", "config", "--environment"]
    told = subprocess.run(words, cwd=shop, capture_output=True, text=True, check=True).stdout
    own = (
        "PYCOMPOSE_",
        "PYTEST_",
        "PWD=",
        "DOCKER_",
        "COLUMNS=",
        "LINES=",
    )  # what the plugin sets for itself
    assert {line for line in ours if not line.startswith(own)} == {
        line for line in told.splitlines() if not line.startswith(own)
    }


def test_variables_as_json(shop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["--profile", "front", "config", "--variables", "--format", "json"])
    found = json.loads(capsys.readouterr().out)
    assert found["ALT"] == {"Name": "ALT", "DefaultValue": "", "PresenceValue": "yes", "Required": False}


def test_a_hash_is_that_of_docker_compose(shop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (shop / "compose.yaml").write_text("services: {web: {image: nginx}}\n")
    main(["config", "--hash", "*"])
    known = "daef7adc9ecc59d4881bd1ebc06f26a836d35656f8b5fb0adfdb95b2d856fbd3"
    assert capsys.readouterr().out == f"web {known}\n"


@pytest.mark.skipif(not ORACLE, reason="PYCOMPOSE_ORACLE names no docker-compose binary")
@pytest.mark.parametrize("name", cases("valid"))
def test_the_reference_has_the_same_hashes(name: str) -> None:
    folder = ROOT / "valid" / name
    model, _ = resolve.model(replace(request(folder), omit=("env-files",)), Reader())
    ours = [f"{key} {service_hash(model['services'][key])}" for key in sorted(model["services"])]
    assert asked(["config", "--hash", "*"], folder).splitlines() == ours


@pytest.mark.slow
@pytest.mark.skipif(not ORACLE, reason="PYCOMPOSE_ORACLE names no docker-compose binary")
@pytest.mark.parametrize("name", cases("valid"))
def test_the_reference_lists_the_same_names(name: str, tmp_path: Path) -> None:
    folder = ROOT / "valid" / name
    model = load(request(folder), store=tmp_path).canonical
    for part in ("services", "images", "volumes", "networks", "models", "profiles"):
        assert sorted(asked(["config", f"--{part}"], folder).splitlines()) == sorted(
            listing.of(model, part, ())
        )
