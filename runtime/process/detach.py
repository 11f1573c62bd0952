"""The keys that leave a terminal and let its command run on, Ctrl-P Ctrl-Q unless others are named.

Comes in:  the keys as ``--detach-keys`` writes them; what is typed.
Goes out:  what of it is for the command, and whether the keys have come. Pure.
Source: docker-attach(1), "--detach-keys"; moby/term, EscapeProxy.
"""

from __future__ import annotations

DEFAULT = "ctrl-p,ctrl-q"
_CONTROL = "@abcdefghijklmnopqrstuvwxyz[\\]^_"


def keys(text: str) -> bytes:
    """``ctrl-p,ctrl-q`` as bytes; a single character stands for itself. Raises ValueError."""
    found = bytearray()
    for word in text.split(","):
        control = word.removeprefix("ctrl-") if word.startswith("ctrl-") else ""
        if len(control) == 1 and control in _CONTROL:
            found.append(_CONTROL.index(control))
        elif len(word) == 1 and word.isascii():
            found.append(ord(word))
        else:
            raise ValueError(f"unknown key '{word}'")
    return bytes(found)


class Detach:
    """Looks for the keys in what is typed; a beginning of them is held back until it is decided."""

    def __init__(self, wanted: bytes) -> None:
        self._wanted = wanted
        self._held = b""

    def feed(self, data: bytes) -> tuple[bytes, bool]:
        """Give what is for the command, and True when the keys have come (nothing after them counts)."""
        data = self._held + data
        at = data.find(self._wanted) if self._wanted else -1
        if at >= 0:
            self._held = b""
            return data[:at], True
        size = next(n for n in range(len(self._wanted), -1, -1) if n == 0 or data.endswith(self._wanted[:n]))
        self._held = data[len(data) - size :]
        return data[: len(data) - size], False
