"""What a parsed Dockerfile is made of: frozen values, and the readings of an argument that need no state.

Comes in:  nothing; parse makes these.
Goes out:  Heredoc, Instruction, Dockerfile.
Not here:  reading text (parse), what an instruction does (runtime.build).
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from runtime.image.dockerfile.errors import DockerfileInvalid
from runtime.image.dockerfile.words import fields, split
from schemas.frozen import dataclass, replace


@dataclass(frozen=True, slots=True)
class Heredoc:
    """``<<name``. expand: variables in it are replaced (no quotes around the name). chomp: ``<<-``.
    word: as it stands in the line, such as ``<<-"name"``."""

    name: str
    content: str
    expand: bool = True
    chomp: bool = False
    fd: str = ""
    word: str = ""

    def text(self) -> str:
        """The content, without leading tabs when it was ``<<-``."""
        return re.sub(r"(?m)^\t+", "", self.content) if self.chomp else self.content


@dataclass(frozen=True, slots=True)
class Instruction:
    """One instruction.

    name:     in capitals. word: as it was written. rest: what follows the flags, continuation lines joined.
    json:     the list of the JSON form, else None. line, end: the first and the last line, from 1.
    comments: those right above it. gap: whether an empty line stood inside a continuation.
    """

    name: str
    rest: str
    line: int
    flags: tuple[tuple[str, str], ...] = ()
    json: tuple[str, ...] | None = None
    heredocs: tuple[Heredoc, ...] = ()
    word: str = ""
    end: int = 0
    comments: tuple[str, ...] = ()
    gap: bool = False

    def at(self, line: int, end: int, comments: tuple[str, ...], *, gap: bool) -> Instruction:
        """The same with its place."""
        return replace(self, line=line, end=end, comments=comments, gap=gap)

    def flag(self, name: str, default: str = "") -> str:
        """The last value of ``--name``; "true" for a bare one."""
        return next((value for key, value in reversed(self.flags) if key == name), default)

    def all(self, name: str) -> list[str]:
        """Every value of ``--name``, in order."""
        return [value for key, value in self.flags if key == name]

    def words(self) -> tuple[str, ...]:
        """The arguments of FROM, COPY, ADD, EXPOSE and VOLUME, unexpanded: the JSON list, or what blanks
        part."""
        return self.json if self.json is not None else fields(self.rest)

    def text(self) -> str:
        """As people know it, on one line, for progress and history."""
        flags = [f"--{key}" if value == "true" else f"--{key}={value}" for key, value in self.flags]
        return " ".join([self.name, *flags, self.rest]).rstrip()


@dataclass(frozen=True, slots=True)
class Dockerfile:
    """A parsed file. directives: ``syntax``, ``escape``, ``check`` by lower-case name."""

    instructions: tuple[Instruction, ...]
    directives: tuple[tuple[str, str], ...] = ()
    escape: str = "\\"


def name_values(instruction: Instruction, escape: str = "\\") -> list[tuple[str, str]]:
    """The pairs of ENV and LABEL, unexpanded: ``k=v ...`` or the old ``k rest of the line``. Raises
    DockerfileInvalid."""
    words = split(instruction.rest, escape, keep_quotes=True)
    if words and "=" in words[0]:
        return [_pair(instruction, word) for word in words]
    key, *rest = re.split(r"[\t\v\f\r ]+", instruction.rest, maxsplit=1)
    if not rest:
        raise DockerfileInvalid(
            f"{instruction.name} must have two arguments", line=instruction.line, hint=_form(instruction.name)
        )
    return [(key, rest[0])]


def legacy(instruction: Instruction, escape: str = "\\") -> bool:
    """Whether ENV or LABEL has the old form without ``=``."""
    words = split(instruction.rest, escape, keep_quotes=True)
    return not words or "=" not in words[0]


def _pair(instruction: Instruction, word: str) -> tuple[str, str]:
    key, equals, value = word.partition("=")
    if not equals:
        message = f"can't find = in '{word}': {instruction.name} must be of the form name=value"
        raise DockerfileInvalid(message, line=instruction.line, hint="quote values with spaces")
    if not key:
        raise DockerfileInvalid(f"{instruction.name} names can not be blank", line=instruction.line)
    return key, value


def _form(name: str) -> str:
    return f"write {name} name=value"


def command(instruction: Instruction, shell: Sequence[str]) -> tuple[str, ...]:
    """argv of CMD, ENTRYPOINT or RUN: the JSON list, or the text, which may be empty, given to ``shell``."""
    if instruction.json is not None:
        return instruction.json
    return (*shell, instruction.rest)
