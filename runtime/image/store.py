"""The images of this machine, on disk.

Comes in:  a directory; content with the digest it must have; directories that were filled in an ingest.
Goes out:  Image values whose layers are directories in overlayfs form, ready to be mounted.
Not here:  tar (layer), the network (registry), the rows (index).

    oci-layout            blobs/sha256/HEX      configurations and manifests, by digest
    layers/HEX/diff       one unpacked layer by diffID, shared by every image that has it
    ingest/ID/            being made, its directory locked by flock(2); swept when nobody holds the lock
    trash/                removed by rename, deleted afterwards
    index.db              names, images, layers, build cache
    lock                  flock(2), shared while an image is being made, exclusive while collecting

Nothing is trusted but by rename: a layer or blob is written in ``ingest``, made durable, then renamed to its
digest.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import stat
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path

from runtime.errors import ImageError, ImageNotFound
from runtime.image import garbage
from runtime.image.errors import DigestMismatch, InvalidImage, InvalidReference, StoreFull
from runtime.image.index import ImageRow, Index
from runtime.image.manifest import Image, ImageConfig, read_config, write_config
from runtime.image.reference import Reference, parse
from runtime.state import close

_HELD: list[int] = []  # descriptors that ``Store.hold`` keeps open while the process lives
_HEX = frozenset("0123456789abcdef")


class Store:
    """The store at ``root`` (DATA/images); made on first use. Safe for several processes and threads at
    once."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.index = Index(root / "index.db")
        if not (root / "oci-layout").exists():
            self._prepare()

    def _prepare(self) -> None:
        close(self.root)
        for name in ("blobs/sha256", "layers", "ingest", "trash"):
            (self.root / name).mkdir(parents=True, exist_ok=True, mode=0o700)
        self.index.prepare()
        with self.ingest() as work:
            layout = work / "oci-layout"
            layout.write_text('{"imageLayoutVersion":"1.0.0"}')
            layout.rename(self.root / "oci-layout")

    # --- looking

    def find(self, reference: str) -> Image | None:
        """The image behind a name in any spelling, an id or the first digits of one; None when there is none.

        Raises InvalidReference when ``reference`` can be none of them, ImageError when an id prefix is
        ambiguous.
        """
        row = self._by_id(reference)
        if row is None:
            row = self._by_name(reference)
        return self._image(row) if row else None

    def resolve(self, reference: str) -> Image:
        """Like ``find``; raises ImageNotFound."""
        image = self.find(reference)
        if image is None:
            raise ImageNotFound(f"image '{reference}' is not in the store", hint="pull or build it first")
        return image

    def images(self) -> list[Image]:
        """Every image, the one added last first."""
        found = []
        for row in self.index.images():
            with suppress(ImageNotFound, InvalidImage):  # removed meanwhile; damaged: ``find`` tells
                found.append(self._image(row))
        return found

    def _by_name(self, text: str) -> ImageRow | None:
        try:
            name = parse(text)
        except InvalidReference:
            if _is_hex(text.removeprefix("sha256:")):
                return None
            raise
        row = self.index.by_reference(str(name))
        if row is None and name.digest:
            row = self.index.by_digest(name.name(), name.digest)
        return row

    def _by_id(self, text: str) -> ImageRow | None:
        digits = text.removeprefix("sha256:")
        if not _is_hex(digits) or not 4 <= len(digits) <= 64:
            return None
        rows = self.index.by_id(f"sha256:{digits}")
        if len(rows) > 1:
            raise ImageError(f"'{text}' is the beginning of {len(rows)} image ids", hint="give more digits")
        return rows[0] if rows else None

    def _image(self, row: ImageRow) -> Image:
        config, layer_ids = read_config(self.blob(row.id))
        return Image(
            id=row.id,
            references=row.references,
            layers=self.stack(layer_ids),
            layer_ids=layer_ids,
            config=config,
            size=row.size,
            created=_seconds(config.created) or row.added,
            digests=row.digests,
        )

    # --- blobs

    def blob(self, digest: str) -> bytes:
        """A small blob, verified. Raises ImageNotFound, DigestMismatch."""
        try:
            data = self._blob_path(digest).read_bytes()
        except FileNotFoundError as error:
            raise ImageNotFound(f"the store has no content {digest}") from error
        actual = "sha256:" + hashlib.sha256(data).hexdigest()
        if actual != digest:
            raise DigestMismatch("content of the store", expected=digest, actual=actual)
        return data

    def put_blob(self, data: bytes) -> str:
        """Keep a small blob; gives its digest."""
        digest = "sha256:" + hashlib.sha256(data).hexdigest()
        target = self._blob_path(digest)
        if target.exists():
            return digest
        with self.ingest() as work:
            part = work / "blob"
            with part.open("wb") as out:
                out.write(data)
                out.flush()
                os.fsync(out.fileno())
            part.rename(target)
            _sync_directory(target.parent)
        return digest

    def _blob_path(self, digest: str) -> Path:
        return self.root / "blobs" / "sha256" / _digits(digest)

    # --- layers

    def layer(self, diff_id: str) -> Path:
        """Where the layer ``diff_id`` is, or would be: a directory in overlayfs form."""
        return self.root / "layers" / _digits(diff_id) / "diff"

    def stack(self, layer_ids: Iterable[str]) -> tuple[Path, ...]:
        """The directories to mount for these layers, lowest first.

        A layer that comes twice stands only at its upper place: overlayfs refuses it twice (ELOOP), and
        whatever
        the lower one shows or hides, the upper one does again.
        """
        upper_first = dict.fromkeys(reversed(tuple(layer_ids)))
        return tuple(self.layer(layer) for layer in reversed(upper_first))

    def has_layer(self, diff_id: str) -> bool:
        """Whether the layer is there, whole."""
        return self.layer(diff_id).is_dir()

    @contextmanager
    def ingest(self) -> Iterator[Path]:
        """An empty directory of one's own on the store's filesystem; whatever is left in it at the end is
        deleted.

        Locked by flock(2) while in use, so that ``sweep`` can tell it from what a killed process left.
        Raises StoreFull instead of OSError ENOSPC or EDQUOT.
        """
        with self._room():
            path, lock = self._new_ingest()
            try:
                yield path
            finally:
                garbage.delete(path)
                os.close(lock)

    @contextmanager
    def _room(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise self._full(error) from error
            raise

    def _new_ingest(self) -> tuple[Path, int]:
        """Make a directory and lock it; once more when ``sweep`` saw it in between."""
        while True:
            path = self.root / "ingest" / os.urandom(16).hex()
            path.mkdir(mode=0o700)
            try:
                lock = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            except FileNotFoundError:
                continue
            fcntl.flock(lock, fcntl.LOCK_EX)
            if path.exists():
                return path, lock
            os.close(lock)

    def _full(self, error: OSError) -> StoreFull:
        state = os.statvfs(self.root)
        free = state.f_bavail * state.f_frsize
        return StoreFull(
            f"no space left under {self.root} ({free // 2**20} MiB free): {error.strerror}",
            hint="nothing of it was kept; free some space or set PYCOMPOSE_DATA to a larger filesystem",
        )

    @contextmanager
    def locked(self, name: str) -> Iterator[None]:
        """Hold the lock ``name`` (a digest, a recipe key) against other processes and threads of this
        machine."""
        path = self.root / "ingest" / f"{hashlib.sha256(name.encode()).hexdigest()[:32]}.lock"
        fd = _lock(path)
        try:
            yield
        finally:
            os.close(fd)

    def commit_layer(
        self, directory: Path, diff_id: str, *, size: int, durable: bool = True, blob: Path | None = None
    ) -> Path:
        """Move a filled directory of an ingest into the store as the layer ``diff_id``; gives its place.

        directory: overlayfs form (whiteouts char 0:0, opaque xattr), on the store's filesystem; the record
                   of its stream goes with it when there is one (``layer.unpack`` leaves it beside).
        blob:      the archive it came from, on that filesystem: kept when the stream cannot be had otherwise.
        diff_id:   sha256 of its tar stream: as verified while unpacking, or from ``layer.digest``.
        size:      bytes of its regular files. durable: syncfs(2) first, so that a power cut cannot empty it.
        """
        target = self.layer(diff_id)
        if not target.is_dir():
            if durable:
                _sync_filesystem(directory)
            home = directory.parent / f"layer-{_digits(diff_id)}"
            home.mkdir(mode=0o711)
            directory.rename(home / "diff")
            record = directory.with_name(directory.name + ".split")
            if blob is not None:
                blob.rename(home / "blob")
            elif record.exists():
                record.rename(home / "split")
            try:
                home.rename(target.parent)
            except OSError as error:
                if error.errno not in (errno.EEXIST, errno.ENOTEMPTY):
                    raise
            _sync_directory(target.parent.parent)
        self.index.put_layer(diff_id, size)
        return target

    @contextmanager
    def using(self) -> Iterator[None]:
        """Keep ``collect`` away while layers are committed that no image has yet: around every pull, load
        and build. Raises StoreFull instead of OSError ENOSPC or EDQUOT."""
        with self._room():
            fd = os.open(self.root / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(fd, fcntl.LOCK_SH)
                yield
            finally:
                os.close(fd)

    def hold(self, ids: Iterable[str]) -> None:
        """Keep these images from being removed until this process ends: it is about to make containers of
        them.

        Each is held by a shared flock(2) on its configuration. Raises ImageNotFound for one that was just
        removed.
        """
        for name in dict.fromkeys(ids):
            missing = ImageNotFound(f"image {name[7:19]} was removed meanwhile", hint="try again")
            try:
                fd = os.open(self._blob_path(name), os.O_RDONLY | os.O_CLOEXEC)
            except FileNotFoundError:
                raise missing from None
            fcntl.flock(fd, fcntl.LOCK_SH)
            if os.fstat(fd).st_nlink == 0:
                os.close(fd)
                raise missing
            _HELD.append(fd)

    # --- images

    def put_image(
        self,
        config: ImageConfig | bytes,
        layer_ids: Iterable[str],
        references: Iterable[str | Reference] = (),
        *,
        digest: str = "",
    ) -> Image:
        """Record an image whose layers are all in the store and let ``references`` name it.

        config: a value, or the exact bytes that came with the image (their digest is the id).
        digest: of the manifest it came by, "" for one made here.
        Raises ImageNotFound when a layer is missing.
        """
        layers = tuple(layer_ids)
        for layer in layers:
            if not self.has_layer(layer):
                raise ImageNotFound(f"layer {layer} of the image is not in the store")
        self._account(layers)
        data = config if isinstance(config, bytes) else write_config(config, layers)
        name = self.put_blob(data)
        row = self.index.put_image(name, layers, [_canonical(ref) for ref in references], digest)
        assert row is not None
        return self._image(row)

    def _account(self, layers: Iterable[str]) -> None:
        """Write the rows of layers whose maker died between the rename and the row."""
        for diff_id in set(layers) - set(self.index.layers()):
            walk = os.walk(self.layer(diff_id))
            files = (os.lstat(f"{at}/{name}") for at, _, names in walk for name in names)
            self.index.put_layer(diff_id, sum(info.st_size for info in files if stat.S_ISREG(info.st_mode)))

    def tag(self, reference_or_id: str, reference: str) -> Image:
        """Let ``reference`` name the image too; a former owner of that name loses it."""
        image = self.resolve(reference_or_id)
        self.index.put_image(image.id, image.layer_ids, [_canonical(reference)])
        return self.resolve(image.id)

    def remove(self, reference_or_id: str, *, force: bool = False, in_use: Collection[str] = ()) -> list[str]:
        """Untag; delete the image when that was its last name, or when an id was given. Gives one line each.

        in_use: ids of images that containers have; these are never deleted. Raises ImageInUse for those, and
                for
        an id with several names, unless ``force``; ImageNotFound.
        """
        by_id = _is_hex(reference_or_id.removeprefix("sha256:")) and self._by_id(reference_or_id) is not None
        try:
            lines, went = garbage.remove(self, reference_or_id, force=force, in_use=in_use, by_id=by_id)
        except InvalidImage as error:
            if not force:
                raise ImageError(
                    error.message, hint=f"'pycompose rmi -f {reference_or_id}' removes it"
                ) from error
            lines, went = self._drop_damaged(reference_or_id), True
        if went:
            self.collect(keep=in_use)
        return lines

    def _drop_damaged(self, reference_or_id: str) -> list[str]:
        row = self._by_id(reference_or_id) or self._by_name(reference_or_id)
        assert row is not None
        self.index.drop_image(row.id)
        return [f"Deleted: {row.id}"]

    def collect(self, *, keep: Collection[str] = ()) -> bool:
        """Delete what no image, build step or id of ``keep`` needs; False while an image is being made."""
        return garbage.collect(self, keep) is not None

    def sweep(self) -> None:
        """Delete the trash and what dead processes left."""
        garbage.sweep(self)


def _canonical(reference: str | Reference) -> str:
    return str(reference if isinstance(reference, Reference) else parse(reference))


def _lock(path: Path) -> int:
    """A descriptor that holds the lock at ``path``; once more when ``sweep`` took the file away meanwhile."""
    while True:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(fd, fcntl.LOCK_EX)
        try:
            if os.stat(path).st_ino == os.fstat(fd).st_ino:
                return fd
        except FileNotFoundError:
            pass
        os.close(fd)


def _is_hex(text: str) -> bool:
    return bool(text) and set(text) <= _HEX


def _digits(digest: str) -> str:
    digits = digest.removeprefix("sha256:")
    if len(digits) != 64 or not _is_hex(digits):
        raise ImageError(f"'{digest}' is not a sha256 digest")
    return digits


def _seconds(text: str) -> float:
    try:
        return datetime.fromisoformat(text[:19] + "+00:00").timestamp() if text else 0.0
    except ValueError:
        return 0.0


def _sync_directory(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _sync_filesystem(path: Path) -> None:
    """Make every file below durable: one syncfs(2) instead of a fsync(2) each."""
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        if libc.syncfs(fd) == -1:
            raise OSError(ctypes.get_errno(), "syncfs(2)", str(path))
    finally:
        os.close(fd)
