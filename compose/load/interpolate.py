"""Variables in values: ``$V``, ``${V:-default}`` and the rest, then typed casts.

Comes in:  one file's tree and a ``Scope`` (the environment and what was noticed so far).
Goes out:  the tree with texts replaced; the Scope knows unset, required and used variables.
Not here:  where the environment comes from (``files``), env files (``dotenv``).
Source: Compose Specification "Interpolation".
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from compose.errors import ComposeError, FileInvalid, Where
from compose.load.cast import cast
from compose.load.problems import Problems
from compose.load.tree import Date, Map, Override, Reset, Seq, dotted

NAME = re.compile(r"[_a-zA-Z][_a-zA-Z0-9]*")
OPERATORS = (":-", ":?", ":+", "-", "?", "+")
MAX_DEPTH = 50


class MissingVariable(FileInvalid):
    """A variable that the file requires (``${V:?message}``) is set nowhere."""

    def __init__(self, name: str, message: str, *, where: Where | None, path: str) -> None:
        super().__init__(
            f"required variable '{name}' is missing a value" + (f": {message}" if message else ""),
            where=where,
            path=path,
        )
        self.name = name


class BadSyntax(ValueError):
    """A malformed ``${...}``."""


@dataclass
class Scope:
    """The environment of one project, and what interpolation noticed in it.

    used:     name -> value or None, of every variable that was looked up.
    unset:    names without value and without default, with the first place.
    required: errors for ``${V:?}``, reported together at the end.
    where:    the place of every variable that an env file gave.
    texts:    place -> text before its variables were replaced.
    """

    environment: Mapping[str, str]
    used: dict[str, str | None] = field(default_factory=dict)
    unset: dict[str, Where | None] = field(default_factory=dict)
    required: list[ComposeError] = field(default_factory=list)
    where: Mapping[str, Where] = field(default_factory=dict)
    texts: dict[Where, str] = field(default_factory=dict)

    def get(self, name: str) -> str | None:
        """The value of ``name``, remembered as used."""
        value = self.environment.get(name)
        self.used[name] = value
        return value


def interpolate(tree: Map, scope: Scope, problems: Problems) -> Map:
    """Replace variables in every value of ``tree`` and cast what landed in typed attributes."""
    return _Walk(scope, problems).map(tree, ())


class _Walk:
    def __init__(self, scope: Scope, problems: Problems) -> None:
        self._scope = scope
        self._problems = problems

    def map(self, tree: Map, path: tuple[str | int, ...]) -> Map:
        result = Map()
        result.at = tree.at
        for key, value in tree.items():
            result[key] = self.value(value, (*path, key), tree.at.get(key))
        return result

    def value(self, value: Any, path: tuple[str | int, ...], where: Where | None) -> Any:
        if isinstance(value, str):
            return self.text(value, path, where)
        if isinstance(value, Map):
            return self.map(value, path)
        if isinstance(value, Seq):
            return Seq((self.value(v, (*path, i), w), w) for i, (v, w) in enumerate(value.placed()))
        if isinstance(value, Override):
            return Override(self.value(value.value, path, where))
        return value

    def text(self, text: str, path: tuple[str | int, ...], where: Where | None) -> Any:
        if isinstance(text, Date):
            if not any(isinstance(step, str) and step.startswith("x-") for step in path):
                self._problems.add(f"'{text}' is a date, not text", path, where, hint="quote it")
            return str(text)
        missing = len(self._scope.required)
        try:
            done = substitute(text, _Place(self._scope, where, path)) if "$" in text else text
        except BadSyntax as error:
            self._problems.add(str(error), path, where, hint="write '$$' for a literal dollar sign")
            return Reset()
        if where is not None and "$" in text:
            self._scope.texts[where] = text
        if len(self._scope.required) > missing:
            self._problems.tainted.add(path)
            return Reset()
        try:
            return cast(done, path)
        except ValueError as error:
            after = ", after replacing variables" if not done and text else ""
            self._problems.add(f"{error}{after}", path, where)
            return Reset()


class _Place:
    """Look-up of variables on behalf of one place in a file."""

    def __init__(self, scope: Scope, where: Where | None, path: tuple[str | int, ...]) -> None:
        self.get = scope.get
        self._scope = scope
        self._where = where
        self._path = path

    def unset(self, name: str) -> str:
        self._scope.unset.setdefault(name, self._where)
        return ""

    def missing(self, name: str, message: str) -> str:
        error = MissingVariable(name, message, where=self._where, path=dotted(self._path))
        self._scope.required.append(error)
        return ""


class Plain:
    """Look-up without a place, for env files: an unset variable is empty, a required one an error."""

    def __init__(self, *sources: Mapping[str, str]) -> None:
        self._sources = sources

    def get(self, name: str) -> str | None:
        """The value in the first source that has ``name``."""
        return next((source[name] for source in self._sources if name in source), None)

    def unset(self, name: str) -> str:
        """An unset variable without default."""
        return ""

    def missing(self, name: str, message: str) -> str:
        """A required variable."""
        raise BadSyntax(f"required variable '{name}' is missing a value: {message}")


def substitute(text: str, lookup: _Place | Plain, depth: int = 0) -> str:
    """``text`` with every variable replaced. Raises BadSyntax for a malformed ``${``. O(len(text))."""
    if depth > MAX_DEPTH:
        raise BadSyntax(f"variables are nested deeper than {MAX_DEPTH} levels")
    out: list[str] = []
    index = 0
    while (dollar := text.find("$", index)) != -1:
        out.append(text[index:dollar])
        follower = text[dollar + 1 : dollar + 2]
        if follower == "$":
            out.append("$")
            index = dollar + 2
        elif follower == "{":
            end = closing(text, dollar + 1)
            out.append(_braced(text[dollar + 2 : end], lookup, depth + 1))
            index = end + 1
        elif match := NAME.match(text, dollar + 1):
            value = lookup.get(match[0])
            out.append(lookup.unset(match[0]) if value is None else value)
            index = match.end()
        else:
            out.append("$")
            index = dollar + 1
    out.append(text[index:])
    return "".join(out)


def closing(text: str, start: int) -> int:
    """The index of the brace that closes the one at ``start``."""
    depth = 0
    for index in range(start, len(text)):
        if text[index] == "{":
            depth += 1
        elif text[index] == "}":
            depth -= 1
            if depth == 0:
                return index
    raise BadSyntax(f"invalid variable in '{_short(text)}': '${{' is not closed")


def _braced(inside: str, lookup: _Place | Plain, depth: int) -> str:
    """The value of what stands between ``${`` and ``}``."""
    match = NAME.match(inside)
    if match is None:
        raise BadSyntax(f"invalid variable '${{{_short(inside)}}}'")
    name, rest = match[0], inside[match.end() :]
    value = lookup.get(name)
    if not rest:
        return lookup.unset(name) if value is None else value
    operator = next((o for o in OPERATORS if rest.startswith(o)), None)
    if operator is None:
        raise BadSyntax(f"invalid variable '${{{_short(inside)}}}'")
    operand = rest[len(operator) :]
    there = bool(value) if operator[0] == ":" else value is not None
    kind = operator[-1]
    if kind == "+":
        return substitute(operand, lookup, depth) if there else ""
    if there:
        return value or ""
    return (
        substitute(operand, lookup, depth)
        if kind == "-"
        else lookup.missing(name, substitute(operand, lookup, depth))
    )


def _short(text: str) -> str:
    return text if len(text) <= 60 else text[:57] + "..."
