"""``down --rmi``: remove the images of services.

Comes in:  the scope, the canonical model, which services, which images.
Goes out:  images gone from the store, a line of progress for each.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from compose.cli.progress import display
from compose.cli.scope import Scope


def names(canonical: Mapping[str, Any], services: Sequence[str], *, local_only: bool) -> list[str]:
    """Image names to remove: of all services, or (``local_only``) those the file gives no name. Pure."""
    found = []
    for key, service in canonical["services"].items():
        if services and key not in services:
            continue
        own = service.get("image")
        if not local_only or not own:
            found.append(own or f"{canonical['name']}-{key}")
    return list(dict.fromkeys(found))


def remove_images(
    scope: Scope, canonical: Mapping[str, Any], services: Sequence[str], *, local_only: bool
) -> None:
    """Remove them, those excepted that a container of any project still needs."""
    from compose.engine.inventory import used_images
    from runtime.image.errors import ImageInUse
    from runtime.image.store import Store

    store = Store(scope.places.images)
    used = used_images(scope.places)
    shown = display(scope.progress)
    try:
        for name in names(canonical, services, local_only=local_only):
            if store.find(name) is None:
                continue
            shown.change(f"Image {name}", "Removing")
            try:
                store.remove(name, in_use=used)
            except ImageInUse:
                shown.change(f"Image {name}", "Resource is still in use")
            else:
                shown.change(f"Image {name}", "Removed")
    finally:
        shown.close()
