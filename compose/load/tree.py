"""The tree a YAML document becomes: plain mappings and lists that remember where each entry stood.

Comes in:  values with their places, from ``parse``.
Goes out:  ``Map`` and ``Seq``, used by every stage between ``parse`` and ``canonical``.
Not here:  meaning; a Map does not know whether it is a service or a network.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from compose.errors import Where


class Map(dict[str, Any]):
    """A mapping in the order of the file; ``at`` tells where each key stood."""

    __slots__ = ("at",)

    def __init__(self) -> None:
        super().__init__()
        self.at: dict[str, Where] = {}

    def put(self, key: str, value: Any, where: Where | None) -> None:
        """Set ``key`` and remember its place."""
        self[key] = value
        if where is not None:
            self.at[key] = where

    def move(self, other: Map, key: str, value: Any) -> None:
        """Set ``key`` to ``value``, keeping the place it has in ``other``."""
        self.put(key, value, other.at.get(key))

    def drop(self, key: str) -> None:
        """Remove ``key`` if it is there."""
        self.pop(key, None)
        self.at.pop(key, None)


class Seq(list[Any]):
    """A list; ``at`` runs parallel to it."""

    __slots__ = ("at",)

    def __init__(self, items: Iterable[tuple[Any, Where | None]] = ()) -> None:
        super().__init__()
        self.at: list[Where | None] = []
        for value, where in items:
            self.add(value, where)

    def add(self, value: Any, where: Where | None) -> None:
        """Append one item with its place."""
        self.append(value)
        self.at.append(where)

    def placed(self) -> Iterable[tuple[Any, Where | None]]:
        """Items with their places."""
        return zip(self, self.at, strict=True)


class Reset:
    """The value of ``!reset``: the attribute is to vanish, whatever an earlier file said."""

    __slots__ = ()


class Override:
    """The value of ``!override``: replace instead of merging."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value


class Date(str):
    """An unquoted date or time: YAML has a type for it, no Compose attribute takes it."""

    __slots__ = ()


def place(tree: Any, path: Iterable[str | int]) -> Where | None:
    """The place of ``path``, or of the nearest ancestor that has one."""
    found: Where | None = None
    for step in path:
        if isinstance(tree, Override):
            tree = tree.value
        if isinstance(tree, Map) and isinstance(step, str):
            found = tree.at.get(step, found)
            tree = tree.get(step)
        elif isinstance(tree, Seq) and isinstance(step, int) and step < len(tree):
            found = tree.at[step] or found
            tree = tree[step]
        else:
            break
    return found


def prune(tree: Any, path: Sequence[str | int]) -> None:
    """Put a ``Reset`` in the place of ``path``, so that later stages go on without what is wrong there."""
    for step in path[:-1]:
        tree = tree.value if isinstance(tree, Override) else tree
        if isinstance(tree, Map) and step in tree:
            tree = tree[str(step)]
        elif isinstance(tree, Seq) and isinstance(step, int) and step < len(tree):
            tree = tree[step]
        else:
            return
    tree = tree.value if isinstance(tree, Override) else tree
    if not path:
        return
    last: Any = path[-1]
    there = last in tree if isinstance(tree, Map) else isinstance(tree, Seq) and last in range(len(tree))
    if there:
        tree[last] = Reset()


def dotted(path: Iterable[str | int]) -> str:
    """``("services", "web", "ports", 0)`` as ``services.web.ports[0]``."""
    text = ""
    for step in path:
        text += f"[{step}]" if isinstance(step, int) else f".{step}" if text else step
    return text


def plain(tree: Any) -> Any:
    """The tree as bare dicts and lists, resets left out and overrides unwrapped."""
    if isinstance(tree, Override):
        return plain(tree.value)
    if isinstance(tree, dict):
        return {key: plain(value) for key, value in tree.items() if not gone(value)}
    if isinstance(tree, list):
        return [plain(value) for value in tree if not gone(value)]
    return tree


def gone(value: Any) -> bool:
    """Whether ``value`` is a reset, perhaps inside overrides."""
    while isinstance(value, Override):
        value = value.value
    return isinstance(value, Reset)
