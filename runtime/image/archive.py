"""Images in files: load what ``docker save``, ``skopeo`` and ``podman save`` write, and write the same.

Comes in:  a tar archive (plain or compressed, from a file or a pipe) or a directory: docker-archive or OCI
           layout.
Goes out:  Images in the store; or such an archive.
Not here:  registries (registry). Source: OCI image-spec image-layout.md; Docker image-spec v1.2, "Combined
           image JSON".
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

from runtime.errors import ImageError
from runtime.image import layer, tar
from runtime.image.compress import CHUNK, decompress, gzip
from runtime.image.errors import DigestMismatch, InvalidImage, InvalidReference
from runtime.image.manifest import (
    INDEXES,
    OCI_CONFIG,
    OCI_INDEX,
    OCI_LAYER,
    OCI_MANIFEST,
    Image,
    choose,
    host_platform,
    read_config,
    read_descriptor,
    read_json,
    read_manifest,
)
from runtime.image.progress import Events, Progress, silent
from runtime.image.reference import parse
from runtime.image.store import Store
from runtime.image.unpack import Unpacker
from runtime.image.view import View

_SMALL = 8 << 20
_REF_NAME, _FULL_NAME = "org.opencontainers.image.ref.name", "io.containerd.image.name"


def load(store: Store, source: Path | BinaryIO, events: Events = silent) -> list[Image]:
    """Take every image of an archive into the store, with its names.

    source: a file, a directory, or a stream that is read once to its end.
    Raises InvalidImage, DigestMismatch, StoreFull, OSError; images before the damaged one are kept.
    """
    if isinstance(source, Path) and not source.exists():
        raise ImageError(f"there is no archive {source}")
    with store.using(), store.ingest() as work:
        store.sweep()
        if isinstance(source, Path) and source.is_dir():
            return _Archive(store, source, events).images()
        home = work / "archive"
        home.mkdir()
        if isinstance(source, Path):
            with source.open("rb") as stream:
                _spread(stream, home)
        else:
            _spread(source, home)
        return _Archive(store, home, events).images()


def _spread(stream: BinaryIO, home: Path) -> None:
    with Unpacker(home, whiteouts=False) as unpacker:
        reader = tar.Reader(decompress(iter(lambda: stream.read(CHUNK), b"")))
        for entry in reader:
            if entry.type in (tar.FILE, tar.DIRECTORY, tar.SYMLINK, tar.HARDLINK):
                unpacker.put(entry, reader.content())


class _Archive:
    """An archive that lies in a directory; no name and no link in it leads out."""

    def __init__(self, store: Store, home: Path, events: Events) -> None:
        self.store, self.events = store, events
        self._view = View([home])

    def images(self) -> list[Image]:
        """Every image."""
        if self._view.find("/index.json"):
            return self._layout()
        if self._view.find("/manifest.json"):
            return self._docker()
        raise InvalidImage(
            "this is neither a docker-archive nor an OCI layout",
            hint="it has no index.json, no manifest.json",
        )

    def _layout(self) -> list[Image]:
        index = read_json(self._small("/index.json"), "index.json")
        entries = index.get("manifests")
        if not isinstance(entries, list):
            raise InvalidImage("index.json lists no manifests")
        found = [read_descriptor(entry, "an entry of index.json") for entry in entries]
        images = []
        for entry in found:
            data = self._blob(entry.digest)
            if entry.media_type in INDEXES:
                data = self._blob(choose(data, host_platform(), "the image").digest)
            manifest = read_manifest(data)
            config = self._blob(manifest.config.digest)
            files = [f"/blobs/sha256/{item.digest[7:]}" for item in manifest.layers]
            for item, file in zip(manifest.layers, files, strict=True):
                self._verify(file, item.digest)
            names = _names(entry.annotations)
            self.store.put_blob(data)
            images.append(self._put(config, files, names, "sha256:" + hashlib.sha256(data).hexdigest()))
        return images

    def _docker(self) -> list[Image]:
        try:
            entries = json.loads(self._small("/manifest.json"))
            wanted = [
                (str(e["Config"]), [str(n) for n in e["Layers"]], e.get("RepoTags") or []) for e in entries
            ]
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise InvalidImage(f"manifest.json is malformed: {error}") from error
        return [
            self._put(
                self._small(f"/{config}"),
                [f"/{name}" for name in layers],
                [str(parse(tag)) for tag in tags],
                "",
            )
            for config, layers, tags in wanted
        ]

    def _put(self, config: bytes, files: Sequence[str], names: Iterable[str], digest: str) -> Image:
        _, diff_ids = read_config(config)
        if len(diff_ids) != len(files):
            raise InvalidImage("the manifest of the archive and the image's configuration name other layers")
        for diff, file in zip(diff_ids, files, strict=True):
            self._layer(diff, file)
        return self.store.put_image(config, diff_ids, names, digest=digest)

    def _layer(self, diff: str, file: str) -> None:
        label = diff[7:19]
        with self.store.locked(diff), self.store.ingest() as work:
            if self.store.has_layer(diff):
                self.events(Progress(kind="layer", id=label, text="Exists"))
                return
            place = self._file(file)
            self.events(Progress(kind="layer", id=label, text="Unpacking", total=place.stat().st_size))
            with place.open("rb") as data:
                made = layer.unpack(iter(lambda: data.read(CHUNK), b""), work / "diff", expected=diff)
            self.store.commit_layer(work / "diff", diff, size=made.size)
            self.events(Progress(kind="layer", id=label, text="Done"))

    def _file(self, name: str) -> Path:
        found = self._view.find(name)
        if found is None or not stat.S_ISREG(found.info.st_mode):
            raise InvalidImage(f"the archive lacks '{name.lstrip('/')}'")
        return found.host

    def _small(self, name: str) -> bytes:
        path = self._file(name)
        if path.stat().st_size > _SMALL:
            raise InvalidImage(
                f"'{name.lstrip('/')}' in the archive has {path.stat().st_size} bytes, which is too much"
            )
        return path.read_bytes()

    def _blob(self, digest: str) -> bytes:
        data = self._small(f"/blobs/sha256/{digest[7:]}")
        actual = "sha256:" + hashlib.sha256(data).hexdigest()
        if actual != digest:
            raise DigestMismatch("a document of the archive", expected=digest, actual=actual)
        return data

    def _verify(self, file: str, digest: str) -> None:
        with self._file(file).open("rb") as data:
            actual = "sha256:" + hashlib.file_digest(data, "sha256").hexdigest()
        if actual != digest:
            raise DigestMismatch("a layer of the archive", expected=digest, actual=actual)


def _names(annotations: Any) -> list[str]:
    """Full names only: a bare tag, as skopeo writes it, names no image."""
    full, short = annotations.get(_FULL_NAME), annotations.get(_REF_NAME)
    for text in (full, short if short and ("/" in short or ":" in short) else None):
        try:
            if text:
                return [str(parse(text))]
        except InvalidReference:
            continue
    return []


def save(store: Store, references: Sequence[str], out: BinaryIO, *, form: str = "docker-archive") -> None:
    """Write images as one tar archive. form: "docker-archive" (layers plain) or "oci" (layers gzip).

    Raises ImageNotFound, ImageError, OSError.
    """
    if form not in ("docker-archive", "oci"):
        raise ImageError(f"'{form}' is no form of an archive", hint="docker-archive or oci")
    images = [
        (store.resolve(text), text if text.startswith("sha256:") else str(parse(text))) for text in references
    ]
    with store.ingest() as work:
        home = work / "archive"
        home.mkdir()
        if form == "oci":
            _write_layout(store, images, home)
        else:
            _write_docker(store, images, home)
        for chunk in layer.pack(home):
            out.write(chunk)


def _write_docker(store: Store, images: Sequence[tuple[Image, str]], home: Path) -> None:
    entries = []
    for image, _ in images:
        diffs = []
        for place in map(store.layer, image.layer_ids):
            digest = _write(home / "part", layer.pack(place))
            (home / digest[7:]).mkdir(exist_ok=True)
            (home / "part").rename(home / digest[7:] / "layer.tar")
            diffs.append(digest)
        config = f"{image.id[7:]}.json"
        (home / config).write_bytes(_with_layers(store.blob(image.id), diffs))
        tags = [parse(name).familiar() for name in image.references]
        files = [f"{diff[7:]}/layer.tar" for diff in diffs]
        entries.append({"Config": config, "RepoTags": tags, "Layers": files})
    (home / "manifest.json").write_text(json.dumps(entries))


def _write_layout(store: Store, images: Sequence[tuple[Image, str]], home: Path) -> None:
    blobs = home / "blobs" / "sha256"
    blobs.mkdir(parents=True)
    (home / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')
    entries = []
    for image, text in images:
        states = [hashlib.sha256() for _ in image.layer_ids]
        places = [store.layer(diff) for diff in image.layer_ids]
        packed = [_counted(layer.pack(place), state) for place, state in zip(places, states, strict=True)]
        layers = [_blob(blobs, gzip(chunks), f"{OCI_LAYER}+gzip") for chunks in packed]
        diffs = ["sha256:" + state.hexdigest() for state in states]
        config = _blob(blobs, [_with_layers(store.blob(image.id), diffs)], OCI_CONFIG)
        document = {"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": config, "layers": layers}
        entry = _blob(blobs, [json.dumps(document).encode()], OCI_MANIFEST)
        name = text if text in image.references else next(iter(image.references), "")
        entries.append({**entry, "annotations": {_FULL_NAME: name, _REF_NAME: name} if name else {}})
    index = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries}
    (home / "index.json").write_text(json.dumps(index))


def _with_layers(config: bytes, diffs: Sequence[str]) -> bytes:
    """The configuration for layers as we pack them: other tools order and pad the entries of a layer in
    other ways."""
    value = json.loads(config)
    if value["rootfs"]["diff_ids"] == list(diffs):
        return config
    value["rootfs"]["diff_ids"] = list(diffs)
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def _counted(chunks: Iterable[bytes], state: Any) -> Iterator[bytes]:
    for chunk in chunks:
        state.update(chunk)
        yield chunk


def _blob(home: Path, chunks: Iterable[bytes], media_type: str) -> dict[str, Any]:
    part = home / "part"
    digest = _write(part, chunks)
    size = part.stat().st_size
    part.rename(home / digest[7:])
    return {"mediaType": media_type, "digest": digest, "size": size}


def _write(path: Path, chunks: Iterable[bytes]) -> str:
    state = hashlib.sha256()
    with path.open("wb") as out:
        for chunk in _counted(chunks, state):
            out.write(chunk)
    os.utime(path, (0, 0))
    return "sha256:" + state.hexdigest()
