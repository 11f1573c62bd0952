"""Archives that lie, lead out or never end, made by hand: raw tar members, docker-archives, OCI layouts."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from runtime.image import tar
from runtime.image.manifest import OCI_CONFIG, OCI_INDEX, OCI_LAYER, OCI_MANIFEST

END = bytes(1024)


def entry(name: bytes | str, content: bytes = b"", **fields: Any) -> bytes:
    """One member, owned by whoever runs the test."""
    raw = name.encode() if isinstance(name, str) else name
    fields = {"uid": os.getuid(), "gid": os.getgid(), **fields}
    return tar.header(tar.Entry(name=raw, size=len(content), **fields)) + content + bytes(-len(content) % 512)


def member(name: str, **fields: Any) -> bytes:
    """A member without content."""
    return entry(name, **fields)


def sha(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


def config(*layers: bytes) -> bytes:
    """A configuration of these plain layers."""
    rootfs = {"type": "layers", "diff_ids": [sha(data) for data in layers]}
    return json.dumps({"architecture": "amd64", "os": "linux", "config": {}, "rootfs": rootfs}).encode()


def docker(
    *layers: bytes, more: Iterable[bytes] = (), tags: Iterable[str] = ("evil:1",), **change: Any
) -> bytes:
    """A docker-archive. more: further raw members in front. change: fields of the one entry of
    manifest.json.
    """
    names = [f"{number}/layer.tar" for number in range(len(layers))]
    document = [{"Config": "config.json", "RepoTags": list(tags), "Layers": names, **change}]
    parts = [*more, entry("config.json", config(*layers))]
    parts += [entry(name, data) for name, data in zip(names, layers, strict=True)]
    return b"".join([*parts, entry("manifest.json", json.dumps(document).encode()), END])


def layout(
    layer: bytes,
    *,
    packed: bytes | None = None,
    lie: Mapping[str, Any] | None = None,
    top: Mapping[str, Any] | None = None,
) -> bytes:
    """An OCI layout of one layer as a tar. lie: over the layer's descriptor; top: over the manifest's."""
    blob = gzip.compress(layer) if packed is None else packed
    settings = config(layer)
    first = {"mediaType": f"{OCI_LAYER}+gzip", "digest": sha(blob), "size": len(blob), **(lie or {})}
    document = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": {"mediaType": OCI_CONFIG, "digest": sha(settings), "size": len(settings)},
        "layers": [first],
    }
    manifest = json.dumps(document).encode()
    entry_ = {"mediaType": OCI_MANIFEST, "digest": sha(manifest), "size": len(manifest), **(top or {})}
    index = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [entry_]}
    blobs = {first["digest"]: blob, sha(settings): settings, sha(manifest): manifest}
    parts = [entry(f"blobs/sha256/{digest[7:]}", data) for digest, data in blobs.items()]
    return b"".join([*parts, entry("index.json", json.dumps(index).encode()), END])


class Endless(io.RawIOBase):
    """A pipe that gives what an iterator gives."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self._rest = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._rest:
            self._rest = next(self._chunks, b"")
            if not self._rest:
                return 0
        count = min(len(buffer), len(self._rest))
        buffer[:count], self._rest = self._rest[:count], self._rest[count:]
        return count
