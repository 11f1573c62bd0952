"""Which paths of a build context .dockerignore keeps out, and the patterns of COPY.

Comes in:  the text of .dockerignore; relative paths with forward slashes.
Goes out:  whether a path is ignored, and whether a whole directory can be skipped.
Not here:  reading directories (runtime.build.context).
Source: Dockerfile reference, section .dockerignore file; Go's path/filepath.Match and Clean; the matching is
that of moby/patternmatcher as BuildKit walks a context with it.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable

from runtime.image.dockerfile.errors import DockerfileInvalid
from schemas.frozen import dataclass

FILE = ".dockerignore"
_SPECIAL = re.compile(r"[*?\[\]\\]")
_MEMBER = re.compile(r"(?s)([^\]\\-]|\\.)(?:-([^\]\\-]|\\.))?")
Hits = tuple[bool, ...]  # of one directory: which patterns matched it or a directory above it


@dataclass(frozen=True, slots=True)
class Pattern:
    """One line: ``keep`` when it began with ``!``; text as cleaned."""

    text: str
    keep: bool
    expression: re.Pattern[str]


class Ignore:
    """The rules of one file, the last match wins; a path below an ignored directory is ignored with it.

    Answers about directories are remembered, so that a question costs one match per pattern.
    """

    def __init__(self, patterns: tuple[Pattern, ...] = ()) -> None:
        self._patterns = patterns
        self.exceptions = any(pattern.keep for pattern in patterns)
        self._known: dict[str, Hits] = {"": (False,) * len(patterns)}

    def matches(self, path: str) -> bool:
        """Whether ``path`` (relative, no leading slash) is ignored."""
        return self._look(path)[0]

    def prunes(self, directory: str) -> bool:
        """Whether ``directory`` is ignored and no exception can take in anything below it."""
        ignored, hits = self._look(directory)
        if not ignored:
            return False
        return not any(
            pattern.keep and (hit or _may_be_below(pattern.text, directory))
            for pattern, hit in zip(self._patterns, hits, strict=True)
        )

    def covers(self, path: str) -> bool:
        """Whether ``path``, taken alone, or a directory above it matches: what ``--check`` asks of a COPY."""
        parts = path.split("/")
        above = ["/".join(parts[:n]) for n in range(len(parts), 0, -1)]
        ignored = False
        for pattern in self._patterns:
            if ignored == pattern.keep and any(pattern.expression.fullmatch(name) for name in above):
                ignored = not pattern.keep
        return ignored

    def _look(self, path: str) -> tuple[bool, Hits]:
        above = path.rpartition("/")[0]
        if above not in self._known:
            parts = above.split("/")
            for n in range(1, len(parts) + 1):
                directory = "/".join(parts[:n])
                if directory not in self._known:
                    self._known[directory] = self._match(directory)[1]
        return self._match(path)

    def _match(self, path: str) -> tuple[bool, Hits]:
        """A pattern that could change nothing is not tried, and so does not count for what lies below."""
        ignored, hits = False, []
        for pattern, inherited in zip(self._patterns, self._known[path.rpartition("/")[0]], strict=True):
            hit = inherited or (pattern.keep == ignored and bool(pattern.expression.fullmatch(path)))
            if hit:
                ignored = not pattern.keep
            hits.append(hit)
        return ignored, tuple(hits)


def _may_be_below(pattern: str, directory: str) -> bool:
    if _SPECIAL.search(pattern):
        return True
    return pattern.startswith(directory + "/")


def read(text: str, file: str = FILE) -> Ignore:
    """The rules in ``text``. Raises DockerfileInvalid, with ``file`` and line, for a malformed pattern."""
    found = []
    for number, line in enumerate(text.removeprefix("\ufeff").split("\n"), 1):
        try:
            pattern = _line(line)
        except DockerfileInvalid as error:
            raise DockerfileInvalid(error.bare, line=number, file=file, hint=error.hint) from error
        if pattern is not None:
            found.append(pattern)
    return Ignore(tuple(found))


def patterns(words: Iterable[str]) -> Ignore:
    """The rules that ``--exclude`` gives, one word each. Raises DockerfileInvalid."""
    found = (_rule(word.strip()) for word in words)
    return Ignore(tuple(pattern for pattern in found if pattern is not None))


def _line(line: str) -> Pattern | None:
    return None if line.startswith("#") else _rule(line.strip())


def _rule(rule: str) -> Pattern | None:
    keep = rule.startswith("!")
    bare = rule[1:].strip() if keep else rule
    if not bare and keep:
        raise DockerfileInvalid(f"illegal exclusion pattern: '{rule}' has nothing behind the '!'")
    cleaned = clean(bare)
    if cleaned in ("", ".") and not keep:
        return None
    return Pattern(cleaned, keep, compile_pattern(cleaned))


def clean(rule: str) -> str:
    """filepath.Clean, and no leading slash: ``.`` and ``..`` are resolved, doubled and final slashes go."""
    return posixpath.normpath(rule).lstrip("/") if rule else ""


def compile_pattern(pattern: str) -> re.Pattern[str]:
    """A pattern as a regular expression over whole relative paths: ``*`` stops at a slash, ``**`` does not.

    Raises DockerfileInvalid.
    """
    if pattern.startswith("**") and pattern[2:3] not in ("", "/") and not _SPECIAL.search(pattern[2:]):
        return re.compile(".*" + re.escape(pattern[2:]), re.DOTALL)  # a plain end of the path, "**.txt"
    out, at = "", 0
    while at < len(pattern):
        if pattern.startswith("**", at):
            at += 3 if pattern.startswith("/", at + 2) else 2
            out += ".*" if at == len(pattern) else "(?:.*/)?"
        else:
            piece, at = _piece(pattern, at)
            out += piece
    return re.compile(_merge(out), re.DOTALL)


def _merge(expression: str) -> str:
    """Repetitions of what can be nothing, side by side, mean the same once, and cost far less."""
    for one in (r"[^/]*", r"(?:.*/)?"):
        while one * 2 in expression:
            expression = expression.replace(one * 2, one)
    return expression


def _piece(pattern: str, at: int) -> tuple[str, int]:
    """One character's meaning and where the next begins."""
    c = pattern[at]
    if c == "*":
        return "[^/]*", at + 1
    if c == "?":
        return "[^/]", at + 1
    if c == "[":
        return _class(pattern, at)
    if c == "\\":
        at += 1
        if at == len(pattern):
            raise DockerfileInvalid(f"the pattern '{pattern}' is malformed: it ends in a backslash")
    return re.escape(pattern[at]), at + 1


def _class(pattern: str, at: int) -> tuple[str, int]:
    """``[a-z]`` and ``[^a-z]``, as filepath.Match reads them: neither empty nor with a bare ``-``."""
    start = at
    at += 1
    negate = pattern.startswith("^", at)
    at += negate
    members: list[str] = []
    while not pattern.startswith("]", at) or not members:
        match = _MEMBER.match(pattern, at)
        if match is None:
            raise DockerfileInvalid(f"the pattern '{pattern}' is malformed at '{pattern[start:]}'")
        low, high = (part[-1] if part else "" for part in match.groups())
        if high and high < low:
            raise DockerfileInvalid(f"the pattern '{pattern}' is malformed: '{match[0]}' runs backwards")
        members.append(re.escape(low) + (f"-{re.escape(high)}" if high else ""))
        at = match.end()
    return f"[{'^' if negate else ''}{''.join(members)}]", at + 1


def is_pattern(text: str) -> bool:
    """Whether COPY must look for matches rather than for one name."""
    return any(c in text for c in "*?[")
