"""``pycompose df``: what takes disk space, in all and by project."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

from compose.cli import humane, image_rows, report
from compose.cli.options import Option
from compose.cli.scope import Scope
from compose.cli.table import as_json, table

if TYPE_CHECKING:
    from compose.engine.inventory import Disk, Kept
    from runtime.image.manifest import Image
    from runtime.image.store import Store


def run(
    scope: Scope,
    *,
    format: Annotated[
        str, Option("--format", metavar="FORMAT", help="Format the output", choices=("table", "json"))
    ] = "table",
    verbose: Annotated[
        bool, Option("-v", "--verbose", help="Show every image, container and volume")
    ] = False,
) -> int:
    """Show disk usage of images, containers, volumes and caches, by project"""
    from compose.engine import inventory
    from runtime.image.store import Store

    store = Store(scope.places.images) if scope.places.images.is_dir() else None
    running = _running(scope)
    containers = [_container(one, running) for one in inventory.kept(scope.places)]
    volumes = [_volume(one) for one in inventory.volumes(scope.places)]
    images = _images(store, containers) if store else []
    caches = _caches(scope, store)
    found = {
        "Summary": summary(images, containers, volumes, caches),
        "Projects": projects(images, containers, volumes),
        "Images": images,
        "Containers": containers,
        "Volumes": volumes,
        "BuildCache": caches,
    }
    report.put(as_json(found) if format == "json" else _text(found, verbose=verbose))
    return 0


Row = dict[str, Any]


def _running(scope: Scope) -> set[str]:
    from compose.cli.containers import of_project
    from compose.cli.ls import projects as known

    return {one.spec.id for name in known(scope) for one in of_project(scope.places, name) if one.running}


def _container(one: "Kept", running: Collection[str]) -> Row:
    return {
        "ID": one.id,
        "Name": one.name,
        "Project": one.project,
        "Image": one.image,
        "Size": one.size(),
        "Running": one.id in running,
    }


def _volume(one: "Disk") -> Row:
    return {"Name": one.name, "Project": one.project, "Size": one.size, "Containers": one.containers}


def _images(store: "Store", containers: Sequence[Row]) -> list[Row]:
    images, sizes = store.images(), store.index.layers()
    users: dict[str, list[str]] = {}
    for one in containers:
        users.setdefault(one["Image"], []).append(one["Project"])
    return [shares(image, images, sizes, users.get(image.id, [])) for image in images]


def shares(image: "Image", images: Iterable["Image"], sizes: Mapping[str, int], users: Sequence[str]) -> Row:
    """What one image takes, and how much of it others need too. users: the project of each container.
    Pure."""
    others = {layer for other in images if other.id != image.id for layer in other.layer_ids}
    own = set(image.layer_ids)
    shared = sum(sizes.get(layer, 0) for layer in own & others)
    built = image.config.labels.get("com.docker.compose.project", "")
    repository, tag = (image_rows.names(image) or [("<none>", "<none>")])[0]
    return {
        "ID": image.id,
        "Repository": repository,
        "Tag": tag,
        "Created": image.created,
        "Layers": {layer: sizes.get(layer, 0) for layer in own},
        "SharedSize": shared,
        "UniqueSize": sum(sizes.get(layer, 0) for layer in own) - shared,
        "Containers": len(users),
        "Projects": sorted({*users, *([built] if built else [])}),
    }


def _caches(scope: Scope, store: "Store | None") -> Row:
    from runtime.image import cachemounts, garbage
    from runtime.inside.walk import usage

    steps, own = garbage.cache_size(store) if store else (0, 0)
    mounts = cachemounts.every(store.root / "cache") if store else []
    mounted = sum(one.size for one in mounts)
    return {
        "Steps": len(store.index.steps()) if store else 0,
        "Mounts": len(mounts),
        "Size": steps + mounted,
        "Reclaimable": own + mounted,
        "Packages": usage(scope.places.data / "cache" / "debian"),
    }


def total(images: Iterable[Row]) -> int:
    """Bytes of the layers of ``images``, each layer once. Pure."""
    layers: dict[str, int] = {}
    for row in images:
        layers.update(row["Layers"])
    return sum(layers.values())


def summary(
    images: Sequence[Row], containers: Sequence[Row], volumes: Sequence[Row], caches: Row
) -> list[Row]:
    """One row for each kind of thing, as docker system df has them. Pure."""
    idle = [row for row in images if not row["Containers"]]
    busy = [row for row in images if row["Containers"]]
    stopped = [row for row in containers if not row["Running"]]
    unused = [row for row in volumes if not row["Containers"]]
    rows = [
        ("Images", len(images), len(busy), total(images), total(images) - total(busy) if idle else 0),
        ("Containers", len(containers), len(containers) - len(stopped), _sum(containers), _sum(stopped)),
        ("Local Volumes", len(volumes), len(volumes) - len(unused), _sum(volumes), _sum(unused)),
        ("Build Cache", caches["Steps"] + caches["Mounts"], 0, caches["Size"], caches["Reclaimable"]),
        ("Package Cache", 0, 0, caches["Packages"], caches["Packages"]),
    ]
    keys = ("Type", "TotalCount", "Active", "Size", "Reclaimable")
    return [dict(zip(keys, row, strict=True)) for row in rows]


def _sum(rows: Iterable[Row]) -> int:
    return sum(row["Size"] for row in rows)


def projects(images: Sequence[Row], containers: Sequence[Row], volumes: Sequence[Row]) -> list[Row]:
    """One row for each project; an image that several projects use counts for each. Pure."""
    names = {row["Project"] for row in (*containers, *volumes)} | {
        n for row in images for n in row["Projects"]
    }
    found = []
    for name in sorted(names - {""}):
        theirs = [row for row in images if name in row["Projects"]]
        boxes = [row for row in containers if row["Project"] == name]
        disks = [row for row in volumes if row["Project"] == name]
        row = {
            "Project": name,
            "Images": len(theirs),
            "ImageSize": total(theirs),
            "Containers": len(boxes),
            "ContainerSize": _sum(boxes),
            "Volumes": len(disks),
            "VolumeSize": _sum(disks),
        }
        found.append(row)
    return found


def _text(found: Mapping[str, Any], *, verbose: bool) -> str:
    parts = [_summary_table(found["Summary"])]
    if found["Projects"]:
        parts.append(_project_table(found["Projects"]))
    if verbose:
        parts += [_image_table(found["Images"]), _thing_tables(found)]
    return "\n".join(parts)


def _summary_table(rows: Iterable[Row]) -> str:
    cells = [["TYPE", "TOTAL", "ACTIVE", "SIZE", "RECLAIMABLE"]]
    for row in rows:
        share = f" ({100 * row['Reclaimable'] // row['Size']}%)" if row["Size"] else ""
        freed = humane.size(row["Reclaimable"]) + share
        cells.append(
            [row["Type"], str(row["TotalCount"]), str(row["Active"]), humane.size(row["Size"]), freed]
        )
    return table(cells)


def _project_table(rows: Iterable[Row]) -> str:
    cells = [["PROJECT", "IMAGES", "SIZE", "CONTAINERS", "SIZE", "VOLUMES", "SIZE"]]
    for row in rows:
        line = [row["Project"]]
        for kind in ("Image", "Container", "Volume"):
            line += [str(row[kind + "s"]), humane.size(row[kind + "Size"])]
        cells.append(line)
    return table(cells)


def _image_table(rows: Iterable[Row]) -> str:
    headings = [
        "REPOSITORY",
        "TAG",
        "IMAGE ID",
        "CREATED",
        "SIZE",
        "SHARED SIZE",
        "UNIQUE SIZE",
        "CONTAINERS",
    ]
    cells = [
        [
            row["Repository"],
            row["Tag"],
            image_rows.short(row["ID"]),
            image_rows.since(row["Created"]),
            humane.size(row["SharedSize"] + row["UniqueSize"]),
            humane.size(row["SharedSize"]),
            humane.size(row["UniqueSize"]),
            str(row["Containers"]),
        ]
        for row in rows
    ]
    return "Images space usage:\n\n" + table([headings, *cells])


def _thing_tables(found: Mapping[str, Any]) -> str:
    boxes = [
        [
            row["ID"][:12],
            row["Name"],
            row["Project"],
            image_rows.short(row["Image"]),
            humane.size(row["Size"]),
        ]
        for row in found["Containers"]
    ]
    disks = [
        [row["Name"], row["Project"], str(row["Containers"]), humane.size(row["Size"])]
        for row in found["Volumes"]
    ]
    caches = found["BuildCache"]
    return (
        "Containers space usage:\n\n"
        + table([["CONTAINER ID", "NAME", "PROJECT", "IMAGE ID", "SIZE"], *boxes])
        + "\nLocal Volumes space usage:\n\n"
        + table([["VOLUME NAME", "PROJECT", "LINKS", "SIZE"], *disks])
        + f"\nBuild cache usage: {humane.size(caches['Size'])}, "
        + f"{caches['Steps']} steps, {caches['Mounts']} cache mounts\n"
        + f"Package cache usage: {humane.size(caches['Packages'])}\n"
    )
