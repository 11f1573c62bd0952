"""Write images of the store into files that docker, podman, skopeo and ``load`` here can read.

Comes in:  names of images, a form, a stream or a directory to write to.
Goes out:  a docker-archive or an OCI layout, as one tar or as a directory; or skopeo's "dir".
Not here:  reading one (archive), registries (push).
Source: OCI image-spec image-layout.md; Docker image-spec v1.2; containers-transports(5).

Layers go out as they came in, so an image keeps its id. A docker-archive is also an OCI layout with plain
layers, as docker 25 and later write it; it streams, since every size is known before. An OCI layout has gzip
layers, each compressed into the store's ingest first.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, Protocol

from runtime.errors import ImageError
from runtime.image import layer, tar
from runtime.image.archive import FULL_NAME, REF_NAME
from runtime.image.compress import CHUNK, ahead, gzip
from runtime.image.manifest import (
    DOCKER_CONFIG,
    DOCKER_MANIFEST,
    OCI_CONFIG,
    OCI_INDEX,
    OCI_LAYER,
    OCI_MANIFEST,
    Image,
)
from runtime.image.progress import Events, Progress, silent
from runtime.image.reference import parse
from runtime.image.store import Store
from schemas.frozen import dataclass

FORMS = ("docker-archive", "oci-archive", "oci-dir", "docker-dir")
DOCKER_LAYER = "application/vnd.docker.image.rootfs.diff.tar"
_DIR_VERSION = b"Directory Transport Version: 1.1\n"
_BLOBS = "blobs/sha256/"


@contextmanager
def room() -> Iterator[None]:
    """Tell a full disk where an archive is written from one where the store is. Raises ImageError."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        where = f" for {error.filename}" if error.filename else ""
        raise ImageError(
            f"no space left{where} where the archive is written",
            hint="nothing of it was kept; free some space",
        ) from error


class Sink(Protocol):
    """Takes files one after the other."""

    def put(self, name: str, size: int, chunks: Iterable[bytes]) -> None:
        """One file of exactly ``size`` bytes."""


class TarSink:
    """One tar archive on a stream; ``close`` writes its end and leaves the stream open."""

    def __init__(self, out: BinaryIO) -> None:
        self._out = out

    def put(self, name: str, size: int, chunks: Iterable[bytes]) -> None:
        """See Sink."""
        with room():
            self._out.write(tar.header(tar.Entry(name=name.encode(), size=size, mode=0o644)))
            for chunk in chunks:
                self._out.write(chunk)
            self._out.write(bytes(-size % tar.BLOCK))

    def close(self) -> None:
        """The end of the archive."""
        with room():
            self._out.write(bytes(2 * tar.BLOCK))
            self._out.flush()


class DirectorySink:
    """Files below a directory, which exists."""

    def __init__(self, home: Path) -> None:
        self._home = home

    def put(self, name: str, size: int, chunks: Iterable[bytes]) -> None:
        """See Sink."""
        path = self._home / name
        with room():
            path.parent.mkdir(parents=True, exist_ok=True)
        with room(), path.open("wb") as out:
            for chunk in chunks:
                out.write(chunk)


@dataclass(frozen=True, slots=True)
class Wanted:
    """An image and the full name under which it goes out, "" for none."""

    image: Image
    name: str


def wanted(store: Store, references: Sequence[str]) -> list[Wanted]:
    """What is to be saved; an id takes no name along. Raises ImageNotFound."""
    found = []
    for text in references:
        image = store.resolve(text)
        digits = text.removeprefix("sha256:")
        by_id = image.id[7:].startswith(digits) and len(digits) >= 4
        found.append(Wanted(image, "" if by_id else str(parse(text))))
    return found


def save(
    store: Store,
    references: Sequence[str],
    sink: Sink,
    *,
    form: str = "docker-archive",
    compress: bool | None = None,
    events: Events = silent,
) -> None:
    """Write images in ``form``, one of FORMS.

    compress: layers gzip or plain; by default gzip in an OCI layout. A docker-archive has plain layers
              always.
    Raises ImageNotFound, ImageError, DigestMismatch when a layer of the store is damaged, OSError.
    """
    if form not in FORMS:
        raise ImageError(f"'{form}' is no form of an archive", hint="one of " + ", ".join(FORMS))
    images = wanted(store, references)
    if form == "docker-dir" and len(images) != 1:
        raise ImageError("docker-dir holds one image", hint="save each into a directory of its own")
    oci = form.startswith("oci")
    packed = False if form == "docker-archive" else oci if compress is None else compress
    with store.using(), store.ingest() as work:
        writer = _Writer(store, sink, work, "" if form == "docker-dir" else _BLOBS, packed, events)
        if form == "docker-dir":
            _directory(writer, images[0])
        else:
            _layout(writer, images, docker=form.endswith("archive"))


