"""Which proxy leads to a host, by the usual variables. Pure.

Comes in:  the environment, a scheme, a host. Goes out: the proxy's URL, "" for the straight way.
Not here:  speaking with it (transport).
Source: golang.org/x/net/http/httpproxy, which docker and podman follow; curl(1), section Environment.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping


def proxy(scheme: str, host: str, port: int, environment: Mapping[str, str]) -> str:
    """The proxy for ``scheme://host:port``; lower-case variables come before upper-case ones."""
    name = f"{scheme}_proxy"
    found = environment.get(name) or environment.get(name.upper()) or _every(environment)
    if not found or _spared(host.lower(), port, environment):
        return ""
    return found if "://" in found else f"http://{found}"


def _every(environment: Mapping[str, str]) -> str:
    return environment.get("all_proxy") or environment.get("ALL_PROXY") or ""


def _spared(host: str, port: int, environment: Mapping[str, str]) -> bool:
    """Whether NO_PROXY names the host: itself, its domain, its network, or "*"; this machine always is."""
    address = _address(host)
    if host == "localhost" or (address is not None and address.is_loopback):
        return True
    words = environment.get("no_proxy") or environment.get("NO_PROXY") or ""
    return any(
        _matches(word.strip().lower(), host, port, address) for word in words.split(",") if word.strip()
    )


def _matches(
    word: str, host: str, port: int, address: ipaddress.IPv4Address | ipaddress.IPv6Address | None
) -> bool:
    if word == "*":
        return True
    if "/" in word and address is not None:
        try:
            return address in ipaddress.ip_network(word, strict=False)
        except ValueError:
            return False
    name, colon, number = word.rpartition(":")
    if colon and number.isdigit() and (":" not in name or name.endswith("]")):
        if int(number) != port:
            return False
        word = name
    word = word.strip("[]").removeprefix("*")
    if word.startswith("."):
        return host.endswith(word)
    return host == word or (address is None and host.endswith(f".{word}"))


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return None
