"""The lines of a Dockerfile: parser directives, comments, continuations, the lines of here-documents.

Comes in:  the text.
Goes out:  Logical lines, continuation joined, each with where it began and ended and the comments above it.
Not here:  what is in a line (parse).
Source: Dockerfile reference, sections Format, Parser directives, Escape.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from runtime.image.dockerfile.errors import DockerfileInvalid
from schemas.frozen import dataclass

_DIRECTIVE = re.compile(r"([A-Za-z][A-Za-z0-9]*)\s*=\s*(.+?)\s*")
_KNOWN = ("syntax", "escape", "check")


@dataclass(frozen=True, slots=True)
class Logical:
    """One instruction's line. comments: the lines of comment right above it, without ``#``.
    gap: whether an empty line stood inside the continuation."""

    text: str
    start: int
    end: int
    comments: tuple[str, ...] = ()
    gap: bool = False


class Lines:
    """The lines of a text, read once from top to bottom; ``number`` is of the line given last."""

    def __init__(self, text: str) -> None:
        self._lines = text.removeprefix("\ufeff").split("\n")
        if self._lines[-1] == "":
            self._lines.pop()
        self._ended = text.endswith("\n")
        self.number = 0

    def next(self) -> str | None:
        """The next line without its end, None after the last one."""
        if self.number == len(self._lines):
            return None
        self.number += 1
        return self._lines[self.number - 1].rstrip("\r")

    def peek(self) -> str | None:
        """The next line, which stays there."""
        line = self.next()
        self.number -= line is not None
        return line

    def until(self, word: str, *, chomp: bool) -> str | None:
        """The lines before the one that is ``word`` (after its tabs if ``chomp``), ends of lines as they are;
        None when there is no such line."""
        first = self.number
        while (line := self.next()) is not None:
            if (line.lstrip("\t") if chomp else line) == word:
                return "".join(f"{inner}\n" for inner in self._lines[first : self.number - 1])
        self.number = first
        return None


def directives(lines: Lines) -> dict[str, str]:
    """The directives at the top, by lower-case name, read off ``lines``. Raises DockerfileInvalid."""
    found: dict[str, str] = {}
    while (line := lines.peek()) is not None and (text := line.lstrip()).startswith("#"):
        match = _DIRECTIVE.fullmatch(text[1:].lstrip())
        key = match[1].lower() if match else ""
        if match is None or key not in _KNOWN:
            break
        if key in found:
            raise DockerfileInvalid(f"only one {key} parser directive can be used", line=lines.number + 1)
        if key == "escape" and match[2] not in ("\\", "`"):
            message = f"invalid escape token '{match[2]}': it can be \\ or `"
            raise DockerfileInvalid(message, line=lines.number + 1)
        found[key] = match[2]
        lines.next()
    return found


def logical(lines: Lines, escape: str) -> Iterator[Logical]:
    """The instructions' lines. Between two of them the caller may read on in ``lines``."""
    goes_on = re.compile(rf"(?:(?<=[^{re.escape(escape)}])|^){re.escape(escape)}[ \t]*\Z")
    comments: list[str] = []
    while (raw := lines.next()) is not None:
        line = raw.lstrip()
        if line.startswith("#"):
            comment = line[1:].strip()
            comments = [*comments, comment] if comment else []
        elif line:
            start = lines.number
            text, gap = _join(line, lines, goes_on)
            yield Logical(text, start, lines.number, tuple(comments), gap)
            comments = []


def _join(line: str, lines: Lines, goes_on: re.Pattern[str]) -> tuple[str, bool]:
    """Put continuation lines together; comments and empty lines between them fall out."""
    parts, gap = [], False
    while match := goes_on.search(line):
        parts.append(line[: match.start()])
        line = ""
        while (following := lines.next()) is not None:
            bare = following.strip()
            if bare and not bare.startswith("#"):
                line = following
                break
            gap = gap or not bare
    return "".join([*parts, line]), gap