class _Writer:
    """Puts blobs into a sink, each once."""

    def __init__(
        self, store: Store, sink: Sink, work: Path, where: str, packed: bool, events: Events
    ) -> None:
        self.store, self.sink, self.where, self.packed = store, sink, where, packed
        self._work, self._events = work, events
        self._done: dict[str, dict[str, Any]] = {}

    def blob(self, data: bytes, media_type: str) -> dict[str, Any]:
        """A document; gives its descriptor."""
        digest = "sha256:" + hashlib.sha256(data).hexdigest()
        if digest not in self._done:
            self.sink.put(self.where + digest[7:], len(data), [data])
            self._done[digest] = _descriptor(media_type, digest, len(data))
        return {**self._done[digest], "mediaType": media_type}

    def layer(self, diff: str, media_type: str) -> dict[str, Any]:
        """A layer of the store, plain or gzip; gives its descriptor."""
        if diff not in self._done:
            home = self.store.layer(diff).parent
            self._events(Progress(kind="layer", id=diff[7:19], text="Saving"))
            if self.packed:
                self._done[diff] = self._gzip(home, diff, media_type)
            else:
                size = layer.length(home)
                self.sink.put(self.where + diff[7:], size, layer.stream(home, diff))
                self._done[diff] = _descriptor(media_type, diff, size)
            self._events(Progress(kind="layer", id=diff[7:19], text="Done"))
        return self._done[diff]

    def _gzip(self, home: Path, diff: str, media_type: str) -> dict[str, Any]:
        part, state, size = self._work / "part", hashlib.sha256(), 0
        with part.open("w+b") as file:
            for chunk in gzip(ahead(layer.stream(home, diff))):
                state.update(chunk)
                size += file.write(chunk)
            file.seek(0)
            digest = "sha256:" + state.hexdigest()
            self.sink.put(self.where + digest[7:], size, iter(lambda: file.read(CHUNK), b""))
        kind = media_type + (".gzip" if media_type == DOCKER_LAYER else "+gzip")
        self.store.index.put_compressed(digest, diff, kind, size)
        return _descriptor(kind, digest, size)


def _descriptor(media_type: str, digest: str, size: int) -> dict[str, Any]:
    return {"mediaType": media_type, "digest": digest, "size": size}


def _layout(writer: _Writer, images: Sequence[Wanted], *, docker: bool) -> None:
    """An OCI layout; for docker, which loads no other, with its own two documents beside it."""
    index, combined = [], []
    for item in images:
        layers = [writer.layer(diff, OCI_LAYER) for diff in item.image.layer_ids]
        config = writer.blob(writer.store.blob(item.image.id), OCI_CONFIG)
        document = {"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": config, "layers": layers}
        entry = writer.blob(_json(document), OCI_MANIFEST)
        index.append({**entry, "annotations": _annotations(item.name)} if item.name else entry)
        combined.append(_combined(item, config, layers))
    put = writer.sink.put
    documents = {
        "index.json": _json({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": index}),
        "oci-layout": b'{"imageLayoutVersion":"1.0.0"}',
    }
    if docker:
        documents["manifest.json"] = _json(_merged(combined))
        documents["repositories"] = _json(_repositories(images))
    for name, data in documents.items():
        put(name, len(data), [data])


def _annotations(name: str) -> dict[str, str]:
    return {FULL_NAME: name, REF_NAME: name}


def _combined(item: Wanted, config: dict[str, Any], layers: Iterable[dict[str, Any]]) -> dict[str, Any]:
    return {
        "Config": _BLOBS + config["digest"][7:],
        "RepoTags": [parse(item.name).familiar()] if item.name else [],
        "Layers": [_BLOBS + entry["digest"][7:] for entry in layers],
    }


def _merged(entries: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """One entry for each image, with all its names."""
    found: dict[str, dict[str, Any]] = {}
    for entry in entries:
        known = found.setdefault(entry["Config"], {**entry, "RepoTags": []})
        known["RepoTags"] += [tag for tag in entry["RepoTags"] if tag not in known["RepoTags"]]
    return [{**entry, "RepoTags": entry["RepoTags"] or None} for entry in found.values()]


def _repositories(images: Iterable[Wanted]) -> dict[str, dict[str, str]]:
    """The oldest of the forms: the top layer by repository and tag."""
    found: dict[str, dict[str, str]] = {}
    for item in images:
        if item.name and item.image.layer_ids:
            name, tag = parse(item.name).familiar().rpartition(":")[::2]
            found.setdefault(name, {})[tag] = item.image.layer_ids[-1][7:]
    return found


def _directory(writer: _Writer, item: Wanted) -> None:
    """What skopeo calls "dir": every blob under its digits, a Docker manifest."""
    layers = [writer.layer(diff, DOCKER_LAYER) for diff in item.image.layer_ids]
    config = writer.blob(writer.store.blob(item.image.id), DOCKER_CONFIG)
    document = {"schemaVersion": 2, "mediaType": DOCKER_MANIFEST, "config": config, "layers": layers}
    for name, data in (("manifest.json", _json(document)), ("version", _DIR_VERSION)):
        writer.sink.put(name, len(data), [data])


def _json(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def save_to(store: Store, references: Sequence[str], target: Path, **options: Any) -> None:
    """``save`` into the file or directory ``target``: whole, or not at all.

    The forms that end in "-dir" make a directory, as does an existing empty directory for ``target`` with
    any other. A pipe or device is written to as it is. Raises what ``save`` raises, ImageError for a target
    that is in the way.
    """
    directory = str(options.get("form", "")).endswith("-dir") or target.is_dir()
    if directory and target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise ImageError(f"{target} is there already", hint="name a directory that is empty or not there")
    if not directory and target.exists() and not target.is_file():
        with target.open("wb") as out:
            _tar(store, references, out, options)
        return
    part = target.with_name(f".{target.name}.{os.urandom(6).hex()}")
    try:
        if directory:
            part.mkdir()
            save(store, references, DirectorySink(part), **options)
        else:
            with room(), part.open("xb") as out:
                _tar(store, references, out, options)
        part.rename(target)
    finally:
        if part.is_dir():
            shutil.rmtree(part)
        else:
            part.unlink(missing_ok=True)


def _tar(store: Store, references: Sequence[str], out: BinaryIO, options: dict[str, Any]) -> None:
    sink = TarSink(out)
    save(store, references, sink, **options)
    sink.close()
