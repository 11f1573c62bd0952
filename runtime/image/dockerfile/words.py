"""Words of a Dockerfile: splitting at blanks, removing quotes, replacing variables.

Comes in:  the text of an argument and the variables that are set.
Goes out:  words.
Not here:  which instructions expand what (runtime.build).
Source: Dockerfile reference, section Environment replacement; POSIX.1-2017 shell, section 2.6.2.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from runtime.image.dockerfile.errors import DockerfileInvalid

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*|[0-9@*#?!$-]")


def expand(text: str, variables: Mapping[str, str], escape: str = "\\") -> str:
    """One word: variables replaced, quotes and escapes removed. Unset variables are empty.

    Raises DockerfileInvalid for a syntax error and for ``${name:?message}`` of an unset name.
    """
    return "".join(char for char, _ in _Scanner(text, variables, escape).run())


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


def split(text: str, escape: str = "\\", *, keep_quotes: bool = False) -> list[str]:
    """Words split at blanks outside of quotes, with nothing replaced; quotes and escapes stay if asked
    for."""
    words, word, quote, at, begun = [], "", "", 0, False
    while at < len(text):
        c = text[at]
        if c.isspace() and not quote:
            if begun:
                words.append(word)
            word, begun, at = "", False, at + 1
            continue
        begun = True
        if c == escape and quote != "'" and at + 1 < len(text):
            word += text[at : at + 2] if keep_quotes else text[at + 1]
            at += 2
            continue
        if c in "\"'" and quote in ("", c):
            quote = "" if quote else c
            word += c if keep_quotes else ""
        else:
            word += c
        at += 1
    return [*words, word] if begun else words


@dataclass(slots=True)
class _Scanner:
    """Walks over a text; ``out`` collects (character, whether it was quoted)."""

    text: str
    variables: Mapping[str, str]
    escape: str
    at: int = 0
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
            if c == "'":
                self._single()
            elif c == '"':
                self._double()
            elif c == "$":
                self._put(self._dollar(), quoted=False)
            elif c == self.escape:
                self._escaped()
            else:
                self.out.append((c, False))
                self.at += 1
        if stop:
            raise DockerfileInvalid(f"'{stop}' is missing in '{self.text}'")

    def _put(self, text: str, *, quoted: bool) -> None:
        self.out.extend((c, quoted) for c in text)

    def _escaped(self) -> None:
        self.at += 1
        if self.at < len(self.text):
            self.out.append((self.text[self.at], True))
            self.at += 1

    def _single(self) -> None:
        end = self.text.find("'", self.at + 1)
        if end < 0:
            raise DockerfileInvalid(f"a single quote is never closed in '{self.text}'")
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
            following = self.text[self.at + 1 : self.at + 2]
            if c == self.escape and following and following in ('"', "$", self.escape):
                self.at += 1
                c = following
            self.out.append((c, True))
            self.at += 1
        raise DockerfileInvalid(f"a double quote is never closed in '{self.text}'")

    def _dollar(self) -> str:
        self.at += 1
        if self.text[self.at : self.at + 1] == "{":
            return self._braces()
        match = _NAME.match(self.text, self.at)
        if not match:
            return "$"
        self.at = match.end()
        return self.variables.get(match[0], "")

    def _braces(self) -> str:
        self.at += 1
        match = _NAME.match(self.text, self.at)
        if not match:
            raise DockerfileInvalid(f"'${{' is not followed by a name in '{self.text}'")
        name, self.at = match[0], match.end()
        value = self.variables.get(name)
        operator = self._operator()
        if operator == "}":
            return value or ""
        if operator in ("/", "//"):
            return self._replace(value or "", everywhere=operator == "//")
        word = self._word("}")
        self.at += 1
        if operator[0] in "#%":
            return _trim(value or "", operator, word)
        return self._choose(name, value, operator, word)

    def _operator(self) -> str:
        for operator in ("}", ":-", ":+", ":?", "-", "+", "?", "##", "#", "%%", "%", "//", "/"):
            if self.text.startswith(operator, self.at):
                self.at += len(operator)
                return operator
        raise DockerfileInvalid(
            f"unsupported modifier in '{self.text}'", hint="use :- - :+ + :? ? # ## % %% / //"
        )

    def _word(self, stop: str) -> str:
        inner = _Scanner(self.text, self.variables, self.escape, self.at)
        inner._until(stop)
        self.at = inner.at
        return "".join(c for c, _ in inner.out)

    def _replace(self, value: str, *, everywhere: bool) -> str:
        pattern = self._word("/")
        self.at += 1
        new = self._word("}")
        self.at += 1
        return re.sub(_glob(pattern, greedy=True), lambda _: new, value, count=0 if everywhere else 1)

    def _choose(self, name: str, value: str | None, operator: str, word: str) -> str:
        given = bool(value) if operator.startswith(":") else value is not None
        if operator.endswith("-"):
            return (value or "") if given else word
        if operator.endswith("+"):
            return word if given else ""
        if not given:
            raise DockerfileInvalid(f"{name}: {word or 'not allowed to be unset or empty'}")
        return value or ""


def _trim(value: str, operator: str, pattern: str) -> str:
    greedy = len(operator) == 2
    if operator[0] == "#":
        match = re.match(_glob(pattern, greedy=greedy), value, re.DOTALL)
        return value[match.end() :] if match else value
    starts = range(len(value) + 1) if greedy else range(len(value), -1, -1)
    whole = re.compile(_glob(pattern, greedy=True), re.DOTALL)
    return next((value[:at] for at in starts if whole.fullmatch(value, at)), value)


def _glob(pattern: str, *, greedy: bool) -> str:
    """A shell pattern (``*``, ``?``, ``[...]``, backslash) as a regular expression without anchors."""
    out, at = "", 0
    while at < len(pattern):
        c = pattern[at]
        if c == "*":
            out += ".*" if greedy else ".*?"
        elif c == "?":
            out += "."
        elif c == "\\" and at + 1 < len(pattern):
            at += 1
            out += re.escape(pattern[at])
        elif c == "[" and (end := pattern.find("]", at + 2)) > 0:
            out += fnmatch.translate(pattern[at : end + 1]).removeprefix("(?s:").split(")", 1)[0]
            at = end
        else:
            out += re.escape(c)
        at += 1
    return out
