"""Have an image: from the store, from its registry, or assembled where no registry answers.

Comes in:  a reference and a policy.
Goes out:  an Image in the store.
Not here:  the protocol (registry), how images are assembled (assemble). Why not every failure assembles: ADR
           0033.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass

from runtime.errors import ImageError, ImageNotFound
from runtime.image import layer
from runtime.image.assemble import assemble, closest, offers
from runtime.image.errors import InvalidImage, RegistryUnreachable, StoreFull
from runtime.image.manifest import (
    INDEXES,
    Descriptor,
    Image,
    Manifest,
    choose,
    host_platform,
    read_config,
    read_manifest,
)
from runtime.image.progress import Events, Progress, Runner, silent
from runtime.image.reference import Reference, parse
from runtime.image.registry import Registry
from runtime.image.store import Store

POLICIES = ("auto", "registry", "assemble")
_PARALLEL = 4
_UNPACKED = 3  # bytes on disk for a byte downloaded, roughly


def pull(
    store: Store,
    reference: str,
    *,
    policy: str = "auto",
    platform: str | None = None,
    runner: Runner | None = None,
    events: Events = silent,
    refresh: bool = True,
) -> Image:
    """Give the image ``reference`` as it is now: fetched, or made where nobody answers.

    policy:  "auto" asks the registry and assembles when nobody answers; "registry" never assembles;
             "assemble" asks nobody. runner: needed to assemble.
    refresh: look for a newer one although the store has it (one HEAD); else what the store has will do.
    Raises ImageNotFound, RegistryDenied, RegistryRateLimited, RegistryTLS, RegistryUnreachable,
    DigestMismatch, InvalidImage, StoreFull, and what ``assemble`` raises. Nothing half-made is left.
    """
    if policy not in POLICIES:
        raise ImageError(f"'{policy}' is not a way to get images", hint=f"one of: {', '.join(POLICIES)}")
    found = store.find(reference)
    if found is not None and platform and not _fits(found, platform):
        found = None
    if found is not None and not refresh:
        return found
    name = parse(reference)
    if policy == "assemble":
        return _assemble(store, name, runner, events, None)
    turn = threading.Lock()

    def one_at_a_time(event: Progress) -> None:
        with turn:
            events(event)

    try:
        with store.using():
            store.sweep()
            return _Fetch(store, name, platform or host_platform(), one_at_a_time).image(found)
    except RegistryUnreachable as error:
        if policy == "registry":
            raise
        return _assemble(store, name, runner, events, error)


def _fits(image: Image, platform: str) -> bool:
    return f"{image.config.os}/{image.config.architecture}" == "/".join(platform.split("/")[:2])


def _assemble(
    store: Store, name: Reference, runner: Runner | None, events: Events, why: RegistryUnreachable | None
) -> Image:
    reason = f"{why.message.rstrip('.')}; " if why else ""
    if runner is None or not offers(str(name)):
        near = closest(str(name))
        known = (
            f"'{name.familiar()}' cannot be assembled either"
            if why
            else f"'{name.familiar()}' cannot be assembled"
        )
        hint = f"these can: {', '.join(near)}" if near else (why.hint if why else "")
        kind = RegistryUnreachable if why else ImageNotFound
        raise kind(f"no image '{name.familiar()}': {reason}{known}", hint=hint) from why
    events(Progress(kind="note", text=f"{name.familiar()}: {reason}assembling it from Debian packages"))
    return assemble(store, str(name), runner, events)


@dataclass(slots=True)
class _Fetch:
    """One pull from a registry."""

    store: Store
    name: Reference
    platform: str
    events: Events

    def image(self, found: Image | None) -> Image:
        """The image, its missing layers downloaded and unpacked side by side."""
        registry = Registry(self.name)
        word = self.name.digest or self.name.tag
        if found is not None and registry.head(word) in found.digests:
            self.events(Progress(kind="layer", id=self.name.familiar(), text="Up to date"))
            return found
        data, kind, top = registry.manifest(word)
        if kind in INDEXES or (kind not in INDEXES and b'"manifests"' in data and b'"layers"' not in data):
            entry = choose(data, self.platform, f"'{self.name.familiar()}'")
            data, kind, _ = registry.manifest(entry.digest)
        manifest = read_manifest(data, kind)
        config = registry.small_blob(manifest.config)
        _, diff_ids = read_config(config)
        if len(diff_ids) != len(manifest.layers):
            raise InvalidImage(
                f"the manifest of '{self.name.familiar()}' and its configuration name other layers"
            )
        self._layers(registry, manifest, diff_ids)
        self.store.put_blob(data)
        return self.store.put_image(config, diff_ids, [self.name], digest=top)

    def _layers(self, registry: Registry, manifest: Manifest, diff_ids: Sequence[str]) -> None:
        wanted = dict(zip(diff_ids, manifest.layers, strict=True))
        missing = {diff: entry for diff, entry in wanted.items() if not self.store.has_layer(diff)}
        for diff in wanted.keys() - missing.keys():
            self._say(wanted[diff], "Exists")
        self._check_space(sum(entry.size for entry in missing.values()))
        stop = threading.Event()

        def work(diff: str, entry: Descriptor) -> None:
            try:
                self._layer(registry, diff, entry, stop)
            except BaseException:
                stop.set()
                raise

        with ThreadPoolExecutor(_PARALLEL, thread_name_prefix="layer") as pool:
            jobs = [pool.submit(work, diff, entry) for diff, entry in missing.items()]
            try:
                wait(jobs)
            except BaseException:
                stop.set()
                raise
        errors = [error for job in jobs if (error := job.exception()) is not None]
        real = [error for error in errors if not isinstance(error, _Stopped)]
        if real:
            raise real[0]

    def _layer(self, registry: Registry, diff: str, entry: Descriptor, stop: threading.Event) -> None:
        with self.store.locked(diff), self.store.ingest() as work:
            if self.store.has_layer(diff):  # another process was quicker
                self._say(entry, "Exists")
                return
            part = work / "blob"
            registry.download(entry, part, self._meter(entry, stop))
            self._say(entry, "Unpacking")
            with part.open("rb") as data:
                chunks = iter(lambda: b"" if stop.is_set() else data.read(1 << 20), b"")
                made = layer.unpack(chunks, work / "diff", compressed=entry.size, expected=diff)
            blob = None if made.exact else part
            self.store.commit_layer(work / "diff", diff, size=made.size, blob=blob)
            self.store.index.put_compressed(entry.digest, diff, entry.media_type, entry.size)
            self._say(entry, "Done")

    def _meter(self, entry: Descriptor, stop: threading.Event) -> Callable[[int], None]:
        last = 0.0

        def progress(have: int) -> None:
            nonlocal last
            if stop.is_set():
                raise _Stopped("another layer failed")
            now = time.monotonic()
            if now - last > 0.1 or have == entry.size:
                last = now
                self._say(entry, "Downloading", have)

        return progress

    def _say(self, entry: Descriptor, text: str, current: int = 0) -> None:
        total = entry.size if current else 0
        self.events(Progress(kind="layer", id=entry.digest[7:19], text=text, current=current, total=total))

    def _check_space(self, compressed: int) -> None:
        state = os.statvfs(self.store.root)
        free = state.f_bavail * state.f_frsize
        if free < compressed * _UNPACKED:
            raise StoreFull(
                f"'{self.name.familiar()}' needs about {compressed * _UNPACKED >> 20} MiB "
                f"under {self.store.root}, {free >> 20} MiB are free",
                hint="nothing was downloaded; free some space or set PYCOMPOSE_DATA to a larger filesystem",
            )


class _Stopped(ImageError):
    """This layer was given up because another one failed."""
