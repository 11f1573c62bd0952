"""Sizes, durations and command lines: text to numbers and words and back.

Comes in:  texts as they stand in the file.
Goes out:  bytes, nanoseconds, lists of words; ValueError with a sentence when the text is wrong.
Source: Compose Specification "Specifying byte values" and "Specifying durations".
"""

from __future__ import annotations

import re
from decimal import Decimal

_SIZE = re.compile(r"(\d+(?:\.\d+)?|\.\d+) ?([kKmMgGtTpP])?[iI]?[bB]?\Z")
_POWER = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4, "p": 5}
_NANOSECONDS = {
    "ns": 1, "us": 10**3, "µs": 10**3, "μs": 10**3, "ms": 10**6, "s": 10**9,
    "m": 60 * 10**9, "h": 3600 * 10**9, "d": 86400 * 10**9, "w": 7 * 86400 * 10**9,
}  # fmt: skip
_PART = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|μs|ms|s|m|h|d|w)")


def size(value: str | int | float) -> int:
    """Bytes of ``512m``, ``1.5gb``, ``1024``; units are powers of 1024; -1 stays -1."""
    if isinstance(value, int | float):
        return int(value)
    text = value.strip()
    if text == "-1":
        return -1
    match = _SIZE.match(text)
    if match is None:
        raise ValueError(f"'{value}' is not a size such as '512m' or '1.5gb'")
    return int(Decimal(match[1]) * 1024 ** _POWER[(match[2] or "").lower()])


def duration(value: str) -> int:
    """Nanoseconds of ``1m30s``, ``1.5h``, ``250ms``."""
    text = value.strip()
    sign = -1 if text.startswith("-") else 1
    rest = text.lstrip("+-")
    if rest == "0":
        return 0
    if not rest or _PART.sub("", rest):
        raise ValueError(f"'{value}' is not a duration such as '90s' or '1m30s'")
    return sign * sum(int(Decimal(n.rstrip(".")) * _NANOSECONDS[unit]) for n, unit in _PART.findall(rest))


def format_duration(nanoseconds: int) -> str:
    """The shortest usual writing: ``1m30s``, ``2h0m0s``, ``1.5s``, ``400ms``, ``0s``."""
    if nanoseconds < 0:
        return "-" + format_duration(-nanoseconds)
    for unit, scale in (("ns", 1), ("µs", 10**3), ("ms", 10**6)):
        if nanoseconds < scale * 1000:
            return f"{_decimal(nanoseconds, scale)}{unit}" if nanoseconds else "0s"
    minutes, rest = divmod(nanoseconds, 60 * 10**9)
    seconds = f"{_decimal(rest, 10**9)}s"
    if not minutes:
        return seconds
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h{minutes}m{seconds}" if hours else f"{minutes}m{seconds}"


def _decimal(value: int, scale: int) -> str:
    whole, rest = divmod(value, scale)
    digits = str(rest).rjust(len(str(scale)) - 1, "0").rstrip("0") if rest else ""
    return f"{whole}.{digits}" if digits else str(whole)


def number_text(value: object) -> str:
    """A scalar as docker compose writes it into an environment: ``true``, ``16``, ``1.5``, ``1000``."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return _float_text(value)
    return "" if value is None else str(value)


def _float_text(value: float) -> str:
    """The shortest decimal; an exponent below -4 or from 6 on is written out, as in ``1e+06``."""
    if value != value or value in (float("inf"), float("-inf")):
        return str(value)
    decimal = Decimal(repr(value)).normalize()
    exponent = decimal.adjusted()
    if value and not -4 <= exponent < 6:
        digits = "".join(map(str, decimal.as_tuple().digits))
        mantissa = digits[0] + ("." + digits[1:] if digits[1:] else "")
        return f"{'-' if value < 0 else ''}{mantissa}e{'-' if exponent < 0 else '+'}{abs(exponent):02d}"
    return f"{decimal:f}"


def words(text: str) -> list[str]:
    """Split a command line into words as a shell would, expanding nothing.

    Single quotes are literal, in double quotes a backslash escapes ``"\\$` and newline.
    Raises ValueError for an unclosed quote.
    """
    result: list[str] = []
    current: list[str] | None = None
    index, size_ = 0, len(text)
    while index < size_:
        char = text[index]
        index += 1
        if char in " \t\r\n":
            if current is not None:
                result.append("".join(current))
            current = None
            continue
        current = [] if current is None else current
        if char == "\\" and index < size_:
            if text[index] != "\n":
                current.append(text[index])
            index += 1
        elif char in "'\"":
            index = _quoted(text, index, char, current)
        else:
            current.append(char)
    return result if current is None else [*result, "".join(current)]


def _quoted(text: str, index: int, quote: str, into: list[str]) -> int:
    """Copy up to the closing ``quote``; the index behind it."""
    while index < len(text):
        char = text[index]
        index += 1
        if char == quote:
            return index
        if char == "\\" and quote == '"' and text[index : index + 1] in ('"', "\\", "$", "`", "\n"):
            char = "" if text[index] == "\n" else text[index]
            index += 1
        into.append(char)
    raise ValueError(f"the quote {quote} is not closed")
