"""The small parser and typer read the same command lines alike."""

from __future__ import annotations

from typing import Any

import pytest
import typer
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from compose.cli import _plain
from compose.cli.app import build, read
from compose.cli.options import Argument, Option, Parameter, parameters
from compose.cli.parse import Invocation, NotPlain, number, parse, split
from compose.cli.scope import Scope
from compose.cli.verbs import VERBS, Verb, verb
from compose.errors import UsageError

ALL: dict[str, Verb] = {name: item for name in VERBS if (item := verb(name)) is not None}
RESULTS: list[Invocation] = []
COMMAND = typer.main.get_command(build(list(ALL.values()), RESULTS))
SHARED = parameters(Scope.__init__)


def by_typer(argv: list[str]) -> Invocation:
    RESULTS.clear()
    COMMAND.main(argv, prog_name="pycompose", standalone_mode=False)
    return RESULTS[-1]


def words_of(parameter: Parameter, value: str) -> list[str]:
    mark = parameter.mark
    assert isinstance(mark, Option)
    name = mark.names[len(value) % len(mark.names)]
    if parameter.kind == "flag":
        return [name]
    if parameter.kind == "number":
        value = str(len(value))
    if mark.choices:
        value = mark.choices[len(value) % len(mark.choices)]
    if name.startswith("--"):
        return [f"{name}={value}"] if len(value) % 2 else [name, value]
    return [name, value]


TEXT = st.text(alphabet="abcXYZ019_./:= *é", min_size=1, max_size=8)


@st.composite
def command_lines(draw: st.DrawFn) -> tuple[Verb, list[str]]:
    """A verb with options it has, in any order, and as many words as it takes."""
    item = draw(st.sampled_from(list(ALL.values())))
    argv = []
    marked = [p for p in item.parameters if isinstance(p.mark, Option)]
    for parameter in draw(st.lists(st.sampled_from(marked), max_size=6)):
        argv += words_of(parameter, draw(TEXT))
    for parameter in item.parameters:
        if isinstance(parameter.mark, Argument):
            least = 1 if parameter.kind == "word" else parameter.mark.at_least
            most = 1 if parameter.kind == "word" else 4
            argv += draw(st.lists(TEXT, min_size=least, max_size=most))
    return item, argv


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(command_lines())
def test_both_fronts_give_every_verb_the_same_values(line: tuple[Verb, list[str]]) -> None:
    item, argv = line
    assert parse(item.parameters, argv, interspersed=item.interspersed) == by_typer([item.name, *argv]).values


@pytest.mark.parametrize(
    "argv",
    [
        ["-f", "a.yaml", "--file=b.yaml", "-p", "shop", "ps"],
        ["--profile", "a", "--profile", "b", "--env-file", "x", "up", "-d"],
        ["--ansi", "never", "--progress=plain", "--parallel", "-1", "--dry-run", "down"],
        ["--project-directory", "/srv", "logs", "-f", "web"],
    ],
)
def test_both_fronts_give_the_same_global_flags(argv: list[str]) -> None:
    shared, name, rest = split(SHARED, argv)
    slow = by_typer(argv)
    assert (shared, name) == (slow.shared, slow.verb)
    assert parse(ALL[name].parameters, rest, interspersed=ALL[name].interspersed) == slow.values


@pytest.mark.parametrize(
    ("argv", "expected"),
    [
        (["-dt", "3"], {"detach": True, "timeout": 3}),
        (["-t3"], {"timeout": 3}),
        (["-t=3"], {"timeout": 3}),
        (["--build=false"], {"build": False}),
        (["--build=true", "web"], {"build": True, "services": ("web",)}),
        (["web", "-d", "db"], {"detach": True, "services": ("web", "db")}),
        (["--", "-d"], {"detach": False, "services": ("-d",)}),
        (["--scale", "a=1", "--scale=b=2"], {"scale": ("a=1", "b=2")}),
        (["-t", "-1"], {"timeout": -1}),
    ],
)
def test_flags_are_taken_as_docker_compose_takes_them(argv: list[str], expected: dict[str, Any]) -> None:
    values = parse(ALL["up"].parameters, argv)
    assert {key: values[key] for key in expected} == expected


