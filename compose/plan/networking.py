"""Addresses of a service that are none, and what the owner of a shared network namespace decides.

Comes in:  a Service.
Goes out:  (path below the service, what is wrong, hint) for every one.
Not here:  choosing addresses (``netns.ipam``), networks themselves (``resources``).
Source: Docker Engine 28, runconfig/hostconfig_unix.go; RFC 3927, RFC 4291.
"""

from __future__ import annotations

from collections.abc import Iterator

from compose.model.service import Service
from compose.plan.values import hardware_address

# network_mode service:NAME or container:NAME: the owner of the namespace decides about these
_OF_THE_OWNER = ("hostname", "dns", "extra_hosts", "links", "mac_address", "ports", "expose")

Fault = tuple[tuple[str | int, ...], str, str]


def faults(service: Service) -> Iterator[Fault]:
    """What is wrong with addresses, or given beside the namespace of another."""
    mode = service.network_mode
    shared = mode.startswith(("service:", "container:"))
    for key in _OF_THE_OWNER if shared else ():
        if getattr(service, key):
            message = f"gives '{key}' and has the network of another by 'network_mode: {mode}'"
            yield (key,), message, "remove one of them"
    addresses: dict[tuple[str, ...], str] = {("mac_address",): service.mac_address}
    for key, one in service.networks.items():
        addresses["networks", key, "mac_address"] = one.mac_address
    for path, text in addresses.items():
        try:
            hardware_address(text)
        except ValueError as error:
            yield path, f"has a MAC address that is none: {error}", "write it as 02:42:ac:11:00:02"
    for key, one in service.networks.items():
        yield from _addresses(("networks", key, "ipv4_address"), (one.ipv4_address,), 4)
        yield from _addresses(("networks", key, "ipv6_address"), (one.ipv6_address,), 6)
        yield from _addresses(("networks", key, "link_local_ips"), one.link_local_ips, 0)


def _addresses(path: tuple[str, ...], texts: tuple[str, ...], version: int) -> Iterator[Fault]:
    """version: 4 or 6, or 0 for a link-local address of either."""
    for text in texts:
        if not text:
            continue
        from ipaddress import ip_address  # few services give one, and it takes 3 ms

        try:
            found = ip_address(text)
        except ValueError:
            yield path, f"has the address '{text}', which is none", "write it as 172.28.0.5 or fd00::5"
            continue
        if version and found.version != version:
            yield path, f"has the address '{text}', which is not of IPv{version}", f"give one of IPv{version}"
        elif not version and not found.is_link_local:
            yield path, f"has the address '{text}', which is not link-local", "such as 169.254.8.8 or fe80::8"
