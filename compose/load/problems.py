"""Collecting independent errors, so that one run reports all of them.

Comes in:  errors, one at a time, with their path.
Goes out:  one exception: the single error itself, or ``Several``.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from compose.errors import ComposeError, FileInvalid, Several, Where
from compose.load.tree import dotted


class Problems:
    """Errors found so far by one stage of the road."""

    def __init__(self) -> None:
        self.errors: list[ComposeError] = []

    def add(
        self, message: str, path: Iterable[str | int], where: Where | None = None, *, hint: str = ""
    ) -> None:
        """Note that ``path`` is wrong."""
        self.errors.append(FileInvalid(message, hint=hint, where=where, path=dotted(path)))

    def check(self) -> None:
        """Raise what was found, in the order of the file; the same error twice counts once."""
        if self.errors:
            raise combined(self.errors)


def combined(errors: Sequence[ComposeError]) -> ComposeError:
    """One exception for several errors, duplicates dropped, sorted by file and line."""
    seen: dict[tuple[str, str, str], ComposeError] = {}
    for error in errors:
        for one in error.errors if isinstance(error, Several) else (error,):
            seen.setdefault((one.message, one.path, str(one.where)), one)
    unique = sorted(seen.values(), key=_position)
    return unique[0] if len(unique) == 1 else Several(unique)


def _position(error: ComposeError) -> tuple[str, int, int]:
    where = error.where or Where("")
    return where.file, where.line, where.column
