"""Rows about images of the store, for ``images --all``, ``image ls`` and ``df``.

Comes in:  images.
Goes out:  one mapping for each name of each image. Pure.
"""

import time
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from compose.cli import humane

if TYPE_CHECKING:
    from runtime.image.manifest import Image

HEADINGS = ["REPOSITORY", "TAG", "IMAGE ID", "CREATED", "SIZE", "ORIGIN"]
ASSEMBLED = "io.pycompose.assembled"


def rows(images: Iterable["Image"], used: Mapping[str, Sequence[str]]) -> list[dict[str, Any]]:
    """One row for each name, one with ``<none>`` for an image without. used: containers by image id."""
    found = []
    for image in images:
        for repository, tag in names(image) or [("<none>", "<none>")]:
            row = {
                "ID": image.id,
                "Repository": repository,
                "Tag": tag,
                "Platform": f"{image.config.os}/{image.config.architecture}",
                "Size": image.size,
                "Created": image.created,
                "Origin": origin(image),
                "Containers": len(used.get(image.id, ())),
            }
            found.append(row)
    return found


def names(image: "Image") -> list[tuple[str, str]]:
    """Repository and tag of each name, as people write them."""
    from runtime.image.reference import parse

    found = []
    for text in image.references:
        name = parse(text)
        repository = name.familiar().partition("@")[0].removesuffix(f":{name.tag}")
        found.append((repository, name.tag or "<none>"))
    return found


def origin(image: "Image") -> str:
    """Where it came from: "assembled", "registry", or "local" (built, loaded, imported, committed)."""
    if image.config.labels.get(ASSEMBLED) == "true":
        return "assembled"
    return "registry" if image.digests else "local"


def cells(row: Mapping[str, Any]) -> list[str]:
    """A row as the table shows it."""
    return [
        row["Repository"],
        row["Tag"],
        short(row["ID"]),
        since(row["Created"]),
        humane.size(row["Size"]),
        row["Origin"],
    ]


def short(id: str) -> str:
    """The first twelve digits."""
    return id.removeprefix("sha256:")[:12]


def since(at: float) -> str:
    """How long ago, in words."""
    return humane.duration(time.time() - at) + " ago" if at else "N/A"
