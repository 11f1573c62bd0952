"""Networks, volumes, configs and secrets that cannot be made as the file has them.

Comes in:  a Project, the services that are wanted.
Goes out:  an error for every one that those use.
Not here:  making them (``compose.engine``).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from compose.errors import ComposeError
from compose.model.project import Network, Project

# options of a bridge that keep others out
_SHELTERS = ("com.docker.network.bridge.host_binding_ipv6", "com.docker.network.bridge.gateway_mode_")
_BINDING = "com.docker.network.bridge.host_binding_ipv4"
_MTU = "com.docker.network.driver.mtu"


def refusals(project: Project, names: Iterable[str]) -> Iterator[ComposeError]:
    """Volumes, networks, configs and secrets whose names cannot be names, as far as they are used."""
    used = [project.services[name] for name in names]
    volumes = {mount.source for one in used for mount in one.volumes if mount.type == "volume"}
    for key in volumes & set(project.volumes):
        yield from _resource_name("volume", key, project.volumes[key].name, least=2)
    for key in {key for one in used for key in one.networks} & set(project.networks):
        network = project.networks[key]
        yield from _resource_name("network", key, network.name, least=1)
        if not network.external:
            yield from _options(key, network)
    for section in ("configs", "secrets"):
        for key in {file.source for one in used for file in getattr(one, section)}:
            if key in (".", ".."):
                yield ComposeError(f"'{key}' is not a name of {section}", path=f"{section}.{key}")


def _options(key: str, network: Network) -> Iterator[ComposeError]:
    for option, value in network.driver_opts.items():
        path = f"networks.{key}.driver_opts.{option}"
        if option.startswith(_SHELTERS):
            yield ComposeError(
                f"network '{key}' sets '{option}', which cannot be applied and keeps others out",
                hint="give each published port its address, or use 'internal: true'",
                path=path,
            )
        if option == _BINDING and not re.fullmatch(r"\d{1,3}(\.\d{1,3}){3}", value):
            text = f"network '{key}' binds ports to '{value[:40]}', which is no IPv4 address"
            yield ComposeError(text, hint="such as 127.0.0.1", path=path)
        # IPv4 needs 68 bytes, IPv6 1280; a bridge takes 65535 at most (RFC 791, RFC 8200)
        least = 1280 if network.enable_ipv6 else 68
        number = int(value) if value.isascii() and value.isdigit() and len(value) < 7 else -1
        if option == _MTU and value and not least <= number <= 65535:
            yield ComposeError(
                f"network '{key}' has an MTU of '{value[:20]}'",
                hint=f"use a number from {least} to 65535, such as 1500",
                path=path,
            )


def _resource_name(kind: str, key: str, name: str, *, least: int) -> Iterator[ComposeError]:
    if not re.fullmatch(r"[a-zA-Z0-9][a-zA-Z0-9_.-]*", name) or not least <= len(name) <= 255:
        yield ComposeError(
            f"{kind} '{key}' has the name '{name[:80]}', which cannot be one",
            hint="use letters, digits, '_', '.' and '-', a letter or digit first",
            path=f"{kind}s.{key}",
        )
