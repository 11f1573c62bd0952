"""Have an image: from the store, from its registry or a mirror, or assembled where no registry answers.

Comes in:  a reference and a policy.
Goes out:  an Image in the store.
Not here:  the protocol (registry), where to ask (settings), how images are assembled (assemble).
           Why not every failure assembles: ADR 0033.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path

from runtime.errors import ImageError, ImageNotFound, RegistryError
from runtime.image import layer, settings
from runtime.image.assemble import assemble, closest, offers
from runtime.image.errors import DigestMismatch, InvalidImage, RegistryUnreachable, StoreFull
from runtime.image.manifest import (
    INDEXES,
    Descriptor,
    Image,
    Manifest,
    candidates,
    host_platform,
    matches,
    read_config,
    read_manifest,
)
from runtime.image.progress import Events, Progress, Runner, silent
from runtime.image.reference import HUB, Reference, parse
from runtime.image.registry import Registry, Sleep
from runtime.image.stop import Stop, gather
from runtime.image.store import Store

POLICIES = ("auto", "registry", "assemble")
_PARALLEL = 4
_NESTED = 4  # an index in an index in an index
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
    environment: Mapping[str, str] | None = None,
    sleep: Sleep | None = None,
    stop: Stop | None = None,
) -> Image:
    """Give the image ``reference`` as it is now: fetched, or made where nobody answers.

    policy:  "auto" asks the registry and assembles when nobody answers; "registry" never assembles;
             "assemble" asks nobody. runner: needed to assemble.
    refresh: look for a newer one although the store has it (one HEAD); else what the store has will do.
    environment: where logins, proxies and settings come from, by default the process's own.
    stop:    gives up when it is set, with Stopped. sleep: waits between attempts.
    Raises ImageNotFound, RegistryDenied, RegistryRateLimited, RegistryTLS, RegistryUnreachable,
    DigestMismatch, InvalidImage, StoreFull, and what ``assemble`` raises. Nothing half-made is left.
    """
    if policy not in POLICIES:
        raise ImageError(f"'{policy}' is not a way to get images", hint=f"one of: {', '.join(POLICIES)}")
    found = store.find(reference)
    if found is not None and platform and not fits(found, platform):
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

    if name.digest and name.digest.partition(":")[0] not in ("sha256", "sha512"):
        raise InvalidImage(f"'{reference}' has a digest that cannot be verified here", hint="use sha256")
    world = os.environ if environment is None else environment
    try:
        with store.using():
            store.sweep()
            return _Fetch(store, name, platform or "", one_at_a_time, world, sleep, stop).image(found)
    except RegistryUnreachable as error:
        if policy == "registry" or name.registry != HUB:
            raise
        return _assemble(store, name, runner, events, error)


def look_up(reference: str, environment: Mapping[str, str] | None = None) -> str:
    """The digest that a tag stands for now, at the first mirror that knows it or at its registry.

    Raises ImageNotFound, RegistryError. Nothing is stored.
    """
    name, world = parse(reference), os.environ if environment is None else environment

    def ask(place: settings.Endpoint) -> str:
        with Registry(name, endpoint=place, environment=world) as registry:
            return registry.head(name.tag)[0] or registry.manifest(name.tag)[2]

    *mirrors, home = settings.endpoints(name, settings.read(world))
    for place in mirrors:
        with suppress(RegistryError, ImageNotFound, DigestMismatch):
            return ask(place)
    return ask(home)


def fits(image: Image, platform: str) -> bool:
    """Whether an image of the store is one for ``platform``; one that does not say is for every."""
    words = (image.config.os, image.config.architecture, image.config.variant)
    return not image.config.architecture or matches("/".join(filter(None, words)), platform)


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
    """One pull. platform: "" for what this machine runs."""

    store: Store
    name: Reference
    platform: str
    events: Events
    environment: Mapping[str, str]
    given_sleep: Sleep | None
    outer: Stop | None
    stop: Stop = field(init=False, default_factory=Stop)

    def image(self, found: Image | None) -> Image:
        """The image from the first place that has it; a mirror that fails is passed over."""
        *mirrors, home = settings.endpoints(self.name, settings.read(self.environment))
        for place in mirrors:
            try:
                return self._from(place, found)
            except (RegistryError, ImageNotFound, DigestMismatch) as error:
                self._note(f"the mirror {place.host} is passed over: {error.message}")
        return self._from(home, found)

    def _from(self, place: settings.Endpoint, found: Image | None) -> Image:
        self.stop = Stop(self.outer)
        sleep = self.given_sleep or self.stop.sleep
        with Registry(self.name, endpoint=place, environment=self.environment, sleep=sleep) as registry:
            self.stop.calls(registry.abort)
            told, _ = registry.head(self.name.digest or self.name.tag)
            word = self.name.digest or told
            known = self._known(word, found)
            if known is not None:
                return self._record(known, word)
            return self._fetch(registry, word)

    def _known(self, digest: str, found: Image | None) -> Image | None:
        """The image that a manifest of this digest stands for, when the store has it, whatever its name."""
        if found is not None and digest in found.digests:
            return found
        if not digest:
            return None
        rows = [row.id for row in self.store.index.images() if digest in row.digests]
        images = [self.store.resolve(row) for row in rows]
        return next((image for image in images if fits(image, self.platform or host_platform())), None)

    def _record(self, image: Image, digest: str) -> Image:
        """Let the name stand for ``image`` as of now."""
        self.store.index.put_image(image.id, image.layer_ids, [str(self._kept_name())], digest)
        return self.store.resolve(image.id)

    def _kept_name(self) -> Reference:
        return self.name.pinned(self.name.digest) if self.name.digest else self.name

    def _fetch(self, registry: Registry, word: str) -> Image:
        """Manifest, configuration, and the missing layers side by side."""
        data, kind, top = registry.manifest(word or self.name.tag)
        data, kind = self._by_platform(registry, data, kind)
        manifest = read_manifest(data, kind)
        config = registry.small_blob(manifest.config)
        _, diff_ids = read_config(config)
        if len(diff_ids) != len(manifest.layers):
            raise InvalidImage(
                f"the manifest of '{self.name.familiar()}' and its configuration name other layers"
            )
        self._check_platform(config)
        self._layers(registry, manifest, diff_ids)
        inner = self.store.put_blob(data)
        image = self.store.put_image(config, diff_ids, [self._kept_name()], digest=top)
        if inner != top:  # kept as well, to be pushed again as it came
            self.store.index.put_image(image.id, image.layer_ids, [], inner)
        return self.store.resolve(image.id)

    def _by_platform(self, registry: Registry, data: bytes, kind: str, depth: int = 0) -> tuple[bytes, str]:
        """The manifest for our platform, out of an index, perhaps of indexes."""
        if kind not in INDEXES and not (b'"manifests"' in data and b'"layers"' not in data):
            return data, kind
        what = f"'{self.name.familiar()}'"
        if depth >= _NESTED:
            raise InvalidImage(f"the index of {what} leads to indexes without end")
        wrong: InvalidImage | None = None
        for entry in candidates(data, self.platform or host_platform(), what):
            inner, inner_kind, _ = registry.manifest(entry.digest)
            try:
                return self._by_platform(registry, inner, inner_kind or entry.media_type, depth + 1)
            except InvalidImage as error:
                wrong = wrong or error
        raise wrong or InvalidImage(f"the index of {what} is empty")

    def _check_platform(self, config: bytes) -> None:
        """An image for other machines: an error when a platform was asked for, else a note."""
        made, _ = read_config(config)
        platform = "/".join(filter(None, (made.os, made.architecture, made.variant)))
        if not made.architecture or matches(platform, self.platform or host_platform()):
            return
        if self.platform:
            raise InvalidImage(
                f"'{self.name.familiar()}' is made for {platform}, not for {self.platform}",
                hint="its registry has it for one platform only",
            )
        self._note(f"'{self.name.familiar()}' is made for {platform}, and this machine is {host_platform()}")

    # --- layers

    def _layers(self, registry: Registry, manifest: Manifest, diff_ids: Sequence[str]) -> None:
        wanted = dict(zip(diff_ids, manifest.layers, strict=True))
        missing = {diff: entry for diff, entry in wanted.items() if not self.store.has_layer(diff)}
        for diff in wanted.keys() - missing.keys():
            self._say(wanted[diff], "Exists")
        self._check_space(sum(entry.size for entry in missing.values()))

        def work(diff: str, entry: Descriptor) -> None:
            try:
                self._layer(registry, diff, entry)
            except BaseException:
                self.stop.set()
                raise

        for entry in missing.values():
            self._say(entry, "Waiting")
        with ThreadPoolExecutor(_PARALLEL, thread_name_prefix="layer") as pool:
            gather(self.stop, [pool.submit(work, diff, entry) for diff, entry in missing.items()])

    def _layer(self, registry: Registry, diff: str, entry: Descriptor) -> None:
        """Unpack a layer while it comes; nothing of it is in the store before both digests are verified."""
        self.stop.check()
        with self.store.locked(diff), self.store.ingest() as work:
            if self.store.has_layer(diff):  # another process was quicker
                self._say(entry, "Exists")
                return
            with closing(registry.stream(entry)) as chunks:
                data = self._metered(chunks, entry)
                try:
                    made = layer.unpack(data, work / "diff", compressed=entry.size, expected=diff)
                except InvalidImage:
                    _exhaust(data)  # when the registry lied, its digest tells better than what came of it
                    raise
                _exhaust(data)
            blob = None if made.exact else self._again(registry, entry, work / "blob")
            self.store.commit_layer(work / "diff", diff, size=made.size, blob=blob)
            self.store.index.put_compressed(entry.digest, diff, entry.media_type, entry.size)
            self._say(entry, "Done")

    def _again(self, registry: Registry, entry: Descriptor, target: Path) -> Path:
        """The few layers whose stream cannot be put together again are fetched once more, to be kept."""
        with target.open("wb") as out:
            out.writelines(registry.stream(entry))
        return target

    def _metered(self, chunks: Iterator[bytes], entry: Descriptor) -> Iterator[bytes]:
        have, tell = 0, _Meter(self._say, entry)
        for chunk in chunks:
            self.stop.check()
            have += len(chunk)
            tell(have)
            yield chunk

    def _say(self, entry: Descriptor, text: str, current: int = 0) -> None:
        total = entry.size if current else 0
        self.events(
            Progress(
                kind="layer",
                id=entry.digest[7:19],
                text=text,
                current=current,
                total=total,
                part_of=self.name.familiar(),
            )
        )

    def _note(self, text: str) -> None:
        self.events(Progress(kind="note", text=text))

    def _check_space(self, compressed: int) -> None:
        state = os.statvfs(self.store.root)
        free = state.f_bavail * state.f_frsize
        if free < compressed * _UNPACKED:
            raise StoreFull(
                f"'{self.name.familiar()}' needs about {compressed * _UNPACKED >> 20} MiB "
                f"under {self.store.root}, {free >> 20} MiB are free",
                hint="nothing was downloaded; free some space or set PYCOMPOSE_DATA to a larger filesystem",
            )


class _Meter:
    """Tells how far a layer has come, ten times a second at most."""

    def __init__(self, say: Callable[[Descriptor, str, int], None], entry: Descriptor) -> None:
        self._say, self._entry, self._last = say, entry, 0.0

    def __call__(self, have: int) -> None:
        now = time.monotonic()
        if have >= self._entry.size:
            self._say(self._entry, "Downloading", have)
            self._say(self._entry, "Unpacking", 0)
        elif now - self._last > 0.1:
            self._last = now
            self._say(self._entry, "Downloading", have)


def _exhaust(chunks: Iterator[bytes]) -> None:
    for _ in chunks:
        pass
