"""Tests find declared programs and those of every Debian machine; no source asks for another."""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.path import essential, only_declared, sources
from tests.support.programs import (
    PEERS,
    PROGRAMS,
    SYSTEM,
    TOOLS,
    Peer,
    Undeclared,
    has,
    hint,
    need,
    packages,
    peers_line,
    program,
)
from tests.support.skips import PeerMissing

TESTS = Path(__file__).parents[1]
DECLARED = {one.name for one in (*PROGRAMS, *PEERS)}


def programs_in(directories: Iterator[str] | tuple[str, ...]) -> set[str]:
    return {
        file.name
        for directory in directories
        if Path(directory).is_dir()
        for file in Path(directory).iterdir()
        if file.is_file() and os.access(file, os.X_OK)
    }


def strangers() -> set[str]:
    """Programs that this machine has and no test may use, the virtual environment's own left out."""
    own = programs_in((str(Path(sys.executable).parent),)) if sys.prefix != sys.base_prefix else set()
    return programs_in(SYSTEM) - set(sources()) - own


# --- PATH


def test_every_program_in_path_is_declared_or_essential_or_of_the_virtual_environment() -> None:
    entries = os.environ["PATH"].split(":")
    if sys.prefix != sys.base_prefix:
        assert Path(entries.pop(0)) == Path(sys.executable).parent
    (directory,) = entries
    assert {file.name for file in Path(directory).iterdir()} <= DECLARED | essential() | {"python3"}


@pytest.mark.smoke
def test_a_program_of_the_machine_that_is_not_declared_cannot_be_found() -> None:
    found = strangers()
    assert found, "a machine with no other program at all"
    assert [name for name in found if shutil.which(name)] == []
    script = 'for name; do command -v -- "$name"; done'
    asked = subprocess.run(["sh", "-c", script, "sh", *found], capture_output=True, text=True, check=False)
    assert [line for line in asked.stdout.splitlines() if line.startswith("/")] == []


def test_path_is_the_same_in_a_session_inside_a_session() -> None:
    outer = {file.name for file in Path(os.environ["PATH"].split(":")[-1]).iterdir()}
    before = os.environ["PATH"]
    with only_declared() as inner:
        assert {file.name for file in inner.iterdir()} == outer
        assert os.environ["PATH"] != before and shutil.which("sh")
    assert os.environ["PATH"] == before and not inner.exists()


# --- questions


def test_an_undeclared_program_is_refused_even_where_the_machine_has_it() -> None:
    name = min(strangers())
    for ask in (has, need, program):
        with pytest.raises(Undeclared, match=f"declares the program '{name}'"):
            ask(name)
    with pytest.raises(Undeclared):
        has("sh", name), "essential programs need no question, and get none"


def test_a_declared_program_is_found_where_it_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert program("git") == shutil.which("git") and has("git", "openssl")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert not has("git")
    monkeypatch.setenv("PYCOMPOSE_REQUIRE_ROOT", "1")
    with pytest.raises(pytest.fail.Exception, match="no git here: apt-get install git"):
        need("git")
    monkeypatch.delenv("PYCOMPOSE_REQUIRE_ROOT")
    with pytest.raises(pytest.skip.Exception, match="no git here") as caught:
        need("git")
    assert not isinstance(caught.value, PeerMissing)


def test_a_missing_peer_is_a_skip_of_its_own_kind(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("PYCOMPOSE_REQUIRE_ROOT", "1")
    with pytest.raises(PeerMissing, match="not compared with podman: apt-get install podman"):
        need("podman")
    monkeypatch.setenv("PYCOMPOSE_ORACLE", "/somewhere/docker-compose")
    assert program("docker-compose") == "/somewhere/docker-compose"


def test_what_is_missing_is_named_by_package(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert packages({"no-such-program": "one", "no-such-either": "one", "sh": "dash"}) == ["one"]
    two = [Peer("b", package="bee"), Peer("a", package="ay"), Peer("c", variable="C")]
    assert hint(two) == "apt-get install ay bee; set C for c"
    monkeypatch.delenv("PYCOMPOSE_ORACLE", raising=False)
    assert peers_line().startswith("not compared with: ") and "\n" not in peers_line()


@pytest.mark.parametrize("what", ["packages", "peers", "tools"])
def test_the_declaration_is_read_by_a_bare_python(what: str) -> None:
    """-S -I: without site-packages and without this clone, as before there is a virtual environment."""
    command = [sys.executable, "-S", "-I", str(TESTS / "support/programs.py"), what]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert len(done.stdout.splitlines()) == 1 and done.stderr == ""


# --- sources of tests


def calls() -> Iterator[tuple[str, ast.Call]]:
    for path in sorted(TESTS.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call):
                yield f"{path.relative_to(TESTS)}:{node.lineno}", node


def started(call: ast.Call) -> str:
    """The program that a call of subprocess or os.system starts, as far as its text tells."""
    if not call.args or not ast.unparse(call.func).startswith(("subprocess.", "os.system", "os.popen")):
        return ""
    first = call.args[0]
    if isinstance(first, ast.List | ast.Tuple):
        first = first.elts[0]
    if isinstance(first, ast.JoinedStr):
        first = first.values[0]
    whole = isinstance(first, ast.Constant) and isinstance(first.value, str)
    return first.value.split()[0] if whole else ""  # type: ignore[union-attr]


def test_every_program_that_a_test_starts_by_name_is_declared_or_essential() -> None:
    known = DECLARED | essential()
    assert [f"{at} {name}" for at, call in calls() if (name := started(call)) and name not in known] == []


def test_no_test_looks_into_path_by_itself() -> None:
    found = {at.partition(":")[0] for at, call in calls() if ast.unparse(call.func) == "shutil.which"}
    assert {name for name in found if not name.startswith("support/")} == set()


def test_no_program_gets_a_path_of_the_machine() -> None:
    """``env={"PATH": "/usr/bin"}`` would find everything, and so would no PATH at all."""
    wrong = []
    for at, call in calls():
        given = [word.value for word in call.keywords if word.arg == "env"]
        if not ast.unparse(call.func).startswith("subprocess."):
            continue
        for environment in [value for value in given if isinstance(value, ast.Dict)]:
            keys = ["**" if key is None else ast.unparse(key) for key in environment.keys]
            path = dict(zip(keys, map(ast.unparse, environment.values), strict=True)).get("'PATH'", "")
            if "/usr" in path or not {"**", "'PATH'"} & set(keys):
                wrong.append(at)
    assert wrong == []


def test_every_program_has_a_test_for_a_fresh_machine() -> None:
    """tests/run --smoke holds at least one test for each."""
    shown = set()
    for at, call in calls():
        if ast.unparse(call.func) == "pytest.mark.smoke":
            names = [ast.literal_eval(argument) for argument in call.args]
            assert set(names) <= DECLARED, at
            shown |= set(names)
    assert {one.name for one in PROGRAMS} - shown == set()


def test_one_line_declares_a_program_once() -> None:
    names = [one.name for one in (*PROGRAMS, *PEERS)]
    assert len(names) == len(set(names))
    assert not set(TOOLS) & {peer.name for peer in PEERS}
