"""What the engine tells while it works: plain dicts, one per change, that travel as JSON lines.

Comes in:  names and words.
Goes out:  {"event": "step" | "warning" | "notice" | "exited" | "health" | "restart", ...}.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Event = dict[str, Any]
Emit = Callable[[Event], None]


def step(kind: str, name: str, status: str, detail: str = "") -> Event:
    """A change of a container, network, volume or image; ``status`` is docker compose's word for it."""
    return {"event": "step", "kind": kind, "name": name, "status": status, "detail": detail}


def warning(text: str) -> Event:
    """Something that has no effect or works with less than was asked for."""
    return {"event": "warning", "text": text}


def notice(text: str) -> Event:
    """Something done to the machine that its owner should know."""
    return {"event": "notice", "text": text}
