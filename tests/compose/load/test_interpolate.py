"""Variables: every operator, nesting, odd dollars, typed attributes, warnings."""

from __future__ import annotations

import pytest

from compose.errors import ComposeError
from compose.load.interpolate import BadSyntax, Plain, Scope, interpolate, substitute
from compose.load.parse import parse
from compose.load.problems import Problems

KNOWN = {"SET": "value", "EMPTY": "", "N": "3"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("$SET", "value"),
        ("${SET}x", "valuex"),
        ("$SETx", ""),
        ("${UNSET}", ""),
        ("${UNSET:-d}", "d"),
        ("${UNSET-d}", "d"),
        ("${EMPTY:-d}", "d"),
        ("${EMPTY-d}", ""),
        ("${SET:+alt}", "alt"),
        ("${EMPTY:+alt}", ""),
        ("${EMPTY+alt}", "alt"),
        ("${UNSET+alt}", ""),
        ("${SET:?message}", "value"),
        ("${EMPTY?message}", ""),
        ("${UNSET:-${EMPTY:-${SET}}}", "value"),
        ('${UNSET:-{"k":"v"}}', '{"k":"v"}'),
        ("${UNSET:-a:b-c?d}", "a:b-c?d"),
        ("$$SET", "$SET"),
        ("$$$SET", "$value"),
        ("$1 $ x 100%$", "$1 $ x 100%$"),
        ("a$SET-$N.", "avalue-3."),
    ],
)
def test_a_variable_is_replaced(text: str, expected: str) -> None:
    assert substitute(text, Plain(KNOWN)) == expected


@pytest.mark.parametrize("text", ["${A", "${1x}", "${}", "${A/b/c}", "${A b}", "x${A:-${B}"])
def test_a_malformed_variable_is_an_error(text: str) -> None:
    with pytest.raises(BadSyntax):
        substitute(text, Plain(KNOWN))


def run(text: str) -> tuple[dict[str, object], Scope, list[ComposeError]]:
    scope, problems = Scope(KNOWN), Problems()
    tree = parse(text.encode(), "compose.yaml")[0]
    assert tree is not None
    return dict(interpolate(tree, scope, problems)), scope, problems.errors


def test_an_unset_variable_is_remembered_once_with_its_first_place() -> None:
    _, scope, _ = run("x-a: $UNSET\nx-b: $UNSET\n")
    assert {name: str(where) for name, where in scope.unset.items()} == {"UNSET": "compose.yaml:1:1"}


def test_a_default_silences_the_warning() -> None:
    assert run("x-a: ${UNSET-}\n")[1].unset == {}


def test_every_required_variable_is_reported() -> None:
    _, scope, _ = run("x-a: ${A:?first}\nx-b: ['${B?}', '${A:?first}']\n")
    assert [(e.message, str(e.where)) for e in scope.required] == [
        ("required variable 'A' is missing a value: first", "compose.yaml:1:1"),
        ("required variable 'B' is missing a value", "compose.yaml:2:7"),
        ("required variable 'A' is missing a value: first", "compose.yaml:2:16"),
    ]


def test_text_becomes_a_number_where_the_attribute_is_one() -> None:
    model, _, errors = run("services: {a: {scale: $N, tty: 'yes', cpus: '1.5', command: $N}}")
    assert errors == []
    assert model["services"] == {"a": {"scale": 3, "tty": True, "cpus": 1.5, "command": "3"}}


def test_a_failed_cast_names_the_path() -> None:
    _, _, errors = run("services: {a: {scale: $SET}}")
    assert (errors[0].message, errors[0].path) == ("'value' is not a whole number", "services.a.scale")


def test_an_empty_number_blames_the_variable() -> None:
    _, _, errors = run("services: {a: {scale: $UNSET}}")
    assert "after replacing variables" in errors[0].message
