"""Build caches of other machines: what ``cache_from`` and ``cache_to`` name.

Comes in:  their words; keys of steps that this machine has no layer for.
Goes out:  layers, fetched when a step turns out to need them; at the end the steps of this build, sent away.
Not here:  the protocol (image.registry, image.push), OCI layouts (image.save).

A cache is an ordinary image whose history tells the keys of the steps that made its layers. So any registry
and any OCI layout can hold one, and an image that was built with its keys (``type=inline``) is one itself.
Source: docker build, --cache-from and --cache-to.
"""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

from runtime.build.cache import Kept
from runtime.build.contexts import pick
from runtime.build.spec import BuildSpec
from runtime.build.times import iso, seconds
from runtime.errors import BuildFailed, ImageError
from runtime.image import layer
from runtime.image.errors import DigestMismatch
from runtime.image.manifest import (
    INDEXES,
    Descriptor,
    History,
    Image,
    ImageConfig,
    choose,
    host_platform,
    read_config,
    read_manifest,
)
from runtime.image.progress import Events, Progress
from runtime.image.store import Store
from schemas.frozen import dataclass

_MARK = "pycompose.cache "
_CHUNK = 1 << 20
INLINE = "BUILDKIT_INLINE_CACHE"


@dataclass(frozen=True, slots=True)
class Far:
    """A layer that another machine has. when: seconds since the epoch; open: gives its bytes."""

    diff_id: str
    when: float
    blob: Descriptor
    open: Callable[[Descriptor], Iterator[bytes]]


def words(text: str) -> dict[str, str]:
    """``type=local,src=...`` as a table; a bare reference is a registry's. Pure."""
    if "=" not in text:
        return {"type": "registry", "ref": text}
    return dict(part.strip().partition("=")[::2] for part in text.split(","))


class Caches:
    """Those of one build. A context manager: it closes connections."""

    def __init__(self, store: Store, spec: BuildSpec, events: Events, room: Path) -> None:
        self._store, self._spec, self._events, self._room = store, spec, events, room
        self._held = ExitStack()
        self._lock = threading.Lock()
        self._steps: dict[str, Far] | None = None

    def __enter__(self) -> Caches:
        return self

    def __exit__(self, *_: object) -> None:
        self._held.close()

    # --- from

    def fetch(self, key: str) -> tuple[str, float] | None:
        """Bring the layer of a step into the store, if any cache has it; its diffID and when it was made."""
        if not self._spec.cache_from:
            return None
        with self._lock:
            if self._steps is None:
                self._steps = {}
                for text in self._spec.cache_from:
                    self._open(words(text))
        far = self._steps.get(key)
        if far is None:
            return None
        try:
            self._bring(far)
        except ImageError as error:
            self._note(f"the layer {far.blob.digest[7:19]} of a cache cannot be had: {error.message}")
            return None
        self._store.index.put_step(key, far.diff_id, "from a cache", far.when)
        return far.diff_id, far.when

    def _open(self, told: Mapping[str, str]) -> None:
        """Read what one cache has; a cache that is not there is none."""
        kind = told.get("type", "")
        name = told.get("ref") or told.get("src", "")
        try:
            if kind == "registry":
                self._registry(name)
            elif kind == "local":
                self._local(Path(name), told)
            else:
                self._note(f"a cache of type '{kind}' is not read here")
                return
        except (ImageError, OSError) as error:
            self._note(f"the cache {name} is not used: {getattr(error, 'message', error)}")

    def _registry(self, name: str) -> None:
        here = self._store.find(name)
        if here is not None:
            self._near(here)
        from runtime.image.reference import parse
        from runtime.image.registry import Registry

        reference = parse(name)
        registry = self._held.enter_context(Registry(reference, environment=os.environ))
        data, kind, _ = registry.manifest(reference.digest or reference.tag)
        if kind in INDEXES:
            data, kind, _ = registry.manifest(choose(data, host_platform(), name).digest)
        manifest = read_manifest(data, kind)
        self._take(registry.small_blob(manifest.config), manifest.layers, registry.stream)

    def _near(self, image: Image) -> None:
        """An image of this machine that carries its keys."""
        for diff_id, line in _made(image.config.history, image.layer_ids):
            for key in _keys(line):
                if self._store.has_layer(diff_id) and self._store.index.step(key) is None:
                    self._store.index.put_step(key, diff_id, "from an image", seconds(line.created))

    def _local(self, home: Path, told: Mapping[str, str]) -> None:
        index = (home / "index.json").read_bytes()
        digest = pick(index, told.get("tag", ""), told.get("digest", ""), str(home))
        manifest = read_manifest(_blob(home, digest).read_bytes())
        config = _blob(home, manifest.config.digest).read_bytes()
        self._take(config, manifest.layers, lambda blob: _stream(home, blob))

    def _take(
        self, config: bytes, blobs: Sequence[Descriptor], open_: Callable[[Descriptor], Iterator[bytes]]
    ) -> None:
        made, diff_ids = read_config(config)
        table = dict(zip(diff_ids, blobs, strict=False))
        assert self._steps is not None
        for diff_id, line in _made(made.history, diff_ids):
            for key in _keys(line):
                self._steps.setdefault(key, Far(diff_id, seconds(line.created), table[diff_id], open_))

    def _bring(self, far: Far) -> None:
        store = self._store
        with store.locked(far.diff_id), store.ingest() as work:
            if store.has_layer(far.diff_id):
                return
            data = far.open(far.blob)
            made = layer.unpack(data, work / "diff", compressed=far.blob.size, expected=far.diff_id)
            for _ in data:  # to its end, where its digest is verified
                pass
            blob = None
            if not made.exact:
                blob = work / "blob"
                with blob.open("wb") as out:
                    out.writelines(far.open(far.blob))
            store.commit_layer(work / "diff", far.diff_id, size=made.size, blob=blob)
            store.index.put_compressed(far.blob.digest, far.diff_id, far.blob.media_type, far.blob.size)

    # --- to

    def export(self, image: Image, used: Mapping[str, Kept]) -> None:
        """Send the steps of a build to every ``cache_to``. Raises BuildFailed, RegistryError, OSError."""
        for text in self._spec.cache_to:
            told = words(text)
            if told.get("type") == "inline":
                continue
            try:
                self._send(told, image, used)
            except (ImageError, OSError):
                if told.get("ignore-error") != "true":
                    raise

    def _send(self, told: Mapping[str, str], image: Image, used: Mapping[str, Kept]) -> None:
        kind = told.get("type", "")
        name = told.get("ref") or told.get("dest", "")
        if kind not in ("registry", "local") or not name:
            raise BuildFailed(
                f"a cache of type '{kind}' cannot be written here", hint="registry, local and inline can"
            )
        every, own = told.get("mode") == "max", set(image.layer_ids)
        steps = {key: kept for key, kept in used.items() if every or kept.diff_id in own}
        if not steps:
            return
        pseudo = self._store.put_image(*as_image(steps))
        try:
            self._note(f"exporting the cache to {name}")
            if kind == "registry":
                from runtime.image.push import push

                push(self._store, name, image=pseudo.id, events=self._events)
            else:
                self._write(Path(name), pseudo)
        finally:
            self._store.index.drop_image(pseudo.id)

    def _write(self, home: Path, image: Image) -> None:
        """An OCI layout in place of the one that was there."""
        import shutil

        from runtime.image.save import DirectorySink, save

        if home.exists() and any(home.iterdir()) and not (home / "index.json").exists():
            raise BuildFailed(f"{home} is not empty and holds no cache", hint="name another directory")
        home.parent.mkdir(parents=True, exist_ok=True)
        new, old = (home.with_name(f".{home.name}-{word}-{os.getpid()}") for word in ("new", "old"))
        try:
            new.mkdir()
            save(self._store, [image.id], DirectorySink(new), form="oci-dir")
            if home.exists():
                home.rename(old)
            new.rename(home)
        finally:
            shutil.rmtree(new, ignore_errors=True)
            shutil.rmtree(old, ignore_errors=True)

    def _note(self, text: str) -> None:
        self._events(Progress(kind="note", text=text))


