"""The words of ``--filter`` when something is pruned. Pure but for the clock.

Comes in:  ``until=24h``, ``until=2026-11-01``, ``label=key``, ``label!=key=value``, ``dangling=false``.
Goes out:  the wish in the words of ``runtime.image.garbage``.
Source: docker image prune, "Filtering".
"""

import re
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from compose.errors import UsageError

if TYPE_CHECKING:
    from runtime.image.garbage import Wish

_PART = re.compile(r"(\d+(?:\.\d+)?)(h|m|s|ms)")
_SECONDS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}


def wish(filters: Sequence[str], *, all: bool = False) -> "Wish":
    """Read the filters. Raises UsageError."""
    from runtime.image.garbage import Wish

    until: float | None = None
    labels = []
    for text in filters:
        key, _, value = text.partition("=")
        if key == "until" and value:
            until = moment(value)
        elif key in ("label", "label!") and value:
            name, has_value, wanted = value.partition("=")
            labels.append((name, wanted if has_value else None, key == "label"))
        elif key == "dangling" and value.lower() in ("true", "1", "false", "0"):
            all = all or value.lower() in ("false", "0")
        else:
            raise UsageError(f"invalid filter '{text}'", hint="until=24h, label=KEY[=VALUE], label!=KEY")
    return Wish(all=all, until=until, labels=tuple(labels))


def moment(text: str, now: float | None = None) -> float:
    """A time: a duration back from now (``10m``, ``1h30m``), seconds since the epoch, or a date (RFC 3339).

    Raises UsageError.
    """
    now = time.time() if now is None else now
    parts = _PART.findall(text)
    if parts and "".join(number + unit for number, unit in parts) == text:
        return now - sum(float(number) * _SECONDS[unit] for number, unit in parts)
    try:
        if re.fullmatch(r"\d{5,}(\.\d+)?", text):
            return float(text)
        found = datetime.fromisoformat(text.replace("Z", "+00:00"))
    except ValueError:
        raise UsageError(f"invalid time '{text}'", hint="such as 24h, 10m or 2026-11-01T00:00:00Z") from None
    return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()
