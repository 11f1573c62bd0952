"""Archives in a build: what ADD unpacks, and build contexts that come as one.

Comes in:  a file on the host.
Goes out:  whether it is an archive; its members below a directory.
Not here:  the formats themselves (image.tar, image.compress).
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

from runtime.errors import BuildFailed
from runtime.image import tar
from runtime.image.compress import CHUNK, decompress
from runtime.image.unpack import Unpacker
from schemas.frozen import replace

_COMPRESSED = (b"\x1f\x8b", b"BZh", b"\xfd7zXZ\x00", b"\x28\xb5\x2f\xfd")


def is_archive(path: str, info: os.stat_result) -> bool:
    """Whether it is a tar archive, plain or compressed, by its content and not its name; info: its lstat."""
    if not stat.S_ISREG(info.st_mode) or info.st_size < tar.BLOCK // 8:
        return False
    with open(path, "rb") as data:
        first = data.read(tar.BLOCK)
    if first[257:262] == b"ustar":
        return True
    if not first.startswith(_COMPRESSED):
        return False
    try:
        with open(path, "rb") as data:
            return next(decompress(iter(lambda: data.read(CHUNK), b"")), b"")[257:262] == b"ustar"
    except BuildFailed:
        raise
    except Exception:  # whatever a decoder says of such a file: it is no archive, so it is copied as it is
        return False


def extract(archive: str, root: Path, owner: tuple[int, int] | None = None) -> None:
    """Unpack into ``root``; ``owner``: uid and gid of everything, None for the archive's own.

    Raises InvalidImage, OSError.
    """
    with open(archive, "rb") as data, Unpacker(root, whiteouts=False) as unpacker:
        reader = tar.Reader(decompress(iter(lambda: data.read(CHUNK), b"")))
        for entry in reader:
            mine = replace(entry, uid=owner[0], gid=owner[1]) if owner else entry
            unpacker.put(mine, reader.content())
