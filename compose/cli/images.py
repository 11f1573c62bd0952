"""``pycompose images``: the images the project's containers were made of; with ``--all`` the whole store."""

import time
from typing import TYPE_CHECKING, Annotated, Any

from compose.cli import report
from compose.cli.options import Option, Services
from compose.cli.scope import Scope
from compose.cli.table import as_json, table
from compose.errors import UsageError

if TYPE_CHECKING:
    from compose.cli.containers import Container
    from runtime.image.store import Store

HEADINGS = ["CONTAINER", "REPOSITORY", "TAG", "PLATFORM", "IMAGE ID", "SIZE", "CREATED"]


def run(
    scope: Scope,
    services: Services = (),
    *,
    format: Annotated[
        str, Option("--format", metavar="FORMAT", help="Format the output", choices=("table", "json"))
    ] = "table",
    all: Annotated[bool, Option("-a", "--all", help="List every image of the store")] = False,
    quiet: Annotated[bool, Option("-q", "--quiet", help="Only display IDs")] = False,
) -> int:
    """List images used by the created containers"""
    if all:
        if services:
            raise UsageError("--all lists the whole store and takes no services")
        return whole_store(scope, format=format, quiet=quiet)
    from compose.cli.lifecycle import chosen
    from runtime.image.store import Store

    found = sorted(chosen(scope, services, everything=True), key=lambda c: c.name)
    if quiet:
        for id in dict.fromkeys(c.label("image").removeprefix("sha256:") for c in found):
            report.tell(id)
        return 0
    store = Store(scope.places.images) if found else None
    facts = [_facts(store, c) for c in found if store is not None]
    if format == "json":
        report.put(as_json(facts))
        return 0
    report.put(table([HEADINGS, *(_cells(f) for f in facts)], least=20))
    return 0


def whole_store(scope: Scope, *, format: str, quiet: bool) -> int:
    """Print every image, of whatever project; needs no Compose file."""
    from compose.cli import image_rows
    from compose.engine.inventory import used_images
    from runtime.image.store import Store

    images = Store(scope.places.images).images() if scope.places.images.is_dir() else []
    rows = image_rows.rows(images, used_images(scope.places))
    if quiet:
        for id in dict.fromkeys(row["ID"] for row in rows):
            report.tell(image_rows.short(id))
    elif format == "json":
        report.put(as_json(rows))
    else:
        report.put(table([image_rows.HEADINGS, *map(image_rows.cells, rows)]))
    return 0


def _facts(store: "Store", container: "Container") -> dict[str, Any]:
    from runtime.image.reference import parse

    name = parse(container.image) if not container.image.startswith("sha256:") else None
    image = store.find(container.label("image"))
    return {
        "ID": container.label("image"),
        "ContainerName": container.name,
        "Repository": name.familiar().partition("@")[0].removesuffix(f":{name.tag}") if name else "<none>",
        "Tag": name.tag if name else "<none>",
        "Platform": f"{image.config.os}/{image.config.architecture}" if image else "",
        "Size": image.size if image else 0,
        "Created": image.created if image else 0.0,
        "LastTagTime": _time(image.created if image else 0.0),
    }


def _time(at: float) -> str:
    """RFC 3339, as docker compose's JSON has it. We keep no time of the tag: that of the image."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(at))


def _cells(facts: dict[str, Any]) -> list[str]:
    from compose.cli import humane

    short = facts["ID"].removeprefix("sha256:")[:12]
    created = humane.duration(time.time() - facts["Created"]) + " ago" if facts["Created"] else "N/A"
    size = humane.size(facts["Size"])
    return [
        facts["ContainerName"],
        facts["Repository"],
        facts["Tag"],
        facts["Platform"],
        short,
        size,
        created,
    ]
