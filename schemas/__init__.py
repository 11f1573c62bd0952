"""JSON Schema of the Compose file, one file per noun.

Comes in:  the name of a schema, ``service``.
Goes out:  the schema as a dict; ``bundle`` gives all of them as one document, for editors and the loader.
Not here:  validating (``compose.load.validate``).
Source: Compose Specification. Texts are accepted where a number or a boolean may come from a variable.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

ROOT = "compose"
_FOLDER = Path(__file__).parent


def load(name: str) -> dict[str, Any]:
    """The schema in ``<name>.json``. Raises FileNotFoundError for an unknown name."""
    schema: dict[str, Any] = json.loads((_FOLDER / f"{name}.json").read_text())
    return schema


def names() -> tuple[str, ...]:
    """The names that ``load`` knows, sorted."""
    return tuple(sorted(path.stem for path in _FOLDER.glob("*.json")))


def bundle() -> dict[str, Any]:
    """One schema document that holds every other under ``$defs``, each with its own ``$id``."""
    root = load(ROOT)
    return {**root, "$defs": {name: load(name) for name in names() if name != ROOT}}
