"""Take things out of the store: images, layers that nothing needs, old steps of builds, what dead processes
left.

Comes in:  the store; the ids of images that containers have; budgets.
Goes out:  less on disk, and how many bytes less. Nothing that an image or a container needs goes.
Not here:  which containers there are (compose.engine.inventory); named volumes are not even known here.

What is removed is first renamed into ``trash``, so that nobody ever sees half of it.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from runtime.errors import ImageError
from runtime.image import cachemounts
from runtime.image.cachemounts import CacheMount
from runtime.image.errors import ImageInUse
from runtime.image.manifest import Image, read_config
from runtime.image.reference import parse
from schemas.frozen import dataclass

if TYPE_CHECKING:
    from runtime.image.store import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """Which unused images ``choose`` takes.

    all:    also those that have names; else only those without.
    until:  only those made before this time (seconds since the epoch); None: whenever.
    labels: every (key, value, wanted); value None: whatever it is. wanted False: without that label.
    """

    all: bool = False
    until: float | None = None
    labels: tuple[tuple[str, str | None, bool], ...] = ()


def choose(images: Iterable[Image], wish: Wish, in_use: Collection[str]) -> list[Image]:
    """The images to be pruned. Pure."""
    return [image for image in images if image.id not in in_use and _wished(image, wish)]


def _wished(image: Image, wish: Wish) -> bool:
    if image.references and not wish.all:
        return False
    if wish.until is not None and image.created >= wish.until:
        return False
    labels = image.config.labels
    for key, value, wanted in wish.labels:
        if (key in labels and value in (None, labels[key])) is not wanted:
            return False
    return True


def prune(store: Store, wish: Wish, in_use: Collection[str]) -> tuple[list[str], int]:
    """Remove what ``choose`` takes; a line for each name and image, and the bytes that became free."""
    lines = []
    for image in choose(store.images(), wish, in_use):
        if held(store, image.id):
            continue
        lines += [f"untagged: {parse(name).familiar()}" for name in image.references]
        store.index.drop_image(image.id)
        lines.append(f"deleted: {image.id}")
    return lines, collect(store, in_use) or 0


def remove(
    store: Store, reference: str, *, force: bool, in_use: Collection[str], by_id: bool
) -> tuple[list[str], bool]:
    """Untag; forget the image with its last name, or when an id was given. Gives lines, and whether it went.

    An image that a container has is never forgotten: with ``force`` it only loses its names.
    Raises ImageNotFound, ImageInUse.
    """
    image = store.resolve(reference)
    several = len(image.references) > 1
    if by_id and several and not force:
        raise ImageInUse(
            f"image {image.id[7:19]} has several names: {', '.join(image.references)}",
            hint="remove them one by one, or all with -f",
        )
    if not by_id and several:
        name = str(parse(reference))
        store.index.drop_references([name])
        return [f"Untagged: {parse(name).familiar()}"], False
    lines = [f"Untagged: {parse(name).familiar()}" for name in image.references]
    if image.id in in_use or held(store, image.id):
        if not (force and lines):
            raise ImageInUse(f"image '{reference}' is used by a container", hint="remove the container first")
        store.index.drop_references(image.references)
        return lines, False
    store.index.drop_image(image.id)
    return [*lines, f"Deleted: {image.id}"], True


def collect(store: Store, keep: Collection[str] = (), also: Iterable[Path] = ()) -> int | None:
    """Delete layers and blobs that no image, build step or id of ``keep`` needs, and what dead processes
    left.

    Gives the bytes of the layers; None, and nothing done, while an image is being made: the next collection
    finds the same. also: directories of the store to be deleted with them.
    """
    fd = os.open(store.root / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        for path in also:
            discard(store, path)
            path.with_name(f"{path.name}.used").unlink(missing_ok=True)
        return _collect(store, keep)
    except BlockingIOError:
        return None
    finally:
        os.close(fd)


def held(store: Store, name: str) -> bool:
    """Whether a living process has said by ``Store.hold`` that it needs the image ``name``."""
    return _take(store.root / "blobs" / "sha256" / name.removeprefix("sha256:"), unlink=False)


def _take(path: Path, *, unlink: bool) -> bool:
    """Whether somebody holds the blob; if nobody does, delete it where that is asked for."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if unlink:
            path.unlink(missing_ok=True)
        return False
    except BlockingIOError:
        return True
    finally:
        os.close(fd)


