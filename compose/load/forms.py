"""The forms that many attributes share: pairs, lists of texts, paths.

Comes in:  a value as written.
Goes out:  the same in its one canonical shape; resets and overrides pass through untouched.
"""

from __future__ import annotations

import os.path
import re
from collections.abc import Callable
from functools import partial
from typing import Any

from compose.load.problems import Problems
from compose.load.tree import Map, Override, Reset, Seq
from compose.load.units import number_text, words
from schemas.frozen import dataclass

Path = tuple[str | int, ...]
_REMOTE = re.compile(r"[a-z][a-z0-9+.-]*://|git@|github\.com/")


@dataclass(frozen=True, slots=True)
class Base:
    """Where relative paths start and what ``~`` means.

    root: paths become relative to this directory, "" makes them absolute.
    """

    directory: str
    home: str
    root: str = ""

    def path(self, text: Any) -> Any:
        """``text`` as an absolute path without ``.`` and ``..``; what is no text (``!reset``) stays."""
        if not isinstance(text, str):
            return text
        if self.root:
            prefix = os.path.relpath(self.directory, self.root)
            rooted = prefix == "." or text.startswith(("/", "~"))
            return text if rooted else os.path.normpath(f"{prefix}/{text}")
        if text.startswith("~"):
            text = f"{self.home}/{text[1:]}"
        return os.path.normpath(os.path.join(self.directory, text))  # noqa: PTH118 - text, not a file

    def source(self, text: str) -> str:
        """The source of a mount: an absolute path stays as it was written, Windows' as well."""
        return text if text.startswith("/") or re.match(r"[A-Za-z]:|\\\\", text) else str(self.path(text))

    def context(self, text: Any) -> Any:
        """A build context: a URL stays, a path becomes absolute."""
        if not isinstance(text, str):
            return text
        if _REMOTE.match(text) or text.startswith("service:") or text == "-":
            return text
        return text if text.startswith("/") else self.path(text)


def through(change: Callable[[Any], Any], value: Any) -> Any:
    """Apply ``change`` inside ``!override`` and leave ``!reset`` alone."""
    if isinstance(value, Reset):
        return value
    return Override(change(value.value)) if isinstance(value, Override) else change(value)


def each(value: Any, key: str, change: Callable[..., Any], base: Base, problems: Problems) -> Any:
    """Apply ``change`` to every entry of a mapping."""

    def whole(entries: Any) -> Any:
        if not isinstance(entries, Map):
            return entries
        result = Map()
        for name, entry in entries.items():
            one = partial(change, path=(key, name), base=base, problems=problems)
            result.move(entries, name, through(one, entry))
        return result

    return through(whole, value)


def pairs(value: Any, *, null: str | None = None) -> Any:
    """``[A=1, B]`` or ``{A: 1, B: null}`` as a mapping of texts; ``null`` stands for a missing value."""

    def change(entries: Any) -> Any:
        result = Map()
        if isinstance(entries, Seq):
            for entry, where in entries.placed():
                if isinstance(entry, str):
                    name, equals, text = entry.partition("=")
                    result.put(name, text if equals else null, where)
        elif isinstance(entries, Map):
            for name, entry in entries.items():
                result.move(entries, name, through(lambda v: null if v is None else number_text(v), entry))
        return result

    return through(change, value)


def texts(value: Any) -> Any:
    """A mapping whose numbers and booleans become text; what is empty stays so, until all is merged."""

    def change(entries: Any) -> Any:
        if not isinstance(entries, Map):
            return entries
        result = Map()
        for name, entry in entries.items():
            result.move(entries, name, through(lambda v: None if v is None else number_text(v), entry))
        return result

    return through(change, value)


def listed(value: Any) -> Any:
    """One text or a list of scalars as a list of texts."""

    def change(entries: Any) -> Any:
        if isinstance(entries, Seq):
            return Seq((through(number_text, entry), where) for entry, where in entries.placed())
        return Seq() if entries is None else Seq([(number_text(entries), None)])

    return through(change, value)


def keyed(value: Any) -> Any:
    """A list of names as a mapping to null; a mapping stays."""

    def change(entries: Any) -> Any:
        if not isinstance(entries, Seq):
            return entries
        result = Map()
        for entry, where in entries.placed():
            if isinstance(entry, str):
                result.put(entry, None, where)
        return result

    return through(change, value)


def command(value: Any) -> Any:
    """A command line as a list of words; null stays null. Raises ValueError for an unclosed quote."""

    def change(entries: Any) -> Any:
        return Seq((word, None) for word in words(entries)) if isinstance(entries, str) else entries

    return through(change, value)
