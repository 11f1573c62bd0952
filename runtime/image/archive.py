"""Load images out of files: what ``docker save``, ``podman save``, ``skopeo copy`` and ``save`` here write.

Comes in:  a tar archive (plain or compressed, from a file or a pipe) or a directory, in one of the forms
           docker-archive, OCI layout, or skopeo's "dir".
Goes out:  Images in the store.
Not here:  reading names out of an archive (members), writing one (save), registries (pull).
Source: OCI image-spec image-layout.md; Docker image-spec v1.2, "Combined image JSON";
containers-transports(5).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

from runtime.image import layer
from runtime.image.errors import DigestMismatch, InvalidImage, InvalidReference
from runtime.image.manifest import (
    INDEXES,
    Descriptor,
    Image,
    Manifest,
    choose,
    host_platform,
    read_config,
    read_descriptor,
    read_json,
    read_manifest,
)
from runtime.image.members import Members, opened, small
from runtime.image.progress import Events, Progress, silent
from runtime.image.reference import parse
from runtime.image.store import Store
from schemas.frozen import dataclass

REF_NAME, FULL_NAME = "org.opencontainers.image.ref.name", "io.containerd.image.name"
_NESTED = 4


@dataclass(frozen=True, slots=True)
class _Part:
    """One layer of an archive. digest and size: as the manifest promises, "" and 0 where it promises
    nothing."""

    name: str
    digest: str = ""
    size: int = 0
    media_type: str = ""


def _part(where: str, item: Descriptor) -> _Part:
    return _Part(where + item.digest[7:], item.digest, item.size, item.media_type)


def load(store: Store, source: Path | BinaryIO, events: Events = silent) -> list[Image]:
    """Take every image of an archive into the store, with its names.

    source: a file, a directory, or a stream that is read once to its end.
    Raises InvalidImage, DigestMismatch, StoreFull, OSError; images before the damaged one are kept.
    """
    with store.using(), store.ingest() as work:
        store.sweep()
        with opened(source, work) as members:
            return _Archive(store, members, events).images()


class _Archive:
    """One archive on its way into the store."""

    def __init__(self, store: Store, members: Members, events: Events) -> None:
        self.store, self.members, self.events = store, members, events

    def images(self) -> list[Image]:
        """Every image."""
        if self.members.has("index.json"):
            images = self._layout()
        elif self.members.has("manifest.json"):
            images = self._docker()
        else:
            raise InvalidImage(
                "this is neither a docker-archive nor an OCI layout",
                hint="it has no index.json, no manifest.json",
            )
        if not images:
            raise InvalidImage("the archive holds no image")
        return images

    # --- forms

    def _layout(self) -> list[Image]:
        index = read_json(small(self.members, "index.json"), "index.json")
        entries = index.get("manifests")
        if not isinstance(entries, list):
            raise InvalidImage("index.json lists no manifests")
        found = [read_descriptor(entry, "an entry of index.json") for entry in entries]
        return [self._described(entry) for entry in _fitting(found)]

    def _described(self, entry: Descriptor) -> Image:
        where, top = "blobs/sha256/", entry
        data = self._document(where, entry)
        for _ in range(_NESTED):
            if entry.media_type not in INDEXES and (b'"manifests"' not in data or b'"layers"' in data):
                break
            entry = choose(data, host_platform(), "the image")
            data = self._document(where, entry)
        self.store.put_blob(data)
        return self._of_manifest(where, read_manifest(data), _names(top.annotations), top.digest)

    def _docker(self) -> list[Image]:
        data = small(self.members, "manifest.json")
        try:
            entries = json.loads(data)
            if isinstance(entries, dict):
                return [self._of_manifest("", read_manifest(data), (), "")]
            wanted = [
                (str(e["Config"]), [_Part(str(n)) for n in e["Layers"]], e.get("RepoTags") or [])
                for e in entries
            ]
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise InvalidImage(f"manifest.json is malformed: {error}") from error
        return [
            self._put(small(self.members, config), layers, [str(parse(str(tag))) for tag in tags], "")
            for config, layers, tags in wanted
        ]

    def _of_manifest(self, where: str, manifest: Manifest, names: Iterable[str], digest: str) -> Image:
        config = self._document(where, manifest.config)
        return self._put(config, [_part(where, item) for item in manifest.layers], names, digest)

    def _document(self, where: str, entry: Descriptor) -> bytes:
        """A small blob, verified."""
        data = small(self.members, where + entry.digest[7:])
        _same_size(entry.digest, entry.size, len(data))
        actual = "sha256:" + hashlib.sha256(data).hexdigest()
        if actual != entry.digest:
            raise DigestMismatch("a document of the archive", expected=entry.digest, actual=actual)
        return data

    # --- into the store

    def _put(self, config: bytes, parts: Sequence[_Part], names: Iterable[str], digest: str) -> Image:
        _, diff_ids = read_config(config)
        if len(diff_ids) != len(parts):
            raise InvalidImage("the manifest of the archive and the image's configuration name other layers")
        for diff, part in zip(diff_ids, parts, strict=True):
            self._layer(diff, part)
        return self.store.put_image(config, diff_ids, names, digest=digest)

    def _layer(self, diff: str, part: _Part) -> None:
        label = diff[7:19]
        with self.store.locked(diff), self.store.ingest() as work:
            if self.store.has_layer(diff):
                self.events(Progress(kind="layer", id=label, text="Exists"))
                return
            total = self.members.size(part.name)
            if part.digest:
                _same_size(part.digest, part.size, total)
            self.events(Progress(kind="layer", id=label, text="Unpacking", total=total))
            chunks = verified(self.members.chunks(part.name), part.digest)
            made = layer.unpack(chunks, work / "diff", compressed=total, expected=diff)
            blob = None if made.exact else self._keep(part.name, work / "blob")
            self.store.commit_layer(work / "diff", diff, size=made.size, blob=blob)
            if part.digest:
                self.store.index.put_compressed(part.digest, diff, part.media_type, total)
            self.events(Progress(kind="layer", id=label, text="Done"))

    def _keep(self, name: str, target: Path) -> Path:
        with target.open("wb") as out:
            for chunk in self.members.chunks(name):
                out.write(chunk)
        return target


def verified(chunks: Iterable[bytes], digest: str) -> Iterator[bytes]:
    """The same chunks; raises DigestMismatch behind the last one when they are not ``digest``. "": any will
    do."""
    state = hashlib.sha256()
    update: Callable[[bytes], object] = state.update if digest else len
    for chunk in chunks:
        update(chunk)
        yield chunk
    actual = "sha256:" + state.hexdigest()
    if digest and actual != digest:
        raise DigestMismatch("a layer of the archive", expected=digest, actual=actual)


def _same_size(digest: str, promised: int, actual: int) -> None:
    if promised != actual:
        raise InvalidImage(f"{digest[:19]} in the archive has {actual} bytes, but {promised} were promised")


def _fitting(entries: Sequence[Descriptor]) -> list[Descriptor]:
    """Without attestations, and of entries of one name that differ by platform only the host's."""
    real = [entry for entry in entries if "unknown" not in entry.platform]
    mine = [entry for entry in real if entry.platform in ("", host_platform())]
    named = {tuple(_names(entry.annotations)) for entry in mine}
    return [e for e in real if e in mine or tuple(_names(e.annotations)) not in named]


def _names(annotations: Any) -> list[str]:
    """Full names only: a bare tag, as skopeo writes it, names no image."""
    full, short = annotations.get(FULL_NAME), annotations.get(REF_NAME)
    for text in (full, short if short and ("/" in short or ":" in short) else None):
        try:
            if text:
                return [str(parse(text))]
        except InvalidReference:
            continue
    return []
