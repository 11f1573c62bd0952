"""``config --no-...`` beside the reference, over the whole corpus; needs PYCOMPOSE_ORACLE."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from corpus_cases import ROOT, cases, environment, request
from test_corpus import ORACLE, comparable, reference

from compose.errors import ComposeError
from compose.load import raw, resolve
from compose.load.canonical import printed
from compose.load.request import STAGES, LoadRequest, Reader
from schemas.frozen import replace

# (case, stage) on which we differ on purpose, with the reason
DIFFERENT = {
    ("file_in_subdirectory", "path-resolution"): "the reference looks for env files in the working directory",
    (
        "include_long",
        "path-resolution",
    ): "the reference cleans './d' to 'd' where 'project_directory' is given",
    ("networks_map", "normalize"): "the reference refuses its own default network",
    ("ulimits_text", "interpolate"): "the reference refuses a number as text",
}


def without(stage: str, folder: Path) -> Any:
    """The model of a case without one stage, as ``config`` prints it."""
    wanted: LoadRequest = replace(request(folder), omit=(stage,))
    if stage == "interpolate":
        return json.loads(json.dumps(raw.model(wanted, Reader())))
    return json.loads(json.dumps(printed(resolve.model(wanted, Reader())[0])))


@pytest.mark.slow
@pytest.mark.skipif(not ORACLE, reason="PYCOMPOSE_ORACLE names no docker-compose binary")
@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("name", cases("valid"))
def test_the_reference_leaves_out_the_same(name: str, stage: str) -> None:
    if (name, stage) in DIFFERENT:
        return
    folder = ROOT / "valid" / name
    done = reference(folder, f"--no-{stage}")
    assert done.returncode == 0
    assert comparable(without(stage, folder)) == comparable(json.loads(done.stdout))


def test_without_interpolation_variables_stay(tmp_path: Path) -> None:
    (tmp_path / "compose.yaml").write_text("services: {web: {image: 'x:$TAG', ports: ['${P:-80}:80']}}\n")
    wanted = LoadRequest(cwd=str(tmp_path), omit=("interpolate",), environment={"TAG": "1"})
    service = raw.model(wanted, Reader())["services"]["web"]
    assert (service["image"], service["ports"]) == ("x:$TAG", ["${P:-80}:80"])


def test_an_empty_service_is_an_error_without_interpolation(tmp_path: Path) -> None:
    for name in ("a.yaml", "b.yaml"):
        (tmp_path / name).write_text("services: {web: }\n")
    wanted = LoadRequest(files=("a.yaml", "b.yaml"), cwd=str(tmp_path), omit=("interpolate",))
    with pytest.raises(ComposeError, match=r"'services\.web' is empty"):
        raw.model(wanted, Reader())


def test_without_normalization_nothing_is_filled_in(tmp_path: Path) -> None:
    (tmp_path / "compose.yaml").write_text("services: {web: {build: ., links: [db]}, db: {image: x}}\n")
    model, _ = resolve.model(LoadRequest(cwd=str(tmp_path), omit=("normalize",)), Reader())
    assert set(model["services"]["web"]) == {"build", "links", "command", "entrypoint"}
    assert "networks" not in model


def test_without_path_resolution_paths_stay(tmp_path: Path) -> None:
    (tmp_path / "compose.yaml").write_text("services: {web: {build: ./a, volumes: ['./b:/b']}}\n")
    model, _ = resolve.model(LoadRequest(cwd=str(tmp_path), omit=("path-resolution",)), Reader())
    web = model["services"]["web"]
    assert (web["build"]["context"], web["volumes"][0]["source"]) == ("./a", "./b")


def test_without_consistency_undefined_names_pass(tmp_path: Path) -> None:
    (tmp_path / "compose.yaml").write_text("services: {web: {image: x, depends_on: [db]}}\n")
    wanted = LoadRequest(cwd=str(tmp_path), omit=("consistency",), environment=environment(tmp_path))
    model, _ = resolve.model(wanted, Reader())
    assert "db" in model["services"]["web"]["depends_on"]
