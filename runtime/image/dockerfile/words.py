"""Words of a Dockerfile: splitting at blanks, removing quotes, replacing variables.

Comes in:  the text of an argument and the variables that are set.
Goes out:  words.
Not here:  which instructions expand what (runtime.build), patterns in ``${name#pattern}`` (glob).
Source: Dockerfile reference, section Environment replacement; POSIX.1-2017 shell, section 2.6.2.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from runtime.image.dockerfile import glob
from runtime.image.dockerfile.errors import DockerfileInvalid

_NAME = re.compile(r"[0-9]+|[@*#?!$-]|[^\W\d]\w*")
_BLANKS = re.compile(r"[\t\v\f\r ]+")
_DEEPEST = 100
_OPERATORS = (":-", ":+", ":?", "-", "+", "?", "##", "#", "%%", "%", "//", "/", "}")


def expand(text: str, variables: Mapping[str, str], escape: str = "\\") -> str:
    """One word: variables replaced, quotes and escapes removed. Unset variables are empty.

    variables: only asked by ``get``, so that a mapping of the caller's can note who was asked for.
    Raises DockerfileInvalid for a syntax error and for ``${name:?message}`` of an unset name.
    """
    return "".join(char for char, _ in _Scanner(text, variables, escape).run())


def expand_text(text: str, variables: Mapping[str, str]) -> str:
    """The lines of a here-document: variables replaced, backslashes escape, quotes are plain characters."""
    return "".join(char for char, _ in _Scanner(text, variables, "\\", quotes=False).run())


def expand_words(text: str, variables: Mapping[str, str], escape: str = "\\") -> list[str]:
    """Words split at blanks outside of quotes, after the variables were replaced."""
    words: list[list[str]] = []
    open_word = False
    for char, quoted in _Scanner(text, variables, escape).run():
        if char.isspace() and not quoted:
            open_word = False
            continue
        if not open_word:
            words.append([])
            open_word = True
        words[-1].append(char)
    return ["".join(word) for word in words]


def fields(text: str) -> tuple[str, ...]:
    """Words split at blanks alone, as FROM, COPY, ADD, EXPOSE and VOLUME are: quotes do not join."""
    stripped = text.strip()
    return tuple(_BLANKS.split(stripped)) if stripped else ()


def split(text: str, escape: str = "\\", *, keep_quotes: bool = False) -> list[str]:
    """Words split at blanks outside of quotes, with nothing replaced; quotes and escapes stay if asked
    for."""
    words: list[str] = []
    word: list[str] = []
    quote, at, begun = "", 0, False
    while at < len(text):
        c = text[at]
        if c.isspace() and not quote:
            if begun:
                words.append("".join(word))
            word, begun, at = [], False, at + 1
            continue
        begun = True
        if c == escape and quote != "'":
            word.append(text[at : at + 2] if keep_quotes else text[at + 1 : at + 2])
            at += 2
            continue
        if c in "\"'" and quote in ("", c):
            quote = "" if quote else c
            word.append(c if keep_quotes else "")
        else:
            word.append(c)
        at += 1
    return [*words, "".join(word)] if begun else words


@dataclass(slots=True)
class _Scanner:
    """Walks over a text; ``out`` collects (character, whether it was quoted).

    raw: escapes stay in the result, for the patterns that come after. quotes: whether they mean anything.
    """

    text: str
    variables: Mapping[str, str]
    escape: str
    at: int = 0
    raw: bool = False
    quotes: bool = True
    depth: int = 0
    out: list[tuple[str, bool]] = field(default_factory=list)

    def run(self) -> list[tuple[str, bool]]:
        self._until("")
        return self.out

    def _until(self, stop: str) -> None:
        """Up to an unquoted ``stop`` character, which is left standing."""
        while self.at < len(self.text):
            c = self.text[self.at]
            if stop and c == stop:
                return
            if self.quotes and c == "'":
                self._single()
            elif self.quotes and c == '"':
                self._double()
            elif c == "$":
                self._put(self._dollar(), quoted=False)
            elif c == self.escape:
                self._escaped()
            else:
                self.out.append((c, False))
                self.at += 1
        if stop:
            raise self._wrong(f"missing '{stop}'")

    def _wrong(self, message: str, hint: str = "") -> DockerfileInvalid:
        return DockerfileInvalid(f"failed to process '{_brief(self.text)}': {message}", hint=hint)

    def _put(self, text: str, *, quoted: bool) -> None:
        self.out.extend((c, quoted) for c in text)

    def _escaped(self) -> None:
        if self.raw:
            self.out.append((self.escape, True))
        self.at += 1
        if self.at < len(self.text):
            self.out.append((self.text[self.at], True))
            self.at += 1

    def _single(self) -> None:
        end = self.text.find("'", self.at + 1)
        if end < 0:
            raise self._wrong("unexpected end of statement while looking for matching single-quote")
        self._put(self.text[self.at + 1 : end], quoted=True)
        self.at = end + 1

    def _double(self) -> None:
        self.at += 1
        while self.at < len(self.text):
            c = self.text[self.at]
            if c == '"':
                self.at += 1
                return
            if c == "$":
                self._put(self._dollar(), quoted=True)
                continue
            self.at += 1
            if c == self.escape:
                if self.raw:
                    self.out.append((c, True))
                following = self.text[self.at : self.at + 1]
                if not following:
                    break
                if following in ('"', "$", self.escape):
                    c, self.at = following, self.at + 1
            self.out.append((c, True))
        raise self._wrong("unexpected end of statement while looking for matching double-quote")

    def _dollar(self) -> str:
        self.at += 1
        if self.text[self.at : self.at + 1] == "{":
            return self._braces()
        match = _NAME.match(self.text, self.at)
        if not match:
            return "$"
        self.at = match.end()
        return self.variables.get(match[0]) or ""

    def _braces(self) -> str:
        self.at += 1
        match = _NAME.match(self.text, self.at)
        if not match:
            ended = self.at == len(self.text)
            raise self._wrong("syntax error: missing '}'" if ended else "syntax error: bad substitution")
        name, self.at = match[0], match.end()
        operator = self._operator()
        if operator == "}":
            return self.variables.get(name) or ""
        raw = operator[0] in "#%/"
        words = [self._word(stop, raw=raw) for stop in ("/}" if operator in ("/", "//") else "}")]
        value = self.variables.get(name)
        return (
            self._pattern(operator, value or "", words)
            if raw
            else self._choose(name, value, operator, *words)
        )

    def _operator(self) -> str:
        for operator in _OPERATORS:
            if self.text.startswith(operator, self.at):
                self.at += len(operator)
                return operator
        if self.at == len(self.text):
            raise self._wrong("syntax error: missing '}'")
        width = 2 if self.text[self.at] == ":" else 1
        modifier = self.text[self.at : self.at + width]
        raise self._wrong(
            f"unsupported modifier ({modifier}) in substitution", "use :- - :+ + :? ? # ## % %% / //"
        )

    def _word(self, stop: str, *, raw: bool) -> str:
        """The text up to and over ``stop``."""
        if self.depth == _DEEPEST:
            raise self._wrong(f"more than {_DEEPEST} nested substitutions")
        inner = _Scanner(self.text, self.variables, self.escape, self.at, raw, self.quotes, self.depth + 1)
        inner._until(stop)
        self.at = inner.at + 1
        return "".join(c for c, _ in inner.out)

    def _pattern(self, operator: str, value: str, words: list[str]) -> str:
        twice = len(operator) == 2
        try:
            if operator[0] == "#":
                return glob.trim_prefix(words[0], value, longest=twice)
            if operator[0] == "%":
                return glob.trim_suffix(words[0], value, longest=twice)
            return glob.replace(words[0], value, words[1], everywhere=twice)
        except ValueError as error:
            raise self._wrong(f"invalid pattern ({words[0]}) in substitution: {error}") from error

    def _choose(self, name: str, value: str | None, operator: str, word: str) -> str:
        strict = operator.startswith(":")
        given = bool(value) if strict else value is not None
        if operator.endswith("-"):
            return (value or "") if given else word
        if operator.endswith("+"):
            return word if given else ""
        if not given:
            default = f"is not allowed to be {'empty' if value is not None else 'unset'}"
            raise DockerfileInvalid(f"{name}: {word or default}")
        return value or ""


def _brief(text: str) -> str:
    return text if len(text) <= 80 else text[:79] + "…"
