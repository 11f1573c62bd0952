"""Which services are active, and what depends on one that is not.

Comes in:  the merged services, the active profiles, the services named by the user.
Goes out:  the active services; names of the others.
Source: Compose Specification "Profiles".
"""

from __future__ import annotations

from collections.abc import Collection

from compose.load.tree import Map


def activate(services: Map, profiles: Collection[str], named: Collection[str]) -> tuple[Map, tuple[str, ...]]:
    """Split ``services`` into the active ones and the names of the others."""
    active, disabled = Map(), []
    for name, service in services.items():
        own = service.get("profiles") or ()
        if not own or name in named or "*" in profiles or set(own) & set(profiles):
            active.move(services, name, service)
        else:
            disabled.append(name)
    return active, tuple(disabled)
