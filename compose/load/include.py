"""``include``: the resources of other projects join those of a file.

Comes in:  the trees of the included projects, each assembled on its own (``layers``); the file's own.
Goes out:  the file with them added; what is defined differently twice is noted.
Source: Compose Specification, include.
"""

from __future__ import annotations

from compose.errors import ComposeError, FileInvalid, Where
from compose.load.problems import Problems
from compose.load.tree import Map, place, plain

_SECTIONS = ("services", "networks", "volumes", "configs", "secrets", "models")


def imported(included: list[tuple[Map, Where | None]], layer: Map, problems: Problems) -> Map:
    """The layer with the resources of included projects added; equal definitions may meet."""
    for tree, where in included:
        for section in _SECTIONS:
            for key, value in (tree.get(section) or Map()).items():
                if not isinstance(layer.get(section), Map):
                    layer[section] = Map()
                if key in layer[section] and plain(layer[section][key]) != plain(value):
                    conflict = _conflict(section, key, where, place(tree, (section, key)))
                    problems.note(conflict, (section, key))
                layer[section].setdefault(key, value)
                layer[section].at.setdefault(key, tree[section].at.get(key) or where)
    return layer


def _conflict(section: str, key: str, where: Where | None, other: Where | None) -> ComposeError:
    return FileInvalid(
        f"{section}.{key} conflicts with the included resource of that name",
        hint=f"it is included from {other}; rename one, or change it in an override file listed in 'path'",
        where=where,
        path=f"{section}.{key}",
    )
