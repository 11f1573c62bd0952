"""What all projects of this machine have on disk, and which images their containers need.

Comes in:  the places.
Goes out:  image ids with the containers that use them; sizes of containers, volumes and caches by project.
Not here:  the image store itself (``runtime.image``), printing. Nothing here changes anything.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from compose.model.places import Places
from compose.plan.observed import IMAGE, PROJECT
from schemas.frozen import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """One container, running or not, as its record says. mounted: ids of the images that it mounts."""

    id: str
    name: str
    project: str
    image: str
    place: Path
    mounted: tuple[str, ...] = ()

    def size(self) -> int:
        """Bytes that its writable layer takes on disk."""
        from runtime.inside.walk import usage  # brings ctypes, which most commands do without

        return usage(self.place / "upper")


def kept(places: Places) -> list[Kept]:
    """Every container of every project that has a record, also a stopped one."""
    found = []
    for place, spec in _specs(places):
        labels = spec.get("labels") or {}
        one = Kept(
            id=place.name,
            name=str(spec.get("name", "")),
            project=place.parent.parent.name,
            image=str(labels.get(IMAGE, "")),
            place=place,
            mounted=tuple(m["options"] for m in spec.get("mounts") or () if m.get("type") == "image"),
        )
        found.append(one)
    return sorted(found, key=lambda one: (one.project, one.name))


def _specs(places: Places) -> Iterator[tuple[Path, dict[str, Any]]]:
    for path in (places.data / "projects").glob("*/containers/*/spec.json"):
        with suppress(OSError, ValueError):
            yield path.parent, json.loads(path.read_bytes())


def used_images(places: Places) -> dict[str, list[str]]:
    """Names of the containers by the ids of the images that they were made of or mount."""
    found: dict[str, list[str]] = {}
    for one in kept(places):
        for id in dict.fromkeys((one.image, *one.mounted)):
            found.setdefault(id, []).append(one.name)
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Disk:
    """One named or anonymous volume. project: "" when no project made it."""

    name: str
    project: str
    size: int
    containers: int


def volumes(places: Places) -> list[Disk]:
    """Every volume with its size; that of a bound directory of the host does not count."""
    from runtime import volume
    from runtime.inside.walk import usage

    users = _users(places)
    return [
        Disk(
            name=one.name,
            project=one.labels.get(PROJECT, ""),
            size=0 if one.path.is_symlink() else usage(one.path),
            containers=users.get(one.name, 0),
        )
        for one in volume.list(places.volumes)
    ]


def _users(places: Places) -> dict[str, int]:
    """How many containers mount a volume."""
    found: dict[str, int] = {}
    root = os.fspath(places.volumes) + "/"
    for _, spec in _specs(places):
        sources = {str(mount.get("source", "")) for mount in spec.get("mounts") or ()}
        for source in sources:
            if source.startswith(root):
                name = source[len(root) :].partition("/")[0]
                found[name] = found.get(name, 0) + 1
    return found
