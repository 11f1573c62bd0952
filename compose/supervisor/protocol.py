"""What passes between a command and the supervisor: JSON lines on ``control.sock``.

A command sends one request, ``{"verb": ..., "arguments": {...}}``, with up to three file descriptors
(``run``). The supervisor answers with events, one JSON object a line, and ends with
``{"result": {...}}`` or ``{"error": {...}}``.
"""

from __future__ import annotations

import errno
import json
from typing import Any

from compose.errors import ComposeError, Several, Where, sentence

MAX_REQUEST = 64 * 1024 * 1024


def encode(message: dict[str, Any]) -> bytes:
    """One JSON line."""
    return json.dumps(message, separators=(",", ":")).encode() + b"\n"


_RUN = (125, 126, 127)  # codes of ``exec``; what the engine fails at is 1 for every other command


def error_message(error: BaseException) -> dict[str, Any]:
    """Any error of the three packages, or an OSError, as JSON."""
    parts = error.exceptions if isinstance(error, BaseExceptionGroup) else getattr(error, "errors", ())
    if parts:
        told = [error_message(one) for one in parts]
        return {"several": [one for n, one in enumerate(told) if one not in told[:n]]}
    where = getattr(error, "where", None)
    return {
        "message": sentence(error),
        "hint": getattr(error, "hint", "") or _hint(error),
        "exit_code": 1 if (code := getattr(error, "exit_code", 1)) in _RUN else code,
        "path": getattr(error, "path", ""),
        "where": list(where) if where else None,
    }


def _hint(error: BaseException) -> str:
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return "free some space, or set PYCOMPOSE_RUN and PYCOMPOSE_DATA to directories on a larger disk"
    return ""


class Reported(ComposeError):
    """An error that the supervisor reported; exit code and text are the original's."""


def error_from(message: dict[str, Any]) -> ComposeError:
    """The exception to raise for an ``error`` answer."""
    if "several" in message:
        return Several([error_from(one) for one in message["several"]])
    where = Where(*message["where"]) if message.get("where") else None
    error = Reported(
        message["message"], hint=message.get("hint", ""), where=where, path=message.get("path", "")
    )
    error.exit_code = int(message.get("exit_code", 1))
    return error
