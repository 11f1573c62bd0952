"""Interim."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from compose.errors import ComposeError


def validate(tree: Any, *, broken: Collection[str] = ()) -> list[ComposeError]:
    """Interim."""
    return []
