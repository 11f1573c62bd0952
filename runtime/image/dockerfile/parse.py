"""Read a Dockerfile into instructions.

Comes in:  the text.
Goes out:  Dockerfile: parser directives and Instruction values with their flags, form and heredocs.
Not here:  what an instruction means (runtime.build), variables (words), style (lint).
Source: Dockerfile reference, sections Format, Parser directives, Here-documents.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from difflib import get_close_matches
from typing import NoReturn

from runtime.image.dockerfile import flags as flags_
from runtime.image.dockerfile.check import check
from runtime.image.dockerfile.errors import DockerfileInvalid
from runtime.image.dockerfile.flags import FLAGS
from runtime.image.dockerfile.instruction import Dockerfile, Heredoc, Instruction, command, name_values
from runtime.image.dockerfile.lines import Lines, Logical, directives, logical
from runtime.image.dockerfile.words import split

__all__ = [
    "FLAGS",
    "NAMES",
    "Dockerfile",
    "Heredoc",
    "Instruction",
    "command",
    "name_values",
    "parse",
    "trigger",
]

NAMES = (
    "ADD", "ARG", "CMD", "COPY", "ENTRYPOINT", "ENV", "EXPOSE", "FROM", "HEALTHCHECK", "LABEL", "MAINTAINER",
    "ONBUILD", "RUN", "SHELL", "STOPSIGNAL", "USER", "VOLUME", "WORKDIR",
)  # fmt: skip
_JSON = ("ADD", "CMD", "COPY", "ENTRYPOINT", "RUN", "SHELL", "VOLUME")
_HEREDOC = ("ADD", "COPY", "RUN")
_BLANK = re.compile(r"[\t\v\f\r ]+")
_HERE = re.compile(r"(\d*)<<(-?)([\t ]*)([^<\s].*)")
_GAP = re.compile(r"(?<!<)(<<-?)[\t ]+(?=[^\s<])")


def parse(text: str, file: str = "Dockerfile") -> Dockerfile:
    """Read ``text``. Raises DockerfileInvalid with ``file`` and line."""
    lines = Lines(text)
    try:
        found = directives(lines)
        escape = found.get("escape", "\\")
        instructions = tuple(_instruction(line, escape, lines) for line in logical(lines, escape))
    except DockerfileInvalid as error:
        line = error.line or lines.number
        raise DockerfileInvalid(error.bare, line=line, file=file, hint=error.hint) from error
    if not instructions:
        raise DockerfileInvalid(f"{file} has no instructions", hint="start with 'FROM <image>'")
    return Dockerfile(instructions, tuple(found.items()), escape)


def trigger(text: str, line: int, escape: str = "\\") -> Instruction:
    """The instruction inside an ONBUILD. Raises DockerfileInvalid."""
    source = Lines(text)
    head = source.next() or ""
    found = _instruction(Logical(head.strip(), 1, 1), escape, source, line)
    if found.name in ("ONBUILD", "FROM", "MAINTAINER"):
        raise DockerfileInvalid(f"{found.name} isn't allowed as an ONBUILD trigger", line=line)
    return found


def _instruction(logical_line: Logical, escape: str, lines: Lines, place: int = 0) -> Instruction:
    """place: the line to tell of, when it is another than the one in ``lines``."""
    start = place or logical_line.start
    try:
        found = _read(logical_line.text, escape, lines, start)
        check(found, escape)
    except DockerfileInvalid as error:
        raise DockerfileInvalid(error.bare, line=error.line or start, hint=error.hint) from error
    return found.at(start, place or lines.number, logical_line.comments, gap=logical_line.gap)


def _read(text: str, escape: str, lines: Lines, start: int) -> Instruction:
    word, *rest = _BLANK.split(text.strip(), maxsplit=1)
    name = word.upper()
    if name not in NAMES:
        close = get_close_matches(name, NAMES, n=1)
        hint = f"did you mean {close[0]}?" if close else ""
        raise DockerfileInvalid(f"unknown instruction '{word}'", hint=hint)
    flags, argument = flags_.read(name, rest[0] if rest else "", escape)
    argument = argument.strip()
    values = _values(name, argument)
    heredocs: tuple[Heredoc, ...] = ()
    if name in _HEREDOC and values is None and "<<" in argument:
        heredocs = tuple(_heredocs(argument, escape, lines))
    elif name == "ONBUILD" and argument:
        heredocs = _inside(argument, escape, lines, start)
    return Instruction(name, argument, start, flags, values, heredocs, word)


def _values(name: str, argument: str) -> tuple[str, ...] | None:
    """The list of the JSON form, None for the other. Raises DockerfileInvalid for a list of other things."""
    if name == "HEALTHCHECK":
        argument = "".join(argument.split(maxsplit=1)[1:])
    elif name not in _JSON:
        return None
    if not argument.startswith("["):
        return None
    try:
        values = json.loads(argument, parse_constant=_no_json, parse_int=float)
    except (ValueError, RecursionError):
        return None
    if not all(isinstance(value, str) for value in values):
        raise DockerfileInvalid("when using JSON array syntax, arrays must be comprised of strings only")
    return tuple(value.encode("utf-8", "surrogatepass").decode("utf-8", "replace") for value in values)


def _no_json(word: str) -> NoReturn:
    raise ValueError(word)


def _inside(argument: str, escape: str, lines: Lines, start: int) -> tuple[Heredoc, ...]:
    """The here-documents of what an ONBUILD holds, which is checked by the way."""
    word = argument.split(maxsplit=1)[0].upper()
    if word == "ONBUILD":
        raise DockerfileInvalid("chaining ONBUILD via 'ONBUILD ONBUILD' isn't allowed")
    if word in ("FROM", "MAINTAINER"):
        raise DockerfileInvalid(f"{word} isn't allowed as an ONBUILD trigger")
    return _instruction(Logical(argument, start, start), escape, lines, start).heredocs


def _heredocs(argument: str, escape: str, lines: Lines) -> Iterator[Heredoc]:
    """Read the documents that the words of a line announce. Raises DockerfileInvalid for one without end."""
    for word in split(_GAP.sub(r"\1\0", argument), escape, keep_quotes=True):
        match = _HERE.fullmatch(word.replace("\0", " "))
        if not match or "<" in match[4]:
            continue
        names = split(match[4], "\\")
        if len(names) != 1 or not names[0]:
            continue
        content = lines.until(names[0], chomp=bool(match[2]))
        if content is None:
            if match[3]:
                continue  # a shift, as in $((1 << 2)), and no document
            raise DockerfileInvalid(f"unterminated heredoc: the here-document '{names[0]}' has no end")
        quotes = names[0].count("'") + names[0].count('"')
        plain = match[4].count("'") + match[4].count('"') == quotes
        yield Heredoc(names[0], content, plain, bool(match[2]), match[1], word.replace("\0", " "))
