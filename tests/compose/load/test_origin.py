"""Every value knows where it comes from and what it overrode."""

from __future__ import annotations

from pathlib import Path

import pytest

from compose.cli.explain import told
from compose.errors import UsageError
from compose.load.origin import explain
from compose.load.project import LoadRequest

BASE = """\
services:
  base: {image: base, dns: 1.1.1.1}
  web:
    extends: base
    image: nginx:${TAG:-1}
    env_file: e.env
    environment:
      - DB_URL=old
      - FOO
    volumes: ["./a:/a", "./b:/b"]
    secrets: [token, other]
secrets:
  token: {environment: TOKEN}
  other: {environment: OTHER}
"""
OVER = 'services: {web: {environment: {DB_URL: "pg://$USR:$TOKEN@db"}, volumes: ["./c:/c"]}}\n'


@pytest.fixture
def request_(tmp_path: Path) -> LoadRequest:
    for name, text in (
        ("compose.yaml", BASE),
        ("compose.override.yaml", OVER),
        (".env", "X=1\nUSR=joe\n"),
        ("e.env", "# comment\nDB_URL=file\nONLY='a\nb'\nNEXT=1\n"),
    ):
        (tmp_path / name).write_text(text)
    environment = {"HOME": "/h", "FOO": "shell", "TOKEN": "hunter2", "OTHER": "swordfish"}
    return LoadRequest(cwd=str(tmp_path), environment=environment)


def text(request: LoadRequest, path: str) -> list[str]:
    return "\n".join(told(one) for one in explain(request, path)).splitlines()


def test_a_chain_ends_with_what_was_overridden_first(request_: LoadRequest) -> None:
    assert text(request_, "services.web.environment.DB_URL") == [
        'services.web.environment.DB_URL = "pg://joe:***@db"',
        '  from compose.override.yaml:1:32  "pg://$USR:$TOKEN@db"',
        "    USR from .env:2",
        "    TOKEN from the shell",
        '  overrides compose.yaml:8:9  "DB_URL=old"'.replace("DB_URL=old", "old"),
        '  overrides e.env:2  "file"',
    ]


def test_a_name_without_value_comes_from_the_shell(request_: LoadRequest) -> None:
    assert text(request_, "services.web.environment.FOO") == [
        'services.web.environment.FOO = "shell"',
        "  from compose.yaml:9:9",
        "    FOO from the shell",
    ]


def test_lines_of_env_files_count_values_of_several_lines(request_: LoadRequest) -> None:
    assert "  from e.env:5  " in text(request_, "services.web.environment.NEXT")[1]


def test_an_extended_service_is_overridden(request_: LoadRequest) -> None:
    assert text(request_, "services.web.image")[-1] == '  overrides compose.yaml:2:10  "base"'
    assert text(request_, "services.web.dns[0]")[1] == '  from compose.yaml:2:23  "1.1.1.1"'


def test_items_of_lists_are_found_in_the_file_that_has_them(request_: LoadRequest) -> None:
    assert text(request_, "services.web.volumes[2].target")[1].startswith("  from compose.override.yaml:1:")
    assert text(request_, "services.web.volumes[1].target")[1].startswith("  from compose.yaml:10:")


def test_what_nobody_wrote_is_a_default(request_: LoadRequest) -> None:
    assert text(request_, "networks.default.ipam") == ["networks.default.ipam = {}", "  by default"]


def test_values_of_secrets_are_never_told(request_: LoadRequest) -> None:
    whole = "\n".join(line for path in ("services", "secrets") for line in text(request_, path))
    assert "hunter2" not in whole
    assert "swordfish" not in whole


@pytest.mark.parametrize(
    ("path", "hint"),
    [("services.wbe", "did you mean 'web'?"), ("services.web.volumes[9]", "did you mean '[2]'?"), ("x", "")],
)
def test_a_path_that_is_not_there_has_a_hint(request_: LoadRequest, path: str, hint: str) -> None:
    with pytest.raises(UsageError, match="the model has no") as caught:
        explain(request_, path)
    assert caught.value.hint.startswith(hint or "there is: name, services")


@pytest.fixture
def parts(tmp_path: Path) -> LoadRequest:
    (tmp_path / "inc").mkdir()
    for name, written in (
        ("compose.yaml", "include: [inc/c.yaml]\nservices:\n  web:\n    image: x\n    ports: ['80:80']\n"),
        ("inc/c.yaml", "services: {i: {image: y, environment: [W]}}\n"),
        ("inc/.env", "\nW=w\n"),
        (
            "compose.override.yaml",
            "services: {web: {ports: ['81:81'], command: b c, mem_limit: !reset null}}\n",
        ),
    ):
        (tmp_path / name).write_text(written)
    with (tmp_path / "compose.yaml").open("a") as file:
        file.write("    command: a\n    mem_limit: 1g\n  asleep: {image: z, profiles: [p]}\n")
    return LoadRequest(cwd=str(tmp_path), environment={"HOME": "/h"})


def test_entries_of_a_list_are_not_taken_for_each_other(parts: LoadRequest) -> None:
    assert text(parts, "services.web.ports[1].mode") == [
        'services.web.ports[1].mode = "ingress"',
        '  from compose.override.yaml:1:26  "ingress"',
    ]


def test_a_command_is_overridden_word_by_word(parts: LoadRequest) -> None:
    assert text(parts, "services.web.command[0]") == [
        'services.web.command[0] = "b"',
        '  from compose.override.yaml:1:36  "b"',
        '  overrides compose.yaml:6:5  "a"',
    ]


def test_what_was_reset_is_explained(parts: LoadRequest) -> None:
    assert text(parts, "services.web.mem_limit") == [
        "services.web.mem_limit = null",
        "  from compose.override.yaml:1:50  !reset",
        '  overrides compose.yaml:7:5  "1073741824"',
    ]


def test_an_included_project_has_its_own_env_file(parts: LoadRequest) -> None:
    assert text(parts, "services.i.environment.W")[-1] == "    W from inc/.env:2"


def test_a_service_whose_profile_is_not_active_is_explained(parts: LoadRequest) -> None:
    assert text(parts, "services.asleep.image")[1] == '  from compose.yaml:8:12  "z"'
