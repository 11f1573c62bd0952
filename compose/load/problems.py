"""Collecting independent errors, so that one run reports all of them.

Comes in:  errors, one at a time, with their path.
Goes out:  one exception: the single error itself, or ``Several``.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from compose.errors import ComposeError, FileInvalid, Several, Where
from compose.load.tree import dotted

Path = tuple[str | int, ...]


class Problems:
    """Errors found so far on the road.

    tainted: paths that are wrong, or ``()`` for all of them. What is wrong is taken out of the tree, so that
             the stages behind go on; they keep quiet about what follows from a tainted path.
    """

    def __init__(self) -> None:
        self.errors: list[ComposeError] = []
        self.tainted: set[Path] = set()

    def note(self, error: ComposeError, path: Iterable[str | int] = ()) -> None:
        """Note an error that makes ``path`` useless; without a path, the whole file."""
        self.errors.append(error)
        self.tainted.add(tuple(path))

    def spoils(self, *path: str | int) -> bool:
        """Whether an error stands at ``path`` or around it, or a whole file is missing."""
        return bool(self.tainted) and any(path[:n] in self.tainted for n in range(len(path) + 1))

    def spoils_in(self, *path: str | int) -> bool:
        """Whether an error stands at ``path``, around it or in it."""
        return any(one and one[: len(path)] == path[: len(one)] for one in self.tainted)

    def add(
        self, message: str, path: Iterable[str | int], where: Where | None = None, *, hint: str = ""
    ) -> None:
        """Note that ``path`` is wrong."""
        steps = tuple(path)
        self.note(FileInvalid(message, hint=hint, where=where, path=dotted(steps)), steps)

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
