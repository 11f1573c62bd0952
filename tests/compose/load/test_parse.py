"""YAML: scalars, places, anchors, tags, and what is refused."""

from __future__ import annotations

import pytest

from compose.errors import FileInvalid
from compose.load.parse import parse, scalar
from compose.load.tree import Date, Map, Override, Reset, place


def one(text: str) -> Map:
    tree = parse(text.encode(), "f.yaml")[0]
    assert tree is not None
    return tree


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("", None), ("~", None), ("null", None), ("true", True), ("FALSE", False), ("yes", "yes"),
        ("on", "on"), ("1", 1), ("-7", -7), ("0x10", 16), ("0o17", 15), ("017", 15), ("0b11", 3),
        ("1_000", 1000), ("1.5", 1.5), (".5", 0.5), ("1e3", 1000.0), ("1:30", "1:30"), ("1.2.3", "1.2.3"),
        ("08", 8.0), ("-", "-"), ("0x", "0x"), ("a1", "a1"), (".inf", ".inf"),
    ],
)  # fmt: skip
def test_a_plain_scalar_is_read_as_yaml_1_2_does(text: str, value: object) -> None:
    read = scalar(text)
    assert (read, type(read)) == (value, type(value))


def test_an_unquoted_date_is_no_text() -> None:
    assert isinstance(scalar("2020-01-01"), Date)


def test_a_quoted_scalar_is_text() -> None:
    assert one("a: '1'\nb: \"yes\"\nc: |\n  5\nd: !!str 7\n") == {"a": "1", "b": "yes", "c": "5\n", "d": "7"}


def test_every_entry_knows_its_place() -> None:
    tree = one("a:\n  b: 1\n  c:\n    - x\n    -   y\n")
    assert str(place(tree, ("a", "b"))) == "f.yaml:2:3"
    assert str(place(tree, ("a", "c", 1))) == "f.yaml:5:9"
    assert str(place(tree, ("a", "nope"))) == "f.yaml:1:1"


def test_own_keys_win_over_merged_ones_and_the_first_merged_wins() -> None:
    tree = one("x: &x {a: 1, b: 1}\ny: &y {b: 2, c: 2}\nz:\n  <<: [*x, *y]\n  a: 3\n")
    assert tree["z"] == {"a": 3, "b": 1, "c": 2}


def test_reset_and_override_are_kept_for_merging() -> None:
    tree = one("a: !reset 1\nb: !override [x]\n")
    assert isinstance(tree["a"], Reset)
    assert isinstance(tree["b"], Override)


def test_several_documents_are_several_trees() -> None:
    assert parse(b"a: 1\n---\nb: 2\n", "f") == [{"a": 1}, {"b": 2}]


def test_utf_16_and_a_byte_order_mark_are_understood() -> None:
    assert parse("a: ü".encode("utf-16"), "f") == parse("\ufeffa: ü".encode(), "f") == [{"a": "ü"}]


@pytest.mark.parametrize(
    ("data", "message", "where"),
    [
        (b"a: 1\na: 2\n", "key 'a' stands here twice", "f:2:1"),
        (b"a: \0\n", "the file contains a NUL byte", "f:1:4"),
        (b"\xff\xfea", "the file is not UTF-8 text", "f:1"),
        (b"a: [\n", "not YAML", "f:2:1"),
        (b"- a\n", "the top level has to be a mapping, not a list", "f:1:1"),
        (b"? [a]\n: b\n", "a key has to be text, not a list or mapping", "f:1:3"),
        (b"a: &a {b: *a}\n", "an anchor contains an alias to itself", "f:1:4"),
        (b"a: !!binary /w==\n", "'!!binary' holds no base64 of UTF-8 text", "f:1:4"),
        (b"1: a\n", "the key 1 is no text", "f:1:1"),
        (b"a: {<<: {b: c}, <<: {d: e}}\n", "'<<' stands here twice", "f:1:17"),
        (b"a: " + b"[" * 300 + b"]" * 300, "the file is nested deeper than 200 levels", "f:1:203"),
        (b"a:\n" + b" [\n" * 99999, "the file is nested deeper than 200 levels", "f:201:2"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_says_where(data: bytes, message: str, where: str) -> None:
    with pytest.raises(FileInvalid) as caught:
        parse(data, "f")
    assert caught.value.message.startswith(message)
    assert str(caught.value.where) == where


def test_an_alias_bomb_ends_early() -> None:
    lines = ["x0: &x0 [1,1,1,1,1,1,1,1,1,1]"]
    lines += [f"x{n}: &x{n} [{','.join([f'*x{n - 1}'] * 10)}]" for n in range(1, 12)]
    with pytest.raises(FileInvalid, match="too many entries"):
        parse("\n".join(lines).encode(), "f")
