"""Env files: the grammar, raw files, errors with their line."""

from __future__ import annotations

import pytest

from compose.errors import FileInvalid
from compose.load.dotenv import parse, raw


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("TAB=v\t# no comment\nBLANK=v # comment\n", {"TAB": "v\t# no comment", "BLANK": "v"}),
        ("A=1", {"A": "1"}),
        ("export A=1", {"A": "1"}),
        ("A = spaced  # comment", {"A": "spaced"}),
        ("A=a#b", {"A": "a#b"}),
        ("A=", {"A": ""}),
        ("A= # no comment", {"A": "# no comment"}),
        ("A='x' B=y", {"A": "x", "B": "y"}),
        ("A: colon", {"A": "colon"}),
        ("A='$B \\n'", {"A": "$B \\n"}),
        ('A="line\\nnext \\"q\\" \\$B"', {"A": 'line\nnext "q" $B'}),
        ('A="two\nlines"', {"A": "two\nlines"}),
        ("A=1\nB=${A}2\nC=$SHELLED", {"A": "1", "B": "12", "C": "shell"}),
        ("A=${NOPE:-d}", {"A": "d"}),
        ("SHELLED\nNOPE", {"SHELLED": "shell", "NOPE": None}),
        ("\ufeffA=1\r\nB=2\r\n", {"A": "1", "B": "2"}),
        ("# c\n\n  # d\nA=1", {"A": "1"}),
        ("A=1\nA=2", {"A": "2"}),
        ("A='it' # c", {"A": "it"}),
    ],
)
def test_an_env_file_is_read(text: str, expected: dict[str, str | None]) -> None:
    assert parse(text, "f", {"SHELLED": "shell"}) == expected


@pytest.mark.parametrize(
    ("text", "line"),
    [("A=1\nB C", 2), ("A='x\ny", 1), ("=x", 1), ("A=1\n\n%=2", 3)],
)
def test_a_bad_line_is_an_error_with_its_number(text: str, line: int) -> None:
    with pytest.raises(FileInvalid) as caught:
        parse(text, "f", {})
    assert str(caught.value.where) == f"f:{line}"


def test_a_raw_file_is_taken_verbatim() -> None:
    text = "A='a b' # c\n# comment\n\nB=$A\nC=x=y \nSHELLED\n"
    assert raw(text, "f", {"SHELLED": "s"}) == {"A": "'a b' # c", "B": "$A", "C": "x=y ", "SHELLED": "s"}
