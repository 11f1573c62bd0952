"""What a project takes from its own environment once its files are merged.

Comes in:  the merged tree of one project, or of an included one; its Scope.
Goes out:  the same tree: names without value in ``environment`` and ``args`` have theirs; values of configs
           and secrets that come from a variable are in the Notes.
"""

from __future__ import annotations

from typing import Any

from compose.load.interpolate import Scope
from compose.load.notes import Notes
from compose.load.tree import Map, Seq


def inherit(tree: Map, scope: Scope, notes: Notes) -> None:
    """Names without value in ``environment`` and ``args`` take the value of this project."""
    for service in (tree.get("services") or Map()).values():
        if isinstance(service, Map):
            _fill(service.get("environment"), scope)
            if "normalize" not in notes.omit:
                _fill((service.get("build") or {}).get("args"), scope)
            for hook in ("post_start", "pre_stop", "pre_start"):
                for one in service.get(hook) or ():
                    _fill(one.get("environment") if isinstance(one, Map) else None, scope)
    for section in ("configs", "secrets"):
        for key, entry in (tree.get(section) or Map()).items():
            if isinstance(entry, Map) and entry.get("environment"):
                notes.values.setdefault((section, key), scope.get(entry["environment"]))


def _fill(pairs: Any, scope: Scope) -> None:
    if isinstance(pairs, Map):
        for name, value in pairs.items():
            if value is None:
                pairs[name] = scope.get(name)


def inherit_lists(tree: Map, scope: Scope) -> None:
    """The names without value of an included project have to take them now, from its own env file."""
    for service in (tree.get("services") or Map()).values():
        names = service.get("environment") if isinstance(service, Map) else None
        for index, text in enumerate(names if isinstance(names, Seq) else ()):
            value = scope.get(str(text)) if "=" not in str(text) else None
            if value is not None and isinstance(names, Seq):
                names[index] = f"{text}={value}"
