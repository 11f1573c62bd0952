"""Cached models hold no value that one can read, are few, and go with their project."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from compose.load import cache
from compose.load.project import LoadRequest, load

FILE = """\
name: {name}
services:
  web:
    {{image: x, environment: {{P: "${{PASSWORD}}"}}, command: [serve, "--token=${{TOKEN}}"], secrets: [s]}}
secrets: {{s: {{environment: TOKEN}}}}
"""
VALUES = {"PASSWORD": "correct horse", "TOKEN": "battery staple"}


def request(folder: Path, name: str = "shop", **more: str) -> LoadRequest:
    folder.mkdir(exist_ok=True)
    (folder / "compose.yaml").write_text(FILE.format(name=name))
    environment = {"PYCOMPOSE_RUN": str(folder.parent / "run"), "PYCOMPOSE_DATA": str(folder.parent / "data")}
    return LoadRequest(cwd=str(folder), environment={**environment, **VALUES, **more})


def stored(folder: Path) -> list[Path]:
    return sorted((folder / "run/.models").iterdir())


def test_nothing_of_a_model_can_be_read_without_its_inputs(tmp_path: Path) -> None:
    wanted = request(tmp_path / "p")
    made = load(wanted).project
    (path,) = stored(tmp_path)
    content = path.read_bytes()
    for text in (*VALUES.values(), "serve", "image"):
        assert text.encode() not in content
    assert (path.stat().st_mode & 0o777, path.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    found = load(wanted)
    assert (found.cached, found.project) == (True, made)


def test_a_long_model_is_compressed(tmp_path: Path) -> None:
    wanted = request(tmp_path / "p")
    text = "".join(f"  s{n}: {{image: x, command: [serve, battery]}}\n" for n in range(500))
    (tmp_path / "p/compose.yaml").write_text(f"services:\n{text}")
    made = load(wanted).project
    assert stored(tmp_path)[0].stat().st_size < cache.LONG
    found = load(wanted)
    assert (found.cached, found.project) == (True, made)


def test_a_changed_input_opens_nothing(tmp_path: Path) -> None:
    load(request(tmp_path / "p"))
    assert not load(request(tmp_path / "p", TOKEN="other")).cached
    assert load(request(tmp_path / "p", TOKEN="other")).cached
    wanted = request(tmp_path / "p", TOKEN="other")
    (tmp_path / "p/compose.override.yaml").write_text("services: {web: {init: true}}\n")
    assert load(wanted).project.services["web"].init


@pytest.mark.parametrize("change", [b"", b"{}", b"\0", b"x" * 5000])
def test_a_damaged_file_is_a_miss(tmp_path: Path, change: bytes) -> None:
    wanted = request(tmp_path / "p")
    load(wanted)
    (path,) = stored(tmp_path)
    whole = path.read_bytes()
    for damaged in (
        change,
        whole[:-1],
        whole[:-1] + b"?",
        whole + change,
        whole.partition(b"\n")[0] + change,
    ):
        path.write_bytes(damaged)
        assert load(wanted).cached == (damaged == whole)


def test_a_directory_that_others_can_write_to_is_not_believed(tmp_path: Path) -> None:
    wanted = request(tmp_path / "p")
    load(wanted)
    (tmp_path / "run/.models").chmod(0o777)
    assert not load(wanted).cached


def test_the_models_used_last_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = request(tmp_path / "first", "first")
    load(first)
    for number in range(cache.MOST + 5):
        load(request(tmp_path / f"p{number}", f"p{number}"))
        assert load(first).cached
    assert len(stored(tmp_path)) == cache.MOST
    assert not load(request(tmp_path / "p0", "p0")).cached


def test_down_removes_what_is_of_the_project_and_of_earlier_versions(tmp_path: Path) -> None:
    ours, other = request(tmp_path / "p"), request(tmp_path / "q", "other")
    load(ours)
    load(other)
    former = tmp_path / "data/cache/models"
    former.mkdir(parents=True)
    (former / "a.json").write_text("{}")
    cache.forget(ours.environment, "shop")
    assert (load(ours).cached, load(other).cached) == (False, True)
    assert not former.exists()


def test_what_earlier_versions_kept_goes_with_the_next_load(tmp_path: Path) -> None:
    former = tmp_path / "data/cache/models"
    former.mkdir(parents=True)
    (former / "a.json").write_text("{}")
    load(request(tmp_path / "p"))
    assert not former.exists()


def test_a_user_without_a_run_directory_has_one_place(tmp_path: Path) -> None:
    home = {"HOME": str(tmp_path)}
    assert cache.directory({"XDG_RUNTIME_DIR": "/r", "PYCOMPOSE_RUN": "/x"}) == Path("/x/.models")
    if os.geteuid():
        assert cache.directory({**home, "XDG_RUNTIME_DIR": "/r"}) == Path("/r/pycompose/models")
        assert cache.directory(home) == tmp_path / ".cache/pycompose/models"
