"""The canonical model of the project: from its files, or as it was last applied when there is no file.

Comes in:  the scope.
Goes out:  the model, JSON-able, and whether it comes from files.
"""

import json
from typing import Any

from compose.cli.scope import Scope, is_name
from compose.errors import UsageError


def stored_or_loaded(scope: Scope) -> tuple[dict[str, Any], bool]:
    """``-p NAME`` works without a file: the supervisor keeps the model it last applied."""
    try:
        return dict(scope.loaded().canonical), True
    except UsageError:
        name = scope.given_name or scope.environment("COMPOSE_PROJECT_NAME")
        if scope.files or not is_name(name):
            raise
        return applied(scope, name) or {"name": name, "services": {}}, False


def applied(scope: Scope, name: str) -> dict[str, Any] | None:
    """The model last applied to the project ``name``, if it is still there."""
    for directory in (scope.places.project_run(name), scope.places.project_data(name)):
        try:
            with open(directory / "project.json", "rb") as file:
                model = json.load(file)
        except (FileNotFoundError, NotADirectoryError, ValueError):
            continue
        if isinstance(model, dict) and model.get("name") == name:
            return model
    return None
