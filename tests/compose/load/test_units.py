"""Sizes, durations, numbers as text, words of a command line."""

from __future__ import annotations

import pytest

from compose.load.units import duration, format_duration, number_text, size, words


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("512m", 512 << 20), ("1.5gb", 3 << 29), ("64K", 65536), ("10", 10), ("1 GiB", 1 << 30),
        (".5k", 512), ("-1", -1), (1024, 1024), ("2TB", 2 << 40), ("7b", 7),
    ],
)  # fmt: skip
def test_a_size_is_bytes(text: str | int, expected: int) -> None:
    assert size(text) == expected


@pytest.mark.parametrize("text", ["", "m", "5x", "1.2.3m", "five", "-5m"])
def test_a_text_that_is_no_size_is_an_error(text: str) -> None:
    with pytest.raises(ValueError, match="is not a size"):
        size(text)


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("90s", "1m30s"), ("2h", "2h0m0s"), ("1500ms", "1.5s"), ("400ms", "400ms"), ("0s", "0s"),
        ("0", "0s"), ("100us", "100µs"), ("25h", "25h0m0s"), ("1.5h", "1h30m0s"), ("5ns", "5ns"),
        ("1m0.25s", "1m0.25s"),
    ],
)  # fmt: skip
def test_a_duration_is_written_in_the_usual_way(text: str, written: str) -> None:
    assert format_duration(duration(text)) == written
    assert duration(written) == duration(text)


@pytest.mark.parametrize("text", ["", "5", "5 minutes", "s", "1x"])
def test_a_text_that_is_no_duration_is_an_error(text: str) -> None:
    with pytest.raises(ValueError, match="is not a duration"):
        duration(text)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (True, "true"), (False, "false"), (16, "16"), (1.5, "1.5"), (1000.0, "1000"), (1e6, "1e+06"),
        (123456.0, "123456"), (1e-5, "1e-05"), (1000000.5, "1.0000005e+06"), (0.0, "0"), (None, ""),
    ],
)  # fmt: skip
def test_a_number_becomes_the_text_that_the_reference_writes(value: object, text: str) -> None:
    assert number_text(value) == text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("echo a", ["echo", "a"]),
        ("  a   b ", ["a", "b"]),
        ("a 'b c' \"d e\"", ["a", "b c", "d e"]),
        ("a\\ b", ["a b"]),
        ("'' x", ["", "x"]),
        ('"a\\"b" \'c\\d\'', ['a"b', "c\\d"]),
        ('"\\n"', ["\n"]),
        ("echo a && b", ["echo", "a"]),
        ("a 2>&1", ["a"]),
        ("a 'b;c' \"d|e\"", ["a", "b;c", "d|e"]),
        ("a $(b; c) `d e`", ["a", "$(b; c)", "`d e`"]),
        ("a\\\nb", ["a\nb"]),
        ("sh -c 'a; b | c'", ["sh", "-c", "a; b | c"]),
        ("", []),
    ],
)
def test_a_command_line_is_split_as_a_shell_does(text: str, expected: list[str]) -> None:
    assert words(text) == expected


def test_an_open_quote_is_an_error() -> None:
    with pytest.raises(ValueError, match="is not closed"):
        words("echo 'a")