def test_what_follows_the_service_of_exec_is_the_command() -> None:
    item = ALL["exec"]
    values = parse(item.parameters, ["-T", "-e", "A=1", "web", "ls", "-l", "--", "-T"], interspersed=False)
    assert (values["service"], values["command"]) == ("web", ("ls", "-l", "--", "-T"))
    assert values["no_tty"] and values["env"] == ("A=1",)


@pytest.mark.parametrize(
    "argv",
    [
        ["--nope"],
        ["-Z"],
        ["-t"],
        ["-t", "x"],
        ["--pull", "sometimes"],
        ["--build=perhaps"],
        ["--help"],
        ["-dh"],
    ],
)
def test_the_small_parser_leaves_everything_else_to_typer(argv: list[str]) -> None:
    with pytest.raises(NotPlain):
        parse(ALL["up"].parameters, argv)


@pytest.mark.parametrize(
    "argv", [[], ["--help"], ["-x", "ps"], ["frob"], ["exec"], ["exec", "web"], ["port", "web"]]
)
def test_no_invocation_comes_out_of_an_incomplete_line(argv: list[str]) -> None:
    assert _plain(argv) is None


@pytest.mark.parametrize(
    ("argv", "message", "hint"),
    [
        (["up", "--foo"], "unknown flag: --foo", "see 'pycompose up --help'"),
        (["up", "--biuld"], "unknown flag: --biuld", "did you mean --build?"),
        (["ps", "-Z"], "unknown flag: -Z", "see 'pycompose ps --help'"),
        (["upp"], "unknown command: upp", "did you mean 'up'?"),
        (["logs", "-n"], "flag needs an argument: -n", ""),
        (["--ansi", "sometimes", "ps"], "invalid value 'sometimes' for --ansi", "one of auto, never, always"),
        (["up", "--pull", "now"], "invalid value 'now' for --pull", ""),
        (["exec"], "missing argument 'SERVICE'", "see 'pycompose exec --help'"),
        (["exec", "web"], "missing argument 'COMMAND'", "see 'pycompose exec --help'"),
    ],
)
def test_a_mistake_is_named_with_the_way_out(argv: list[str], message: str, hint: str) -> None:
    with pytest.raises(UsageError) as caught:
        read(argv)
    assert caught.value.message == message
    assert hint in caught.value.hint
    assert caught.value.exit_code == 1


def test_no_verb_shows_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert read([]) == 0
    out = capsys.readouterr().out
    assert out.startswith("Usage: pycompose [OPTIONS] COMMAND")
    assert all(f"\n  {name} " in out for name in VERBS)


@pytest.mark.parametrize("name", VERBS)
def test_every_verb_has_help_that_begins_with_a_verb_and_ends_without_a_stop(name: str) -> None:
    about = (ALL[name].run.__doc__ or "").splitlines()[0]
    assert about and about[0].isupper() and not about.endswith(".")


@pytest.mark.parametrize(
    ("text", "value"), [("3", 3), ("-1", -1), ("+2", 2), ("", None), ("-", None), ("²", None)]
)
def test_numbers_are_decimal(text: str, value: int | None) -> None:
    assert number(text) == value


@pytest.mark.parametrize(
    ("words", "name", "value"),
    [
        (["up", "-d=true"], "detach", True),
        (["up", "-d=false"], "detach", False),
        (["ps", "-aq=true"], "quiet", True),
        (["exec", "-T=true", "w", "true"], "no_tty", True),
        (["run", "--entrypoint", "", "w"], "entrypoint", ""),
        (["run", "w"], "entrypoint", None),
    ],
)
def test_short_flags_take_a_value_as_in_go(words: list[str], name: str, value: object) -> None:
    invocation = _plain(words)
    assert invocation is not None
    assert invocation.values[name] is value or invocation.values[name] == value


def test_a_short_flag_refuses_what_is_no_truth() -> None:
    assert _plain(["up", "-d=maybe"]) is None
