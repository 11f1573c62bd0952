"""Send an image to its registry: what that has already stays here, layers are compressed on the way.

Comes in:  the store, a name in it.
Goes out:  the digest of the manifest that the registry has under that name now.
Not here:  the protocol (upload, registry), tar streams (layer).
Source: OCI image-spec v1.1, manifest.md; Docker Image Manifest V2 schema 2.
"""

from __future__ import annotations

import hashlib
import json
import os
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from typing import Any

from runtime.errors import ImageError, ImageNotFound, RegistryError
from runtime.image import layer, upload
from runtime.image.compress import ahead, gzip
from runtime.image.errors import InvalidImage, RegistryUnreachable
from runtime.image.manifest import (
    DOCKER_CONFIG,
    DOCKER_MANIFEST,
    OCI_CONFIG,
    OCI_LAYER,
    OCI_MANIFEST,
    Descriptor,
    Image,
    Manifest,
    read_manifest,
)
from runtime.image.progress import Events, Progress, silent
from runtime.image.reference import Reference, parse
from runtime.image.registry import Registry, Sleep
from runtime.image.stop import Stop, gather
from runtime.image.store import Store

_PARALLEL, _ORIGINS = 3, 3
_DOCKER_LAYER = "application/vnd.docker.image.rootfs.diff.tar"


def push(
    store: Store,
    reference: str,
    *,
    image: str = "",
    events: Events = silent,
    environment: Mapping[str, str] | None = None,
    sleep: Sleep | None = None,
    stop: Stop | None = None,
) -> str:
    """Push the image ``reference`` to the registry it names; gives the manifest's digest.

    image:       a name or id of the store to be pushed under that name, by default the name itself.
    environment: where logins, proxies and settings come from, by default the process's own.
    stop:        gives up when it is set, with Stopped. sleep: waits between attempts.
    Layers the registry has are not sent, those another repository of it has are mounted. An image that was
    pulled goes out by its own manifest where its layers are there as they came.
    Raises ImageNotFound, RegistryDenied, RegistryRateLimited, RegistryTLS, RegistryUnreachable,
    RegistryError.
    """
    name = parse(reference)
    if name.digest:
        raise ImageError(f"'{reference}' names a digest; an image is pushed by its tag")
    found = store.find(image or reference)
    if found is None:
        raise ImageNotFound(f"no image '{image or name.familiar()}' here to be pushed", hint="build it first")
    turn = threading.Lock()

    def one_at_a_time(event: Progress) -> None:
        with turn:
            events(event)

    world = os.environ if environment is None else environment
    with store.using(), ExitStack() as stack:
        own = Stop(stop)
        return _Push(store, name, found, one_at_a_time, world, own, sleep or own.sleep, stack).run()


