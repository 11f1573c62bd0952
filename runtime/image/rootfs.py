"""Images made of directories and plain tar files: what ``import``, ``commit`` and ``export`` do.

Comes in:  a tar of a root file system; the writable layer of a container; layers to be seen as one.
Goes out:  an image in the store; or one tar stream of the merged tree.
Not here:  which container (compose.cli), Dockerfile words for ``--change`` (runtime.build.change).
"""

from __future__ import annotations

import io
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

from runtime.image import layer
from runtime.image.compress import CHUNK, ahead, limited
from runtime.image.errors import InvalidImage
from runtime.image.manifest import History, Image, ImageConfig
from runtime.image.save import room
from runtime.image.store import Store
from runtime.kernel.mounts import Mount, mount, umount2
from runtime.kernel.namespaces import Clone, unshare
from runtime.rootfs.overlay import mount_overlay
from schemas.frozen import replace

_UNKNOWN = 1 << 30


def adopt(
    store: Store,
    source: BinaryIO,
    config: ImageConfig,
    references: Sequence[str] = (),
    *,
    message: str = "",
) -> Image:
    """Make an image of one layer out of a tar stream (plain, gzip, bzip2, xz or zstd).

    config: its history and time are written here. Raises InvalidImage, StoreFull, OSError.
    """
    size = _size(source)
    with store.using(), store.ingest() as work:
        store.sweep()
        chunks = limited(iter(lambda: source.read(CHUNK), b""))
        made = layer.unpack(chunks, work / "diff", compressed=size)
        if not made.entries:
            raise InvalidImage("the archive is empty", hint="give a tar of a root file system")
        if not made.exact:  # nothing asks for the stream as it came: ours will do
            made = layer.digest(work / "diff")
        store.commit_layer(work / "diff", made.diff_id, size=made.size)
        line = History(created_by="", comment=message, created=now())
        whole = replace(config, created=line.created, history=(line,))
        return store.put_image(whole, [made.diff_id], references)


def _size(source: BinaryIO) -> int:
    """Bytes of the input, from which the limit against bombs is taken; of a pipe nobody knows, so 1 GiB
    counts."""
    try:
        size = os.fstat(source.fileno()).st_size
    except (OSError, io.UnsupportedOperation):
        size = 0
    return size or _UNKNOWN


def commit(
    store: Store,
    base: Image,
    upper: Path,
    config: ImageConfig,
    references: Sequence[str] = (),
    *,
    message: str = "",
    clean: Callable[[Path], None] = lambda copy: None,
) -> Image:
    """Make an image of ``base`` and what a container wrote above it.

    upper:  the container's writable layer; it is copied. config: how containers of the new image run.
    clean:  takes out of the copy what the program did not write.
    Raises StoreFull, InvalidImage, OSError.
    """
    with store.using(), store.ingest() as work:
        chunks = ahead(layer.pack(upper, living=True))
        try:
            layer.unpack(chunks, work / "diff")
        finally:
            chunks.close()
        layer.record_of(work / "diff").unlink(missing_ok=True)
        clean(work / "diff")
        made = layer.digest(work / "diff")
        store.commit_layer(work / "diff", made.diff_id, size=made.size)
        when = now()
        line = History(created_by=" ".join((*config.entrypoint, *config.cmd)), comment=message, created=when)
        line = replace(line, author=config.author)
        whole = replace(config, created=when, history=(*base.config.history, line))
        return store.put_image(whole, [*base.layer_ids, made.diff_id], references)


def now() -> str:
    """The time as images write it."""
    return datetime.fromtimestamp(time.time(), UTC).isoformat().replace("+00:00", "Z")


def export(store: Store, layers: Sequence[Path], out: BinaryIO) -> None:
    """Write the tree that ``layers`` (lowest first) make together as one tar.

    Mounts it in a mount namespace of its own, which the caller's thread keeps. Raises OSError,
    RuntimeFailure.
    """
    unshare(Clone.NEWNS)
    mount("", Path("/"), "", Mount.PRIVATE | Mount.REC)
    with store.ingest() as work, merged(layers, work) as root, room():
        for chunk in layer.pack(root, living=True):
            out.write(chunk)
        out.flush()


@contextmanager
def merged(layers: Sequence[Path], work: Path) -> Iterator[Path]:
    """``layers`` as one tree, mounted below ``work`` while the block runs; nothing is written into them."""
    for name in ("root", "upper", "work"):
        (work / name).mkdir()
    root = work / "root"
    mount_overlay([str(path) for path in layers], str(work / "upper"), str(work / "work"), root)
    try:
        yield root
    finally:
        umount2(root)
