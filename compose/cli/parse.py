"""Read a well-formed command line at once, without typer: the road that nearly every call takes.

Comes in:  the words after ``pycompose``, the parameters that ``options`` read from the verbs' signatures.
Goes out:  an Invocation (values of the global flags, the verb, its values), or None for whatever is not
           plain and correct: help, completion, mistakes. typer then reads the same words and answers.
Source: POSIX Utility Conventions and GNU long options, as docker compose takes them.
"""

from collections.abc import Sequence
from typing import Any

from compose.cli.options import REQUIRED, Argument, Option, Parameter, options

_TRUTH = {"true": True, "1": True, "t": True, "false": False, "0": False, "f": False}


class NotPlain(Exception):
    """The words are wrong or ask for something that only typer's front answers."""


class Invocation:
    """One command line, read: what ``pycompose``, its verb and the verb's function are given."""

    __slots__ = ("shared", "values", "verb")

    def __init__(self, shared: dict[str, Any], verb: str, values: dict[str, Any]) -> None:
        self.shared = shared
        self.verb = verb
        self.values = values


class _Reader:
    """Walks over the words once; ``words`` collects what is no option."""

    def __init__(self, found: Sequence[Parameter], argv: Sequence[str], *, interspersed: bool) -> None:
        self.table = options(found)
        self.argv = argv
        self.at = 0
        self.interspersed = interspersed
        self.values: dict[str, Any] = {}
        self.words: list[str] = []

    def read(self) -> None:
        """Consume every word, or up to the first word that is no option when nothing may be interspersed."""
        while self.at < len(self.argv):
            word = self.argv[self.at]
            self.at += 1
            if word == "--":
                self.words.extend(self.argv[self.at :])
                self.at = len(self.argv)
            elif word.startswith("--"):
                self._long(word)
            elif word.startswith("-") and word != "-":
                self._short(word)
            elif self.interspersed:
                self.words.append(word)
            else:
                self.words.extend(self.argv[self.at - 1 :])
                return

    def _next(self) -> str:
        if self.at >= len(self.argv):
            raise NotPlain
        self.at += 1
        return self.argv[self.at - 1]

    def _long(self, word: str) -> None:
        name, equals, text = word.partition("=")
        parameter = self.table.get(name)
        if parameter is None:
            raise NotPlain
        if parameter.kind == "flag":
            self._set(parameter, text if equals else "true")
        else:
            self._set(parameter, text if equals else self._next())

    def _short(self, word: str) -> None:
        for position, letter in enumerate(word[1:], 2):
            parameter = self.table.get("-" + letter)
            if parameter is None:
                raise NotPlain
            if parameter.kind != "flag":
                text = word[position:].removeprefix("=")
                self._set(parameter, text if text else self._next())
                return
            if word[position : position + 1] == "=":  # as in all Go programs: -d=true
                self._set(parameter, word[position + 1 :])
                return
            self._set(parameter, "true")

    def _set(self, parameter: Parameter, text: str) -> None:
        assert isinstance(parameter.mark, Option)
        value: Any = text
        if parameter.kind == "flag":
            value = _TRUTH.get(text)
        elif parameter.kind == "number":
            value = number(text)
        elif parameter.mark.choices and text not in parameter.mark.choices:
            value = None
        if value is None:
            raise NotPlain
        if parameter.kind == "texts":
            value = (*self.values.get(parameter.name, ()), value)
        self.values[parameter.name] = value


def number(text: str) -> int | None:
    """A decimal integer, sign allowed; None when ``text`` is none."""
    digits = text[1:] if text[:1] in ("-", "+") else text
    return int(text) if digits.isascii() and digits.isdigit() else None


def parse(found: Sequence[Parameter], argv: Sequence[str], *, interspersed: bool = True) -> dict[str, Any]:
    """Values for every parameter, defaults filled in. Raises NotPlain when ``argv`` does not fit."""
    reader = _Reader(found, argv, interspersed=interspersed)
    reader.read()
    words = reader.words
    for parameter in found:
        if parameter.kind == "word" and words:
            reader.values[parameter.name] = words.pop(0)
        elif parameter.kind == "words":
            assert isinstance(parameter.mark, Argument)
            if len(words) < parameter.mark.at_least:
                raise NotPlain
            reader.values[parameter.name] = tuple(words)
            words = []
        elif parameter.name not in reader.values:
            if parameter.default is REQUIRED:
                raise NotPlain
            reader.values[parameter.name] = parameter.default
    if words:
        raise NotPlain
    return reader.values


def split(found: Sequence[Parameter], argv: Sequence[str]) -> tuple[dict[str, Any], str, Sequence[str]]:
    """Separate the global flags from the verb and its words. Raises NotPlain when there is no verb."""
    reader = _Reader(found, argv, interspersed=False)
    reader.read()
    if not reader.words:
        raise NotPlain
    values = {p.name: reader.values.get(p.name, p.default) for p in found}
    return values, reader.words[0], reader.words[1:]