@dataclass(slots=True)
class _Push:
    """One push. stack: closes what was opened."""

    store: Store
    name: Reference
    image: Image
    events: Events
    environment: Mapping[str, str]
    stop: Stop
    sleep: Sleep
    stack: ExitStack
    registry: Registry = field(init=False)
    origins: list[tuple[str, Registry]] = field(init=False, default_factory=list)

    def run(self) -> str:
        """Layers side by side, then the configuration, then the manifest that names them."""
        self.registry = self._open(f"repository:{self._repository}:pull,push")
        came = self._as_it_came()
        self.origins = [
            (origin, self._open(f"repository:{self._repository}:pull,push", f"repository:{origin}:pull"))
            for origin in self._other_repositories()
        ]
        layers = self._layers(came)
        config = self.store.blob(self.image.id)
        if not upload.has(self.registry, self.image.id):
            upload.upload(self.registry, lambda: iter((config,)), sleep=self.sleep)
        if came is not None and [entry.digest for entry in layers] == [e.digest for e in came[1].layers]:
            digest = upload.put_manifest(self.registry, self.name.tag, came[0], came[1].media_type)
        else:
            digest = self._put_new(config, layers)
        self.store.index.put_image(self.image.id, self.image.layer_ids, [str(self.name)], digest)
        return digest

    @property
    def _repository(self) -> str:
        return self.name.repository

    def _open(self, *scopes: str) -> Registry:
        registry = Registry(self.name, scopes=scopes, environment=self.environment, sleep=self.sleep)
        self.stack.callback(registry.close)
        self.stop.calls(registry.abort)
        return registry

    def _as_it_came(self) -> tuple[bytes, Manifest] | None:
        """The manifest that the image was pulled by, when the store still has it."""
        for digest in self.image.digests:
            try:
                data = self.store.blob(digest)
                manifest = read_manifest(data)
            except (ImageNotFound, InvalidImage):  # an index, or gone
                continue
            if manifest.config.digest == self.image.id and len(manifest.layers) == len(self.image.layer_ids):
                return data, manifest
        return None

    def _other_repositories(self) -> list[str]:
        """Repositories of the same registry that images with a layer of this one are named after."""
        ours = set(self.image.layer_ids)
        names = [
            parse(text)
            for row in self.store.index.images()
            if ours.intersection(row.layers)
            for text in row.references
        ]
        found = [n.repository for n in names if n.registry == self.name.registry]
        return [name for name in dict.fromkeys(found) if name != self._repository][:_ORIGINS]

    # --- layers

    def _layers(self, came: tuple[bytes, Manifest] | None) -> list[Descriptor]:
        """Have every layer in the registry; gives what the manifest has to say of them."""
        known: dict[str, list[Descriptor]] = {diff: [] for diff in self.image.layer_ids}
        if came is not None:
            for diff, entry in zip(self.image.layer_ids, came[1].layers, strict=True):
                known[diff] = [entry]
        for diff in known:
            self._say(diff, "Waiting")

        def work(diff: str) -> Descriptor:
            try:
                with self.store.locked(f"push {self.name.name()} {diff}"):  # one tag after the other
                    return self._layer(diff, [*known[diff], *self._known(diff)])
            except BaseException:
                self.stop.set()
                raise

        with ThreadPoolExecutor(_PARALLEL, thread_name_prefix="layer") as pool:
            jobs = {diff: pool.submit(work, diff) for diff in known}
            gather(self.stop, list(jobs.values()))
        return [jobs[diff].result() for diff in self.image.layer_ids]

    def _known(self, diff: str) -> list[Descriptor]:
        rows = self.store.index.compressed_of(diff)
        return [Descriptor(media_type=kind, digest=digest, size=size) for digest, kind, size in rows]

    def _layer(self, diff: str, known: Sequence[Descriptor]) -> Descriptor:
        self.stop.check()
        known = list({entry.digest: entry for entry in reversed(known)}.values())[::-1]
        for entry in known:
            if upload.has(self.registry, entry.digest):
                self._say(diff, "Layer already exists")
                return entry
        for entry in known:
            if origin := self._mounted(entry):
                self._say(diff, f"Mounted from {origin}")
                return entry
        with ExitStack() as streams:

            def packed() -> Iterator[bytes]:
                return gzip(streams.enter_context(closing(ahead(self._plain(diff)))))

            digest, size = upload.upload(self.registry, packed, sleep=self.sleep)
        entry = Descriptor(media_type=f"{OCI_LAYER}+gzip", digest=digest, size=size)
        self.store.index.put_compressed(digest, diff, entry.media_type, size)
        self._say(diff, "Pushed")
        return entry

    def _mounted(self, entry: Descriptor) -> str:
        for origin, registry in self.origins:
            try:
                if upload.mount(registry, entry.digest, origin):
                    return origin
            except RegistryUnreachable:
                raise
            except (RegistryError, ImageNotFound):  # no rights there: it is sent instead
                continue
        return ""

    def _plain(self, diff: str) -> Iterator[bytes]:
        """The layer's tar stream, told while it passes."""
        home = self.store.layer(diff).parent
        total, current, last = layer.length(home), 0, 0.0
        self._say(diff, "Preparing")
        for chunk in layer.stream(home, diff):
            self.stop.check()
            current += len(chunk)
            if time.monotonic() - last > 0.1 or current == total:
                last = time.monotonic()
                self._say(diff, "Pushing", current, total)
            yield chunk

    # --- the manifest

    def _put_new(self, config: bytes, layers: Sequence[Descriptor]) -> str:
        """A manifest of OCI's kind, or of Docker's where that is refused."""
        try:
            return self._put(OCI_MANIFEST, OCI_CONFIG, config, layers)
        except upload.MediaTypeRefused:
            return self._put(DOCKER_MANIFEST, DOCKER_CONFIG, config, layers)

    def _put(self, kind: str, config_kind: str, config: bytes, layers: Sequence[Descriptor]) -> str:
        docker = kind == DOCKER_MANIFEST
        document = {
            "schemaVersion": 2,
            "mediaType": kind,
            "config": {
                "mediaType": config_kind,
                "digest": "sha256:" + hashlib.sha256(config).hexdigest(),
                "size": len(config),
            },
            "layers": [_describe(entry, docker=docker) for entry in layers],
        }
        data = json.dumps(document, separators=(",", ":")).encode()
        digest = upload.put_manifest(self.registry, self.name.tag, data, kind)
        self.store.put_blob(data)
        return digest

    def _say(self, diff: str, text: str, current: int = 0, total: int = 0) -> None:
        name = self.name.familiar()
        self.events(
            Progress(kind="layer", id=diff[7:19], text=text, current=current, total=total, part_of=name)
        )


def _describe(entry: Descriptor, *, docker: bool) -> dict[str, Any]:
    """A layer in the media types of one family, its compression kept. Pure."""
    packing = next((w for w in ("zstd", "gzip") if entry.media_type.endswith(w)), "")
    if docker:
        kind = _DOCKER_LAYER + (f".{packing}" if packing else "")
    else:
        kind = OCI_LAYER + (f"+{packing}" if packing else "")
    return {"mediaType": kind, "digest": entry.digest, "size": entry.size}
