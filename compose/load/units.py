"""Sizes, durations and command lines: text to numbers and words and back.

Comes in:  texts as they stand in the file.
Goes out:  bytes, nanoseconds, lists of words; ValueError with a sentence when the text is wrong.
Source: Compose Specification "Specifying byte values" and "Specifying durations".
"""

from __future__ import annotations

import re
from decimal import Decimal

_SIZE = re.compile(r"\+?((?:\d+\.?\d*|\.\d+)(?:[eE]\+?\d{1,2})?) ?(?:([kKmMgGtTpP])(?:[iI]?[bB])?|[bB])?\Z")
_LARGEST = 2**63 - 1
_POWER = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4, "p": 5}
_NANOSECONDS = {
    "ns": 1, "us": 10**3, "µs": 10**3, "μs": 10**3, "ms": 10**6, "s": 10**9,
    "m": 60 * 10**9, "h": 3600 * 10**9, "d": 86400 * 10**9, "w": 7 * 86400 * 10**9,
}  # fmt: skip
_PART = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|μs|ms|s|m|h|d|w)")


def size(value: str | int | float) -> int:
    """Bytes of ``512m``, ``1.5gb``, ``1024``; units are powers of 1024; -1 stays -1."""
    if value == "-1":
        return -1
    if isinstance(value, int | float):
        found = int(value)
    elif match := _SIZE.match(value):
        found = int(Decimal(match[1]) * 1024 ** _POWER[(match[2] or "").lower()])
    else:
        raise ValueError(f"'{value}' is not a size such as '512m' or '1.5gb'")
    if found > _LARGEST:
        raise ValueError(f"'{value}' is larger than any memory")
    return found


def duration(value: str) -> int:
    """Nanoseconds of ``1m30s``, ``1.5h``, ``250ms``."""
    text = value.strip()
    sign = -1 if text.startswith("-") else 1
    rest = text.lstrip("+-")
    if rest == "0":
        return 0
    if not rest or _PART.sub("", rest):
        raise ValueError(f"'{value}' is not a duration such as '90s' or '1m30s'")
    total = sum(int(Decimal(n.rstrip(".")) * _NANOSECONDS[unit]) for n, unit in _PART.findall(rest))
    if total > _LARGEST:
        raise ValueError(f"'{value}' is longer than 292 years")
    return sign * total


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
        return "NaN" if value != value else "+Inf" if value > 0 else "-Inf"
    decimal = Decimal(repr(value)).normalize()
    exponent = decimal.adjusted()
    if value and not -4 <= exponent < 6:
        digits = "".join(map(str, decimal.as_tuple().digits))
        mantissa = digits[0] + ("." + digits[1:] if digits[1:] else "")
        return f"{'-' if value < 0 else ''}{mantissa}e{'-' if exponent < 0 else '+'}{abs(exponent):02d}"
    return f"{decimal:f}"


def words(text: str) -> list[str]:
    """Split a command line into words without a shell: nothing is expanded.

    Single quotes are literal, elsewhere a backslash takes the next character (``\\n`` and ``\\t`` are a new
    line and a tab); ``$( )`` and backquotes keep together what stands in them. The line ends at the first
    ``; & | < >`` outside of quotes, as it does for docker compose: see ``words_until``.
    Raises ValueError for what is not closed.
    """
    return words_until(text)[0]


def words_until(text: str) -> tuple[list[str], int]:
    """The words of ``text``, and the index at which the command line ends."""
    splitter = _Splitter()
    for index, char in enumerate(text):
        if not splitter.take(char):
            return splitter.finish(), index
    return splitter.finish(), len(text)


class _Splitter:
    """The words so far; ``inside`` is the open quote: ``'``, ``"``, a backquote, ``(`` or nothing."""

    def __init__(self) -> None:
        self._words: list[str] = []
        self._word: str | None = None
        self._inside = ""
        self._escaped = False

    def take(self, char: str) -> bool:
        """Read one character; False at the end of the command line."""
        inside = self._inside
        if self._escaped:
            self._escaped = False
            self._add({"n": "\n", "t": "\t"}.get(char, char))
        elif char == "\\" and inside != "'":
            self._escaped = True
        elif not inside and char in " \t\r\n":
            self._end()
        elif not inside and char in ";&|<>":
            if char == ">" and (self._word or "")[:1].isdigit():
                self._word = None  # the number of a descriptor
            return False
        elif char in "'\"" and inside in ("", char):
            self._inside = "" if inside else char
            self._add("")
        else:
            self._bracket(char)
            self._add(char)
        return True

    def _bracket(self, char: str) -> None:
        if char == "`" and self._inside in ("", "`"):
            self._inside = "" if self._inside else "`"
        elif char == "(" and self._inside in ("", "("):
            if self._inside or not (self._word or "").endswith("$"):
                raise ValueError("'(' has a meaning for a shell only: quote it")
            self._inside = "("
        elif char == ")" and self._inside in ("", "("):
            if not self._inside:
                raise ValueError("')' has a meaning for a shell only: quote it")
            self._inside = ""

    def _add(self, text: str) -> None:
        self._word = (self._word or "") + text

    def _end(self) -> None:
        if self._word is not None:
            self._words.append(self._word)
        self._word = None

    def finish(self) -> list[str]:
        """All words. Raises ValueError for what is still open."""
        if self._escaped:
            raise ValueError("the command line ends with a backslash")
        if self._inside:
            raise ValueError(f"the quote {self._inside} is not closed")
        self._end()
        return self._words
