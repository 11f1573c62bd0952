"""Which services are active, and what depends on one that is not.

Comes in:  the merged services, the active profiles, the services named by the user.
Goes out:  the active services; names of the others.
Source: Compose Specification "Profiles".
"""

from __future__ import annotations

from collections.abc import Collection

from compose.load.tree import Map


def activate(services: Map, profiles: Collection[str], named: Collection[str]) -> tuple[Map, tuple[str, ...]]:
    """Split ``services``; an optional dependency on an inactive service is dropped from its dependant."""
    active, disabled = Map(), []
    for name, service in services.items():
        own = service.get("profiles") or ()
        if not own or name in named or "*" in profiles or set(own) & set(profiles):
            active.move(services, name, service)
        else:
            disabled.append(name)
    for service in active.values():
        wanted: Map = service.get("depends_on") or Map()
        for name in [n for n, d in wanted.items() if n in disabled and not d.get("required", True)]:
            wanted.drop(name)
    return active, tuple(disabled)
