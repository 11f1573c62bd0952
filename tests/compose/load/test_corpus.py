"""The corpus: every valid file gives its model, every invalid one its errors."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from corpus_cases import ROOT, cases, environment, load_case, located, settings, told

from compose.errors import ComposeError
from compose.load.bind import bind
from compose.load.canonical import printed
from tests.support.programs import reference as command_of

ORACLE = command_of("docker-compose")
# where the reference is wrong or laxer, and we differ on purpose
DIFFERENT = {
    "deep_block": "nesting is bounded",
    "deep_nesting": "nesting is bounded",
    "deep_sequence": "nesting is bounded",
    "dotenv_broken": "a line without a name is an error",
    "bad_volume": "four parts are an error rather than one odd path",
    "alias_bomb": "the reference never ends",
}


@pytest.mark.parametrize("name", cases("valid"))
def test_a_valid_file_gives_its_model(name: str, tmp_path: Path) -> None:
    folder = ROOT / "valid" / name
    expected = json.loads(located((folder / "expected.json").read_text(), folder))
    assert printed(load_case(folder, tmp_path).canonical) == expected


@pytest.mark.parametrize("name", cases("valid"))
def test_a_model_read_back_from_the_cache_is_the_same(name: str, tmp_path: Path) -> None:
    folder = ROOT / "valid" / name
    first, second = load_case(folder, tmp_path), load_case(folder, tmp_path)
    assert (first.cached, second.cached) == (False, True)
    assert second.project == first.project == bind(json.loads(json.dumps(first.canonical)))
    assert (second.order, second.warnings) == (first.order, first.warnings)


@pytest.mark.parametrize("name", cases("invalid"))
def test_an_invalid_file_gives_its_errors(name: str, tmp_path: Path) -> None:
    folder = ROOT / "invalid" / name
    with pytest.raises(ComposeError) as caught:
        load_case(folder, tmp_path)
    assert told(caught.value) == located((folder / "expected.txt").read_text(), folder)


@pytest.mark.skipif(not ORACLE, reason="PYCOMPOSE_ORACLE names no docker-compose binary")
@pytest.mark.parametrize("name", cases("valid"))
def test_the_reference_gives_the_same_model(name: str) -> None:
    folder = ROOT / "valid" / name
    expected = json.loads(located((folder / "expected.json").read_text(), folder))
    assert comparable(json.loads(reference(folder).stdout)) == comparable(expected)


@pytest.mark.skipif(not ORACLE, reason="PYCOMPOSE_ORACLE names no docker-compose binary")
@pytest.mark.parametrize("name", [name for name in cases("invalid") if name not in DIFFERENT])
def test_the_reference_refuses_it_too(name: str) -> None:
    assert reference(ROOT / "invalid" / name).returncode != 0


def reference(folder: Path, *flags: str) -> subprocess.CompletedProcess[str]:
    """What the reference says to ``config`` of a case."""
    given = settings(folder)
    words = [ORACLE]
    for flag, key in (("-f", "files"), ("--env-file", "env_files"), ("--profile", "profiles")):
        for value in given.get(key, ()):
            words += [flag, value]
    for flag, key in (("-p", "project_name"), ("--project-directory", "project_directory")):
        words += [flag, given[key]] if key in given else []
    return subprocess.run(
        [*words, "config", "--format", "json", *flags],
        cwd=folder,
        env=environment(folder),
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )


def comparable(model: Any, *, top: bool = True) -> Any:
    """The model without what the reference leaves out of JSON: nested ``x-`` keys, models, ipam options."""
    if isinstance(model, dict):
        left_out = {"models"} if top else set()
        return {
            key: comparable(value, top=False)
            for key, value in model.items()
            if key not in left_out and (top or not key.startswith("x-"))
        }
    return [comparable(value, top=False) for value in model] if isinstance(model, list) else model
