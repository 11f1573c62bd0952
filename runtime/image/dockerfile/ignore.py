"""Which paths of a build context .dockerignore keeps out, and the patterns of COPY.

Comes in:  the text of .dockerignore; relative paths with forward slashes.
Goes out:  whether a path is ignored, and whether a whole directory can be skipped.
Not here:  reading directories (runtime.build.context).
Source: Dockerfile reference, section .dockerignore file; Go's path/filepath.Match and moby/patternmatcher.
"""

from __future__ import annotations

import posixpath
import re

from runtime.image.dockerfile.errors import DockerfileInvalid
from schemas.frozen import dataclass


@dataclass(frozen=True, slots=True)
class Pattern:
    """One line: ``keep`` when it began with ``!``; text as cleaned."""

    text: str
    keep: bool
    expression: re.Pattern[str]


class Ignore:
    """The rules of one file, the last match wins; a path below an ignored directory is ignored with it."""

    def __init__(self, patterns: tuple[Pattern, ...] = ()) -> None:
        self._patterns = patterns
        self.exceptions = any(pattern.keep for pattern in patterns)

    def matches(self, path: str) -> bool:
        """Whether ``path`` (relative, no leading slash) is ignored."""
        parts = path.split("/")
        above = ["/".join(parts[:n]) for n in range(1, len(parts) + 1)]
        ignored = False
        for pattern in self._patterns:
            if ignored == pattern.keep and any(pattern.expression.fullmatch(name) for name in above):
                ignored = not pattern.keep
        return ignored

    def prunes(self, directory: str) -> bool:
        """Whether nothing below the ignored ``directory`` can be taken back in by an exception."""
        if not self.matches(directory):
            return False
        return not any(p.keep and _may_be_below(p.text, directory) for p in self._patterns)


def _may_be_below(pattern: str, directory: str) -> bool:
    head = re.split(r"[*?\[\\]", pattern, maxsplit=1)[0]
    return head.startswith(directory + "/") or (directory + "/").startswith(head) or head == directory


def read(text: str) -> Ignore:
    """The rules in ``text``. Raises DockerfileInvalid for a malformed pattern."""
    found = []
    for line in text.removeprefix("\ufeff").splitlines():
        if line.startswith("#") or not (rule := line.strip()):
            continue
        keep = rule.startswith("!")
        cleaned = _clean(rule[1:].strip() if keep else rule)
        if cleaned in ("", "."):
            if keep and not cleaned:
                raise DockerfileInvalid(f"'{line}' in .dockerignore has nothing behind the '!'")
            continue
        found.append(Pattern(cleaned, keep, compile_pattern(cleaned)))
    return Ignore(tuple(found))


def _clean(rule: str) -> str:
    """filepath.Clean, and no leading slash."""
    return posixpath.normpath(rule).lstrip("/") if rule else ""


def compile_pattern(pattern: str) -> re.Pattern[str]:
    """A pattern as a regular expression over whole relative paths: ``*`` stops at a slash, ``**`` does not.

    Raises DockerfileInvalid.
    """
    out, at = "", 0
    while at < len(pattern):
        c = pattern[at]
        if pattern.startswith("**", at):
            at += 2
            if pattern.startswith("/", at):
                at += 1
            out += ".*" if at == len(pattern) else "(?:.*/)?"
            continue
        if c == "*":
            out += "[^/]*"
        elif c == "?":
            out += "[^/]"
        elif c == "\\":
            at += 1
            if at == len(pattern):
                raise DockerfileInvalid(f"the pattern '{pattern}' ends in a backslash")
            out += re.escape(pattern[at])
        elif c == "[":
            piece, at = _class(pattern, at)
            out += piece
            continue
        else:
            out += re.escape(c)
        at += 1
    return re.compile(out, re.DOTALL)


def _class(pattern: str, at: int) -> tuple[str, int]:
    end = pattern.find("]", at + 2)
    if end < 0:
        raise DockerfileInvalid(f"the pattern '{pattern}' has a '[' without ']'")
    body = pattern[at + 1 : end]
    negate = body.startswith("^")
    inner = re.sub(r"([\[\\&~|])", r"\\\1", body[1:] if negate else body)
    try:
        re.compile(f"[{inner}]")
    except re.error as error:
        raise DockerfileInvalid(f"the pattern '{pattern}' is malformed: {error}") from error
    return f"(?!/)[{'^' if negate else ''}{inner}]", end + 1


def is_pattern(text: str) -> bool:
    """Whether COPY must look for matches rather than for one name."""
    return any(c in text for c in "*?[")
