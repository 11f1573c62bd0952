"""JSON messages with descriptors over SOCK_SEQPACKET sockets, errors included.

Comes in:  a dict, descriptors; or a socket to read from.
Goes out:  the same on the other side.
Not here:  who says what (``monitor``, ``spawner``, ``launch``).
"""

from __future__ import annotations

import array
import contextlib
import json
import socket
from collections.abc import Mapping, Sequence
from typing import Any

from runtime.errors import CommandNotFound, NotExecutable, RuntimeFailure

_ERRORS = {error.__name__: error for error in (RuntimeFailure, NotExecutable, CommandNotFound)}
_LARGEST = 1 << 17
_INT = array.array("i").itemsize


def send(channel: socket.socket, message: Mapping[str, Any], fds: Sequence[int] = ()) -> None:
    """Send one message, at most 128 KiB, with up to 8 descriptors."""
    send_text(channel, json.dumps(message).encode(), fds)


def send_text(channel: socket.socket, text: bytes, fds: Sequence[int] = ()) -> None:
    """Send a message that is JSON already."""
    rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
    channel.sendmsg([text], rights)


def receive(channel: socket.socket) -> tuple[dict[str, Any] | None, list[int]]:
    """Receive one message and its descriptors (close-on-exec); None when the other side is gone."""
    text, fds = receive_text(channel)
    return (json.loads(text) if text else None), fds


def receive_text(channel: socket.socket) -> tuple[bytes, list[int]]:
    """Receive one message as it came; b"" when the other side is gone."""
    try:
        raw, ancillary, _, _ = channel.recvmsg(_LARGEST, socket.CMSG_SPACE(8 * _INT), socket.MSG_CMSG_CLOEXEC)
    except ConnectionResetError:
        return b"", []
    fds = array.array("i")
    for level, kind, data in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            fds.frombytes(data[: len(data) - len(data) % _INT])
    return raw, list(fds)


def describe(error: RuntimeFailure) -> dict[str, Any]:
    """An error as data, for ``revive`` on the other side."""
    kind = type(error).__name__
    return {"kind": kind, "message": error.message, "hint": error.hint, "exit_code": error.exit_code}


def revive(data: Mapping[str, Any]) -> RuntimeFailure:
    """Make the error again that another process described."""
    kind = _ERRORS.get(data["kind"], RuntimeFailure)
    return kind(data["message"], hint=data["hint"], exit_code=data["exit_code"])


def tell(channel: socket.socket, error: RuntimeFailure) -> None:
    """Send an error; nothing when nobody is there to hear it."""
    with contextlib.suppress(OSError):
        send(channel, {"error": describe(error)})