def _collect(store: Store, keep: Collection[str]) -> int:
    rows = store.index.images()
    layers = {layer for row in rows for layer in row.layers} | {step[1] for step in store.index.steps()}
    blobs = {name for row in rows for name in (row.id, *row.digests)} | set(keep)
    unknown = [path for path in (store.root / "blobs/sha256").iterdir() if f"sha256:{path.name}" not in blobs]
    held_ones = [f"sha256:{path.name}" for path in unknown if _take(path, unlink=True)]
    for name in (*keep, *held_ones):
        with suppress(ImageError):  # gone or damaged: nothing could be made of it any more
            layers.update(read_config(store.blob(name))[1])
    known = store.index.layers()
    freed = 0
    for diff_id in set(known) - layers:
        store.index.drop_layer(diff_id)
        discard(store, store.layer(diff_id).parent)
        freed += known[diff_id]
    _unknown_layers(store, layers)
    sweep(store)
    return freed


def _unknown_layers(store: Store, needed: Collection[str]) -> None:
    """Directories that a process renamed into place and died before it wrote their row."""
    for path in (store.root / "layers").iterdir():
        if f"sha256:{path.name}" not in needed:
            discard(store, path)


def discard(store: Store, path: Path) -> None:
    """Out of sight at once, deleted by the next sweep."""
    with suppress(FileNotFoundError):
        path.rename(store.root / "trash" / os.urandom(16).hex())


def sweep(store: Store) -> None:
    """Delete the trash and the ingests of processes that are gone."""
    for path in (store.root / "ingest").iterdir():
        if path.name.endswith(".lock"):
            _sweep_lock(path)
        else:
            _sweep_ingest(store, path)
    for path in (store.root / "trash").iterdir():
        delete(path)


def _sweep_ingest(store: Store, path: Path) -> None:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        discard(store, path)
    except BlockingIOError:
        pass  # someone works in it
    finally:
        os.close(fd)


def _sweep_lock(path: Path) -> None:
    """A lock that nobody holds goes; ``Store.locked`` notices when that happens between its open and its
    flock."""
    try:
        fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        path.unlink(missing_ok=True)
    except BlockingIOError:
        pass
    finally:
        os.close(fd)


def delete(path: Path) -> None:
    """rm -rf that does not follow links; overlayfs leaves work directories of mode 0, which root can
    enter."""
    from runtime.inside import remove  # brings ctypes, which most commands do without

    remove.delete(path)


# --- the build cache


def cache_size(store: Store) -> tuple[int, int]:
    """Bytes of the layers that steps of builds lead to: all of them, and those that no image has."""
    sizes = store.index.layers()
    steps = {step[1] for step in store.index.steps()}
    needed = {layer for row in store.index.images() for layer in row.layers}
    return sum(sizes.get(one, 0) for one in steps), sum(sizes.get(one, 0) for one in steps - needed)


def excess(
    steps: Iterable[tuple[str, str, str, float]],
    sizes: Mapping[str, int],
    needed: Collection[str],
    budget: int,
    until: float | None = None,
    mounts: Iterable[CacheMount] = (),
) -> tuple[list[str], list[Path]]:
    """What to forget so that what only builds keep alive fits ``budget`` bytes: keys of steps, cache mounts.
    Pure.

    steps: as ``Index.steps`` gives them. needed: layers of images, which cost the cache nothing. mounts:
           directories
    of ``RUN --mount=type=cache``. The least recently used go first. until: only what was not used since this
    time.
    """
    by_layer: dict[str, list[tuple[str, float]]] = {}
    for key, layer, _, used in steps:  # a layer is as young as the youngest step that leads to it
        by_layer.setdefault(layer, []).append((key, used))
    things: list[tuple[float, int, list[str], list[Path]]] = [
        (max(used for _, used in keys), sizes.get(layer, 0), [key for key, _ in keys], [])
        for layer, keys in by_layer.items()
        if layer not in needed
    ]
    things += [(one.used, one.size, [], [one.path]) for one in mounts]
    total = sum(size for _, size, _, _ in things)
    gone: tuple[list[str], list[Path]] = ([], [])
    for used, size, keys, paths in sorted(things):
        if total <= budget:
            break
        if until is None or used < until:
            gone[0].extend(keys)
            gone[1].extend(paths)
            total -= size
    return gone


def trim(
    store: Store, budget: int, *, keep: Collection[str] = (), until: float | None = None
) -> tuple[int, int]:
    """Bring the build cache down to ``budget`` bytes, the least recently used steps and cache mounts first.

    keep: ids of images that containers have. Gives how many of both went and the bytes that became free.
          While a
    build or a pull runs, the bytes are left to the next collection, and cache mounts stay.
    Named volumes, images and what containers use are never touched.
    """
    needed = {layer for row in store.index.images() for layer in row.layers}
    caches = cachemounts.every(store.root / "cache")
    mounts = {one.path: one.size for one in caches}
    keys, paths = excess(store.index.steps(), store.index.layers(), needed, budget, until, caches)
    if not keys and not paths:
        return 0, 0
    store.index.drop_steps(keys)
    freed = collect(store, keep, paths)
    if freed is None:
        return len(keys), 0
    return len(keys) + len(paths), freed + sum(mounts[path] for path in paths)
