"""Short syntaxes of one text: ports, volumes, devices, extra hosts.

Comes in:  the text as written.
Goes out:  the long form as a dict (or several); ValueError with a sentence when the text is wrong.
Source: Compose Specification, services: ports, volumes, devices, extra_hosts.
"""

from __future__ import annotations

import posixpath
import re
from typing import Any

_PROPAGATION = frozenset({"private", "rprivate", "shared", "rshared", "slave", "rslave"})
_CONSISTENCY = frozenset({"consistent", "cached", "delegated"})
_RANGE = re.compile(r"(\d+)(?:-(\d+))?\Z")


def port_range(text: str) -> tuple[int, int]:
    """``80`` or ``3000-3005`` as first and last port."""
    match = _RANGE.match(text)
    if match is None:
        raise ValueError(f"'{text}' is not a port or range of ports")
    first, last = int(match[1]), int(match[2] or match[1])
    if last > 65535 or first > last:
        raise ValueError(f"'{text}' is not a range within 0-65535")
    return first, last


def ports(text: str) -> list[dict[str, Any]]:
    """``[[ip:]host:]container[/protocol]``; ranges become one entry per port."""
    body, slash, protocol = text.partition("/")
    if "[" not in body and re.fullmatch(r"[\d.]*:[\d-]*:[\d-]*:[\d-]*", body):
        raise ValueError(f"'{text}' has four parts: write [[ip:]host:]container[/protocol]")
    protocol = protocol.lower() or "tcp"
    if slash and protocol not in ("tcp", "udp", "sctp"):
        raise ValueError(f"'{protocol}' is not a protocol: tcp, udp or sctp")
    rest, _, container = body.rpartition(":")
    address, host = _address(rest)
    if not container:
        raise ValueError(f"'{text}' names no container port")
    first, last = port_range(container)
    if not first:
        raise ValueError(f"'{text}' has 0 as container port")
    base: dict[str, Any] = {"mode": "ingress"}
    if address:
        base["host_ip"] = address
    if not host:
        return [{**base, "target": port, "protocol": protocol} for port in _as_texts(first, last)]
    low, high = port_range(host)
    if last == first:
        published = host if high > low else str(low)
        return [{**base, "target": first, "published": published, "protocol": protocol}]
    if high - low != last - first:
        raise ValueError(f"the ranges in '{text}' differ in length")
    return [
        {**base, "target": port, "published": str(low + port - first), "protocol": protocol}
        for port in _as_texts(first, last)
    ]


def _as_texts(first: int, last: int) -> list[int]:
    """A range of ports in docker compose's order, which is that of texts: 10 comes before 9."""
    return sorted(range(first, last + 1), key=str)


def _address(rest: str) -> tuple[str, str]:
    """Split ``ip:host``; an IPv6 address may stand in brackets."""
    if rest.startswith("["):
        address, closed, host = rest[1:].partition("]")
        if not closed:
            raise ValueError(f"the bracket in '{rest}' is not closed")
        host = host.removeprefix(":")
    else:
        address, _, host = rest.rpartition(":")
        if ":" in address:
            raise ValueError(f"'{address}' is an IPv6 address without brackets: write [{address}]")
    if address:
        check_address(address)
    return address, host


def check_address(text: str) -> None:
    """Raise ValueError unless ``text`` is an IP address without a zone."""
    import ipaddress

    try:
        ipaddress.ip_address("" if "%" in text else text)
    except ValueError:
        raise ValueError(f"'{text}' is not an IP address") from None


def is_path(source: str) -> bool:
    """Whether the source of a short volume is a path on the host rather than a named volume."""
    return source.startswith((".", "/", "~", "\\\\")) or re.match(r"[A-Za-z]:[/\\]", source) is not None


def volume(text: str) -> dict[str, Any]:
    """``[source:]target[:options]`` in long form; the source is not yet absolute."""
    parts = _volume_parts(text)
    if len(parts) > 3 or not all(parts):
        raise ValueError(f"'{text}' is not of the form [source:]target[:mode]")
    if len(parts) == 1:
        return {"type": "volume", "target": posixpath.normpath(text), **({"volume": {}} if text[2:] else {})}
    source, target = parts[0], posixpath.normpath(parts[1])
    bind = is_path(source)
    kind = "bind" if bind else "volume"
    mount: dict[str, Any] = {"type": kind, "source": source, "target": target, kind: {}}
    for option in parts[2].split(",") if len(parts) == 3 else ():
        _volume_option(mount, option)
    if bind:
        mount["bind"]["create_host_path"] = True
    return mount


_DRIVE = re.compile(r"[A-Za-z]:(?:\\|/[^:]*:/)")


def _volume_parts(text: str) -> list[str]:
    """``text`` at its colons, but for that of a Windows drive: ``C:\\a`` or ``C:/a`` before ``:/target``."""
    parts = text.split(":")
    for index in range(len(parts) - 1):
        if index < len(parts) - 1 and _DRIVE.match(":".join(parts[index:])):
            parts[index : index + 2] = [f"{parts[index]}:{parts[index + 1]}"]
    return parts


def _volume_option(mount: dict[str, Any], option: str) -> None:
    if option in ("ro", "rw"):
        if option == "ro":
            mount["read_only"] = True
    elif option in _CONSISTENCY:
        pass  # means nothing on Linux
    elif option == "nocopy" and mount["type"] == "volume":
        mount["volume"]["nocopy"] = True
    elif option in ("z", "Z"):
        mount.setdefault("bind", {})["selinux"] = option
    elif option in _PROPAGATION:
        mount.setdefault("bind", {})["propagation"] = option


def device(text: str) -> dict[str, Any]:
    """``host[:container[:permissions]]`` or a CDI name."""
    parts = text.split(":")
    if len(parts) > 3 or not parts[0]:
        raise ValueError(f"'{text}' is not of the form host[:container[:permissions]]")
    target = parts[1] if len(parts) > 1 else parts[0]
    permissions = parts[2] if len(parts) > 2 else "rwm"
    if not target:
        target = parts[0]
    if len(parts) == 2 and not target.startswith("/"):
        target, permissions = parts[0], parts[1]
    return {"source": parts[0], "target": target, "permissions": permissions}


def host(text: str) -> tuple[str, str]:
    """``name=address`` or ``name:address``; an IPv6 address may stand in brackets."""
    name, sign, address = text.partition("=") if "=" in text else text.partition(":")
    if not sign or not name:
        raise ValueError(f"'{text}' is not of the form name=address")
    if address.startswith("[") and address.endswith("]"):
        address = address[1:-1]
    return name, address
