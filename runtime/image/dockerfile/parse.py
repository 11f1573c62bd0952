"""Read a Dockerfile into instructions.

Comes in:  the text.
Goes out:  Dockerfile: parser directives and Instruction values with their flags, form and heredocs.
Not here:  what an instruction means (runtime.build), variables (words).
Source: Dockerfile reference, sections Format, Parser directives, Here-documents.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from difflib import get_close_matches

from runtime.image.dockerfile.errors import DockerfileInvalid
from runtime.image.dockerfile.words import split
from schemas.frozen import dataclass

NAMES = (
    "ADD", "ARG", "CMD", "COPY", "ENTRYPOINT", "ENV", "EXPOSE", "FROM", "HEALTHCHECK", "LABEL", "MAINTAINER",
    "ONBUILD", "RUN", "SHELL", "STOPSIGNAL", "USER", "VOLUME", "WORKDIR",
)  # fmt: skip
_JSON = ("ADD", "CMD", "COPY", "ENTRYPOINT", "RUN", "SHELL", "VOLUME")
_HEREDOC = ("ADD", "COPY", "RUN")
FLAGS = {
    "ADD": ("chown", "chmod", "link", "checksum", "keep-git-dir", "unpack", "exclude"),
    "COPY": ("from", "chown", "chmod", "link", "parents", "exclude"),
    "FROM": ("platform",),
    "HEALTHCHECK": ("interval", "timeout", "start-period", "start-interval", "retries"),
    "RUN": ("mount", "network", "security", "device"),
}
_DIRECTIVE = re.compile(r"#\s*([A-Za-z][A-Za-z0-9]*)\s*=\s*(.+?)\s*$")
_HERE = re.compile(r"(\d*)<<(-?)([^<]+)")


@dataclass(frozen=True, slots=True)
class Heredoc:
    """``<<name``. expand: variables in it are replaced (no quotes around the name). chomp: ``<<-``."""

    name: str
    content: str
    expand: bool = True
    chomp: bool = False
    fd: str = ""

    def text(self) -> str:
        """The content, without leading tabs when it was ``<<-``."""
        return re.sub(r"(?m)^\t+", "", self.content) if self.chomp else self.content


@dataclass(frozen=True, slots=True)
class Instruction:
    """One instruction. rest: what follows the flags, continuation lines joined. json: the list of the JSON
    form."""

    name: str
    rest: str
    line: int
    flags: tuple[tuple[str, str], ...] = ()
    json: tuple[str, ...] | None = None
    heredocs: tuple[Heredoc, ...] = ()

    def flag(self, name: str, default: str = "") -> str:
        """The last value of ``--name``; "true" for a bare one."""
        return next((value for key, value in reversed(self.flags) if key == name), default)

    def all(self, name: str) -> list[str]:
        """Every value of ``--name``, in order."""
        return [value for key, value in self.flags if key == name]

    def text(self) -> str:
        """As people know it, on one line, for progress and history."""
        flags = [f"--{key}={value}" for key, value in self.flags]
        return " ".join([self.name, *flags, self.rest]).rstrip()


@dataclass(frozen=True, slots=True)
class Dockerfile:
    """A parsed file. directives: ``syntax``, ``escape``, ``check`` by lower-case name."""

    instructions: tuple[Instruction, ...]
    directives: tuple[tuple[str, str], ...] = ()
    escape: str = "\\"


def parse(text: str, file: str = "Dockerfile") -> Dockerfile:
    """Read ``text``. Raises DockerfileInvalid with ``file`` and line."""
    lines = _Lines(text.removeprefix("\ufeff"))
    try:
        directives = _directives(lines)
        escape = dict(directives).get("escape", "\\")
        found = tuple(_instructions(lines, escape))
    except DockerfileInvalid as error:
        raise DockerfileInvalid(
            error.bare, line=error.line or lines.number, file=file, hint=error.hint
        ) from error
    if not found:
        raise DockerfileInvalid(f"{file} has no instructions", hint="start with 'FROM <image>'")
    return Dockerfile(found, directives, escape)


class _Lines:
    """The lines of a text, CRLF taken as LF; ``number`` is of the line given last."""

    def __init__(self, text: str) -> None:
        self._lines = text.replace("\r\n", "\n").split("\n")
        self.number = 0

    def peek(self) -> str | None:
        return self._lines[self.number] if self.number < len(self._lines) else None

    def __iter__(self) -> Iterator[str]:
        while (line := self.peek()) is not None:
            self.number += 1
            yield line


def _directives(lines: _Lines) -> tuple[tuple[str, str], ...]:
    found: dict[str, str] = {}
    while (line := lines.peek()) is not None:
        match = _DIRECTIVE.match(line.strip())
        if not match:
            break
        key, value = match[1].lower(), match[2]
        if key not in ("syntax", "escape", "check"):
            break
        if key in found:
            raise DockerfileInvalid(f"the directive '{key}' is given twice", line=lines.number + 1)
        if key == "escape" and value not in ("\\", "`"):
            raise DockerfileInvalid(f"escape must be \\ or `, not '{value}'", line=lines.number + 1)
        found[key] = value
        lines.number += 1
    return tuple(found.items())


def _instructions(lines: _Lines, escape: str) -> Iterator[Instruction]:
    go_on = re.compile(rf"(^|[^{re.escape(escape)}]){re.escape(escape)}[ \t]*$")
    for raw in lines:
        line = raw.lstrip()
        if not line.strip() or line.startswith("#"):
            continue
        start = lines.number
        line = _join(line, lines, go_on)
        if line.strip():
            yield _instruction(line, start, escape, lines)


def _join(line: str, lines: _Lines, go_on: re.Pattern[str]) -> str:
    """Put continuation lines together; comments and empty lines between them fall out."""
    parts = []
    while match := go_on.search(line):
        parts.append(line[: match.start() + len(match[1])])
        for line in lines:
            if line.strip() and not line.lstrip().startswith("#"):
                break
        else:
            line = ""
    return "".join([*parts, line])


def _instruction(line: str, start: int, escape: str, lines: _Lines | None) -> Instruction:
    word, _, rest = (
        line.strip().replace("\t", " ", 1).partition(" ")
        if "\t" in line[:12]
        else line.strip().partition(" ")
    )
    name = word.upper()
    if name not in NAMES:
        close = get_close_matches(name, NAMES, n=1)
        raise DockerfileInvalid(
            f"unknown instruction '{word}'", line=start, hint=f"did you mean {close[0]}?" if close else ""
        )
    flags, rest = _flags(name, rest.strip(), start, escape)
    if not rest and name not in ("CMD", "ENTRYPOINT"):
        raise DockerfileInvalid(f"{name} needs an argument", line=start)
    values = _json(rest) if name in _JSON else None
    heredocs: tuple[Heredoc, ...] = ()
    may = name in _HEREDOC or (name == "ONBUILD" and rest.split()[0].upper() in _HEREDOC)
    if may and values is None and "<<" in rest and lines is not None:
        heredocs = tuple(_heredocs(rest, escape, lines, start))
    return Instruction(name, rest, start, flags, values, heredocs)


def trigger(text: str, line: int, escape: str = "\\") -> Instruction:
    """The instruction inside an ONBUILD. Raises DockerfileInvalid."""
    head, *tail = text.split("\n")
    source = _Lines("\n".join(tail)) if tail else _Lines("")
    found = _instruction(head, line, escape, source)
    if found.name in ("ONBUILD", "FROM", "MAINTAINER"):
        raise DockerfileInvalid(f"{found.name} isn't allowed as an ONBUILD trigger", line=line)
    return found


def _flags(name: str, rest: str, line: int, escape: str) -> tuple[tuple[tuple[str, str], ...], str]:
    found = []
    while rest.startswith("--"):
        word = _first_word(rest, escape)
        rest = rest[len(word) :].lstrip()
        if word == "--":
            break
        key, equals, value = _unquote(word[2:], escape).partition("=")
        if key not in FLAGS.get(name, ()):
            close = get_close_matches(key, FLAGS.get(name, ()), n=1)
            raise DockerfileInvalid(
                f"unknown flag --{key} of {name}",
                line=line,
                hint=f"did you mean --{close[0]}?" if close else "",
            )
        found.append((key, value if equals else "true"))
    return tuple(found), rest


def _first_word(text: str, escape: str) -> str:
    quote, at = "", 0
    while at < len(text):
        c = text[at]
        if c == escape and quote != "'":
            at += 1
        elif quote:
            quote = "" if c == quote else quote
        elif c in "\"'":
            quote = c
        elif c.isspace():
            break
        at += 1
    return text[:at]


def _unquote(word: str, escape: str) -> str:
    out, quote, at = [], "", 0
    while at < len(word):
        c = word[at]
        if c == escape and quote != "'" and at + 1 < len(word):
            at += 1
            out.append(word[at])
        elif c == quote:
            quote = ""
        elif not quote and c in "\"'":
            quote = c
        else:
            out.append(c)
        at += 1
    return "".join(out)


def _json(text: str) -> tuple[str, ...] | None:
    if not text.startswith("["):
        return None
    try:
        values = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return tuple(values) if isinstance(values, list) and all(isinstance(v, str) for v in values) else None


def _heredocs(rest: str, escape: str, lines: _Lines, start: int) -> Iterator[Heredoc]:
    for word in split(rest, escape, keep_quotes=True):
        match = _HERE.fullmatch(word)
        if not match:
            continue
        name = _unquote(match[3], escape)
        if not name:
            continue
        content = _until(name, lines, chomp=bool(match[2]), start=start)
        yield Heredoc(name, content, expand=name == match[3], chomp=bool(match[2]), fd=match[1])


def _until(name: str, lines: _Lines, *, chomp: bool, start: int) -> str:
    content: list[str] = []
    for line in lines:
        if (line.lstrip("\t") if chomp else line) == name:
            return "".join(content)
        content.append(line + "\n")
    raise DockerfileInvalid(f"the here-document '{name}' has no end", line=start)


def name_values(instruction: Instruction, escape: str = "\\") -> list[tuple[str, str]]:
    """The pairs of ENV and LABEL, unexpanded: ``k=v ...`` or the old ``k rest of the line``. Raises
    DockerfileInvalid."""
    words = split(instruction.rest, escape, keep_quotes=True)
    if "=" not in words[0]:
        key, _, value = instruction.rest.partition(" ")
        if not value.strip():
            raise DockerfileInvalid(f"{instruction.name} '{key}' has no value", line=instruction.line)
        return [(key, value.strip())]
    return [_pair(instruction, word) for word in words]


def _pair(instruction: Instruction, word: str) -> tuple[str, str]:
    key, equals, value = word.partition("=")
    if not equals or not key:
        raise DockerfileInvalid(
            f"{instruction.name} needs name=value, not '{word}'",
            line=instruction.line,
            hint="quote values with spaces",
        )
    return key, value


def command(instruction: Instruction, shell: Sequence[str]) -> tuple[str, ...]:
    """argv of CMD, ENTRYPOINT or RUN: the JSON list, or the text given to ``shell``; () for an empty one."""
    if instruction.json is not None:
        return instruction.json
    return (*shell, instruction.rest) if instruction.rest else ()