def _made(history: Sequence[History], diff_ids: Sequence[str]) -> Iterator[tuple[str, History]]:
    """Each layer with its line of the history, counted from the end: a base may tell less than it has."""
    lines = [line for line in history if not line.empty]
    yield from zip(reversed(diff_ids), reversed(lines), strict=False)


def _keys(line: History) -> list[str]:
    return line.comment.removeprefix(_MARK).split() if line.comment.startswith(_MARK) else []


def as_image(steps: Mapping[str, Kept]) -> tuple[ImageConfig, list[str]]:
    """The image that stands for a cache: its configuration and its layers. Pure."""
    keys: dict[str, list[str]] = {}
    for key, kept in steps.items():
        keys.setdefault(kept.diff_id, []).append(key)
    when = {kept.diff_id: kept.when for kept in steps.values()}
    lines = [
        History(created_by="build cache", comment=_MARK + " ".join(keys[diff]), created=iso(when[diff]))
        for diff in keys
    ]
    return ImageConfig(history=tuple(lines)), list(keys)


def inline(spec: BuildSpec) -> bool:
    """Whether the image itself shall tell the keys of its steps."""
    asked = any(words(text).get("type") == "inline" for text in spec.cache_to)
    return asked or spec.args.get(INLINE, "") in ("1", "true")


def keyed(history: Sequence[History], layers: Sequence[str], used: Mapping[str, Kept]) -> tuple[History, ...]:
    """``history`` with the keys of the steps. Pure."""
    from schemas.frozen import replace

    by_layer = {kept.diff_id: key for key, kept in used.items()}
    rest = reversed(layers)
    found = []
    for line in reversed(history):
        key = "" if line.empty else by_layer.get(next(rest, ""), "")
        found.append(replace(line, comment=_MARK + key) if key else line)
    return tuple(reversed(found))


def _blob(home: Path, digest: str) -> Path:
    return home / "blobs" / "sha256" / digest.removeprefix("sha256:")


def _stream(home: Path, blob: Descriptor) -> Iterator[bytes]:
    state = hashlib.sha256()
    with _blob(home, blob.digest).open("rb") as data:
        while chunk := data.read(_CHUNK):
            state.update(chunk)
            yield chunk
    actual = "sha256:" + state.hexdigest()
    if actual != blob.digest:
        raise DigestMismatch("a layer of the cache", expected=blob.digest, actual=actual)
