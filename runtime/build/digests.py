"""Digests of files, each file read once: what lstat(2) says of it tells whether it is still the same.

Comes in:  paths on the host with their lstat.
Goes out:  sha256 digests of their content.
Not here:  where the known ones are kept (notes).

A file is taken for unchanged when device, inode, size, mtime and ctime are; ctime cannot be set by a user.
Two writes within one tick of the file system's clock look alike, so a digest counts only if it was taken when
the file's ctime was already in the past by more than a tick (as Git does with its index). Times of network
file systems come from another clock: there every file is read every time.
"""

from __future__ import annotations

import hashlib
import json
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from runtime.build.notes import Notes

LOCAL = frozenset(
    ("ext2", "ext3", "ext4", "xfs", "btrfs", "f2fs", "zfs", "bcachefs", "tmpfs", "ramfs", "overlay", "jfs")
)  # fmt: skip
_TICK, _COARSE = 50_000_000, 2_100_000_000
_SMALL = 1 << 20

Entry = list[Any]  # device, inode, size, mtime, ctime, when the digest was taken, digest


class Digests:
    """Known digests, a directory at a time. Safe in threads."""

    def __init__(self, notes: Notes, now: Callable[[], int] = time.time_ns) -> None:
        self._notes, self._now = notes, now
        self._lock = threading.Lock()
        self._known: dict[str, dict[str, Entry]] = {}
        self._seen: dict[str, dict[str, Entry]] = {}
        self._trusted: dict[int, bool] = {}
        self._changed: set[str] = set()

    def of(self, path: str, info: os.stat_result) -> str:
        """The digest, in hexadecimal, of the regular file at ``path``; info: its lstat. Raises OSError."""
        directory, _, name = path.rpartition("/")
        known = self._known.get(directory)
        if known is None:
            known = self._load(directory)
        entry = known.get(name)
        if entry is not None and fresh(entry, info):
            self._seen[directory][name] = entry
            return str(entry[6])
        return self._take(path, directory, name, info.st_dev)

    def _load(self, directory: str) -> dict[str, Entry]:
        with self._lock:
            if directory not in self._known:
                self._known[directory] = _read(self._notes.directory(directory))
                self._seen[directory] = {}
            return self._known[directory]

    def _take(self, path: str, directory: str, name: str, device: int) -> str:
        now = self._now()
        with open(path, "rb", buffering=0) as data:
            before = os.fstat(data.fileno())
            digest = (
                hashlib.file_digest(data, "sha256")
                if before.st_size > _SMALL
                else hashlib.sha256(data.read(_SMALL + 1))
            ).hexdigest()
            same = _stat(os.fstat(data.fileno())) == _stat(before)
        if same and self._is_local(device, path):
            self._known[directory][name] = self._seen[directory][name] = [*_stat(before), now, digest]
            self._changed.add(directory)
        return digest

    def _is_local(self, device: int, path: str) -> bool:
        if device not in self._trusted:
            self._trusted[device] = filesystem(device, path) in LOCAL
        return self._trusted[device]

    def keep(self) -> None:
        """Hand what is new over to the notes."""
        with self._lock:
            for directory in self._changed:
                known, seen = self._known[directory], self._seen[directory]
                entries = seen if len(known) > 2 * len(seen) + 100 else known
                self._notes.put_directory(directory, json.dumps(entries, separators=(",", ":")).encode())
            self._changed.clear()


def _read(data: bytes) -> dict[str, Entry]:
    try:
        return json.loads(data) if data else {}
    except ValueError:
        return {}


def _stat(info: os.stat_result) -> tuple[int, int, int, int, int]:
    return info.st_dev, info.st_ino, info.st_size, info.st_mtime_ns, info.st_ctime_ns


def fresh(entry: Entry, info: os.stat_result) -> bool:
    """Whether the digest of ``entry`` still holds for a file of which lstat says ``info``. Pure."""
    device, inode, size, mtime, ctime, taken, _ = entry
    if ctime != info.st_ctime_ns or mtime != info.st_mtime_ns or size != info.st_size or inode != info.st_ino:
        return False
    tick = _TICK if ctime % 1_000_000_000 else _COARSE
    return bool(device == info.st_dev and taken > ctime + tick)


def filesystem(device: int, path: str, table: Path = Path("/proc/self/mountinfo")) -> str:
    """The type of the mounted file system ``device`` (st_dev) that has ``path``, "" when it cannot be told.

    btrfs gives every subvolume a device of its own, which stands in no table: then the mount point counts.
    Source: proc(5).
    """
    wanted, best, kind = f"{os.major(device)}:{os.minor(device)}", "", ""
    for line in filter(None, table.read_bytes().decode(errors="surrogateescape").split("\n")):
        fields = line.split(" ")
        point, here = fields[4].rstrip("/"), fields[fields.index("-") + 1]
        if fields[2] == wanted:
            return here
        if len(point) >= len(best) and (path + "/").startswith(point + "/"):
            best, kind = point, here
    return kind
