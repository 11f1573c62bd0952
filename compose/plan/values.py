"""Texts of a service as the numbers and words that the kernel takes.

Comes in:  the text of an attribute.
Goes out:  the value, or an error.
"""

from __future__ import annotations

import re
import signal

from compose.errors import ComposeError

_SEPARATED = re.compile(r"[0-9a-f]{2}(?:([:-])[0-9a-f]{2})(?:\1[0-9a-f]{2}){4}\Z")
_DOTTED = re.compile(r"[0-9a-f]{4}(?:\.[0-9a-f]{4}){2}\Z")

_LINK_SYSCTL = re.compile(r"net\.(ipv4|ipv6)\.(conf|neigh)\.IFNAME\.[a-z0-9_]+=-?[0-9]+")


def signal_number(text: str) -> int:
    """ "SIGTERM", "TERM", "15" or "SIGRTMIN+3" as a number. Raises ComposeError for anything else."""
    if text.isdigit() and 0 < int(text) <= signal.SIGRTMAX:
        return int(text)
    name, _, offset = text.upper().removeprefix("SIG").partition("+")
    found = getattr(signal, f"SIG{name}", None) if name.isalnum() else None
    if found is None or (offset and not offset.isdigit()):
        raise ComposeError(f"invalid signal '{text}'", hint="use a name such as SIGTERM or a number")
    return int(found) + int(offset or 0)


def hardware_address(text: str) -> str:
    """An Ethernet address as ``02:42:ac:11:00:02``; "" stays "". Raises ValueError with a sentence.

    Dashes, and three groups with dots between them, mean the same. Source: Go's net.ParseMAC.
    """
    lower = text.lower()
    if not (lower == "" or _SEPARATED.match(lower) or _DOTTED.match(lower)):
        raise ValueError(f"'{text}'")
    digits = re.sub("[^0-9a-f]", "", lower)
    if digits and int(digits[:2], 16) & 1:
        raise ValueError(f"'{text}' is the address of a group")
    if digits and not int(digits, 16):
        raise ValueError(f"'{text}' is no address of an interface")
    return ":".join(digits[i : i + 2] for i in range(0, len(digits), 2))


def link_sysctls(text: str) -> tuple[str, ...]:
    """Kernel parameters of one link, ``net.ipv4.conf.IFNAME.<name>=<number>`` with commas between.

    Raises ValueError with the one that is none.
    """
    found = tuple(one.strip() for one in text.split(",") if one.strip())
    for one in found:
        if not _LINK_SYSCTL.fullmatch(one):
            raise ValueError(f"'{one}'")
    return found
