"""Env files: ``.env``, ``--env-file``, ``env_file`` and ``label_file``.

Comes in:  the text of a file, and what earlier sources already set.
Goes out:  names and values; None for a line that holds only a name which nobody sets.
Source: Compose Specification "Env_file format".
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Mapping
from typing import NoReturn

from compose.errors import FileInvalid, Where
from compose.load.interpolate import BadSyntax, Plain, substitute

_KEY = re.compile(r"[ \t]*(?:export[ \t]+)?([^\s=:#'\"][^\s=:]*)[ \t]*(?:([=:])[ \t]*)?")
_COMMENT = re.compile(r" #.*")  # a tab begins none
_ESCAPES = {"n": "\n", "r": "\r", "t": "\t", "\\": "\\", '"': '"', "a": "\a", "b": "\b", "f": "\f", "v": "\v"}


def parse(
    text: str,
    file: str,
    environment: Mapping[str, str],
    lines: dict[str, int] | None = None,
    earlier: Mapping[str, str] | None = None,
) -> dict[str, str | None]:
    """Read an env file in the usual grammar: quotes, comments, ``export``, variables, several lines.

    environment: wins over the file where a value refers to a variable.
    earlier:     what earlier files gave: the file wins over it.
    lines:       filled with the line of every name.
    Raises FileInvalid with the line for what is no assignment.
    """
    reader = _Reader(text.removeprefix("\ufeff"), file, environment, earlier or {})
    while reader.step():
        pass
    if lines is not None:
        starts = [0, *(match.end() for match in re.finditer("\n", reader.text))]
        lines |= {name: bisect_right(starts, index) for name, index in reader.starts.items()}
    return reader.values


def raw(text: str, file: str, environment: Mapping[str, str]) -> dict[str, str | None]:
    """Read ``format: raw``: everything behind the first ``=`` counts, verbatim."""
    values: dict[str, str | None] = {}
    for number, whole in enumerate(text.removeprefix("\ufeff").split("\n"), 1):
        line = whole.removesuffix("\r").lstrip()
        if not line or line.startswith("#"):
            continue
        name, equals, value = line.partition("=")
        if not name or re.search(r"\s", name):
            raise FileInvalid(f"'{name}' is not the name of a variable", where=Where(file, number))
        values[name] = value if equals else environment.get(name)
    return values


class _Reader:
    def __init__(
        self, text: str, file: str, environment: Mapping[str, str], earlier: Mapping[str, str]
    ) -> None:
        self.text = text
        self._file = file
        self._index = 0
        self._environment = environment
        self._earlier = earlier
        self.values: dict[str, str | None] = {}
        self.starts: dict[str, int] = {}

    def step(self) -> bool:
        """Read one assignment; False at the end."""
        while self._index < len(self.text) and self.text[self._index] in " \t\n\r":
            self._index += 1
        if self._index >= len(self.text):
            return False
        if self.text[self._index] == "#":
            self._line()
            return True
        match = _KEY.match(self.text, self._index)
        if match is None:
            self._fail("no 'NAME=value' here")
        name, sign = match[1], match[2]
        if not re.fullmatch(r"[\w.\-\[\]]+", name):
            self._fail(f"unexpected character in variable name '{name}'")
        self.starts[name] = match.start(1)
        self._index = match.end()
        self.values[name] = self._value() if sign else self._inherited(name)
        return True

    def _inherited(self, name: str) -> str | None:
        start = self._index
        rest = self._line().strip()
        if rest and not rest.startswith("#"):
            self._index = start
            self._fail(f"unexpected text '{rest[:40]}' after variable name '{name}'")
        return self._environment.get(name)

    def _value(self) -> str:
        quote = self.text[self._index : self._index + 1]
        if quote not in ("'", '"') or not quote:
            return self._expand(_COMMENT.sub("", self._line()).strip())
        return self._quoted(quote)

    def _line(self) -> str:
        end = self.text.find("\n", self._index)
        end = len(self.text) if end == -1 else end
        line = self.text[self._index : end]
        self._index = end + 1
        return line

    def _quoted(self, quote: str) -> str:
        start = self._index + 1
        end = start
        while end < len(self.text) and self.text[end] != quote:
            end += 2 if self.text[end] == "\\" else 1
        if end >= len(self.text):
            self._fail(f"the quote {quote} is not closed")
        body = self.text[start:end]
        self._index = end + 1
        value = body.replace("\\'", "'") if quote == "'" else self._expand(_unescaped(body))
        return value  # what follows on the line is read as if it stood on the next

    def _expand(self, text: str) -> str:
        if "$" not in text:
            return text
        known = {name: value for name, value in self.values.items() if value is not None}
        try:
            return substitute(text, Plain(self._environment, known, self._earlier))
        except BadSyntax as error:
            self._fail(str(error))

    def _fail(self, message: str) -> NoReturn:
        line = self.text.count("\n", 0, min(self._index, len(self.text))) + 1
        raise FileInvalid(message, where=Where(self._file, line))


def _unescaped(body: str) -> str:
    """Backslash escapes of a double-quoted value; ``\\$`` becomes the ``$$`` of a literal dollar."""

    def one(match: re.Match[str]) -> str:
        return "$$" if match[1] == "$" else _ESCAPES.get(match[1], match[0])

    return re.sub(r"\\(.)", one, body, flags=re.DOTALL)
