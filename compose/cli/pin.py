"""Images by digest instead of tag: ``config --resolve-image-digests`` and ``--lock-image-digests``.

Comes in:  the canonical model.
Goes out:  the model with every image pinned; or only services and their pinned images, an override file.
Not here:  talking to a registry (``runtime.image.pull``).
"""

from collections.abc import Callable, Mapping
from typing import Any


def digest_of(image: str) -> str:
    """The digest that a tag stands for in its registry now. Raises RuntimeFailure of the registry."""
    from runtime.image.pull import look_up

    return look_up(image)


def pinned(model: Mapping[str, Any], find: Callable[[str], str] = digest_of) -> dict[str, Any]:
    """``model`` with the full name and digest of every image; each is asked for once."""
    known: dict[str, str] = {}
    services = {}
    for name, service in model.get("services", {}).items():
        image = service.get("image")
        if image and image not in known:
            known[image] = _pin(image, find)
        services[name] = {**service, "image": known[image]} if image else service
    return {**model, "services": services}


def _pin(image: str, find: Callable[[str], str]) -> str:
    from runtime.image.reference import parse

    reference = parse(image)
    if reference.digest:
        return str(reference.pinned(reference.digest))
    return f"{reference}@{find(image)}"


def lock(model: Mapping[str, Any]) -> dict[str, Any]:
    """Only the images: what an override file needs to pin them. Takes a pinned model."""
    services = {}
    for name, service in model.get("services", {}).items():
        services[name] = {"command": None, "entrypoint": None}
        if service.get("image"):
            services[name]["image"] = service["image"]
    return {"name": "", "services": services}
