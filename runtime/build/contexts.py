"""Build contexts that are no directory yet: repositories, archives, Dockerfiles behind URLs, layouts.

Comes in:  the text of a context.
Goes out:  a directory on the host, or an image in the store; each is fetched once per build.
Not here:  what may be copied out of it (context, sources).
Source: docker build, section "Build context"; OCI image-spec image-layout.md.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable
from pathlib import Path

from runtime.build import git, remote, unpacking
from runtime.build.git import Git, Repository
from runtime.build.remote import Downloads
from runtime.errors import BuildFailed
from runtime.image.errors import InvalidImage
from runtime.image.manifest import (
    INDEXES,
    Image,
    choose,
    host_platform,
    read_descriptor,
    read_json,
    read_manifest,
)
from runtime.image.progress import Events, Progress
from runtime.image.store import Store

LAYOUT = "oci-layout://"
_REF_NAME = "org.opencontainers.image.ref.name"


class Contexts:
    """Of one build; room: where they are put."""

    def __init__(self, store: Store, git: Git, downloads: Downloads, events: Events, room: Path) -> None:
        self._store, self._git, self._downloads, self._events = store, git, downloads, events
        self._room = room
        self._lock = threading.RLock()
        self._known: dict[str, Path] = {}
        self._images: dict[str, Image] = {}

    def directory(self, text: str) -> Path:
        """Where the context ``text`` lies. Raises BuildFailed, RegistryError."""
        if text.startswith("/"):
            if not os.path.isdir(text):  # noqa: PTH112 - text
                raise BuildFailed(f"the build context {text} is not a directory")
            return Path(os.path.realpath(text))
        repository = git.read(text)
        if repository is not None:
            return self._once(text, lambda place: self._clone(repository, place))
        if remote.is_url(text):
            return self._once(text, lambda place: self._download(text, place))
        raise BuildFailed(
            f"'{text}' is no build context",
            hint="a directory, a Git URL, or the URL of an archive or Dockerfile",
        )

    def _once(self, text: str, make: Callable[[Path], Path]) -> Path:
        with self._lock:
            if text not in self._known:
                self._events(Progress(kind="note", text=f"fetching the context {text}"))
                self._known[text] = make(self._room / f"context-{len(self._known)}")
            return self._known[text]

    def _clone(self, repository: Repository, place: Path) -> Path:
        return self._git.check_out(repository, self._git.commit(repository), place)

    def _download(self, url: str, place: Path) -> Path:
        """An archive is unpacked; anything else is taken for the Dockerfile."""
        import shutil

        file = self._downloads.file(url)
        place.mkdir(mode=0o755)
        if unpacking.is_archive(str(file), file.lstat()):
            unpacking.extract(str(file), place)
        else:
            shutil.copyfile(file, place / "Dockerfile")
        return place

    # --- OCI layouts

    def layout(self, text: str) -> Image:
        """The image that ``oci-layout://<directory>[:<tag>|@<digest>]`` names, without giving it a name here.

        Raises BuildFailed, InvalidImage.
        """
        with self._lock:
            if text not in self._images:
                self._images[text] = self._load(text.removeprefix(LAYOUT))
            return self._images[text]

    def _load(self, text: str) -> Image:
        home, tag, digest = split_layout(text)
        if not (home / "index.json").is_file():
            raise BuildFailed(f"{home} is not an OCI layout", hint="it has no index.json")
        wanted = pick((home / "index.json").read_bytes(), tag, digest, str(home))
        copy = self._room / f"layout-{len(self._images)}"
        (copy / "blobs" / "sha256").mkdir(parents=True)
        entry = {
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            **self._manifest(home, copy, wanted),
        }
        (copy / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [entry]}))
        from runtime.image.archive import load

        return load(self._store, copy)[0]

    def _manifest(self, home: Path, copy: Path, digest: str) -> dict[str, object]:
        """Bring the blobs of one image over; gives the descriptor of its manifest."""
        data = _bring(home, copy, digest)
        value = read_json(data, "the manifest")
        if value.get("mediaType") in INDEXES or "manifests" in value:
            digest = choose(data, host_platform(), f"the image of {home}").digest
            data = _bring(home, copy, digest)
        manifest = read_manifest(data)
        for part in (manifest.config, *manifest.layers):
            _bring(home, copy, part.digest)
        return {"digest": digest, "size": len(data), "mediaType": manifest.media_type}


def _bring(home: Path, copy: Path, digest: str) -> bytes:
    """Link or copy one blob; gives it when it is small."""
    name = f"blobs/sha256/{digest.removeprefix('sha256:')}"
    source, target = home / name, copy / name
    if not source.is_file() or source.is_symlink():
        raise InvalidImage(f"the layout {home} has no content {digest}")
    if not target.exists():
        try:
            os.link(source, target)
        except OSError:  # another file system
            import shutil

            shutil.copyfile(source, target)
    return target.read_bytes() if target.stat().st_size < 1 << 22 else b""


def split_layout(text: str) -> tuple[Path, str, str]:
    """Directory, tag and digest of ``<directory>[:<tag>|@<digest>]``. Pure."""
    path, _, digest = text.partition("@")
    head, _, last = path.rpartition("/")
    name, _, tag = last.partition(":")
    return Path(f"{head}/{name}"), tag, digest


def pick(index: bytes, tag: str, digest: str, where: str) -> str:
    """The digest of the entry of index.json that is meant: by digest, by tag, else the only one. Pure.

    Raises BuildFailed, InvalidImage.
    """
    entries = read_json(index, "index.json").get("manifests")
    found = [read_descriptor(entry, "an entry of index.json") for entry in entries or ()]
    if digest:
        return digest
    if tag:
        found = [e for e in found if e.annotations.get(_REF_NAME, "").rpartition(":")[2] == tag]
    elif len(found) > 1:
        found = [e for e in found if e.annotations.get(_REF_NAME, "").rpartition(":")[2] in ("", "latest")]
    if not found:
        raise BuildFailed(f"the layout {where} has no image '{tag or 'latest'}'")
    return found[0].digest
