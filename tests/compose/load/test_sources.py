"""Errors name who gave the variables in what is wrong, also those that come after the load."""

from __future__ import annotations

from pathlib import Path

import pytest

from compose.errors import ComposeError, Several
from compose.load.origin import locate
from compose.load.project import LoadRequest, load

FILE = """\
services:
  web:
    image: "nginx:${TAG}"
    ports: ["${PORT}:80", "81:81"]
    scale: ${COUNT:-x}
    privileged: ${PRIVILEGED}
    mem_limit: ${LIMIT:-1x}
"""


def request(folder: Path, text: str = FILE, **environment: str) -> LoadRequest:
    (folder / "compose.yaml").write_text(text)
    (folder / ".env").write_text("# ports\nPORT=abc\nTAG=1\n")
    (folder / "more.env").write_text("PRIVILEGED=perhaps\n")
    return LoadRequest(cwd=str(folder), environment=environment, env_files=(".env", "more.env"))


def test_each_error_names_the_origin_of_its_variables(tmp_path: Path) -> None:
    with pytest.raises(Several) as caught:
        load(request(tmp_path, LIMIT="a lot"), store=tmp_path / "store")
    told = {one.path: one.hint for one in caught.value.errors}
    assert told == {
        "services.web.ports[0]": "PORT is from .env:2",
        "services.web.scale": "COUNT is not set",
        "services.web.privileged": "PRIVILEGED is from more.env:1",
        "services.web.mem_limit": "LIMIT is from the shell",
    }


def test_an_origin_stands_behind_the_hint(tmp_path: Path) -> None:
    text = "services: {web: {image: x, networks: ['${NET:-fronted}']}}\nnetworks: {frontend: }\n"
    with pytest.raises(ComposeError) as caught:
        load(request(tmp_path, text), store=tmp_path / "store")
    assert caught.value.hint == "did you mean 'frontend'?; NET is not set"


def test_a_place_is_found_for_what_fails_later(tmp_path: Path) -> None:
    wanted = request(tmp_path, "services: {web: {image: x, ports: ['81:81', '${OTHER:-8}:${TAG}']}}\n")
    step = locate(wanted, "services.web.ports[1].published")
    assert step is not None
    assert (step.where, step.variables) == (
        "compose.yaml:1:45",
        (("OTHER", "nowhere: it is not set"), ("TAG", ".env:3")),
    )


def test_what_the_model_has_not_has_no_place(tmp_path: Path) -> None:
    assert locate(request(tmp_path, "services: {web: {image: x}}\n"), "services.web.ports[0]") is None
