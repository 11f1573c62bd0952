"""Named volumes: one directory each.

Comes in:  DATA/volumes, names.
Goes out:  the path that is mounted; what exists.
Not here:  filling a fresh one from an image (``runtime.rootfs.seed``), who uses which (``compose.plan``).
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from runtime.errors import RuntimeFailure
from runtime.inside.remove import delete
from runtime.kernel.mounts import Mount, mount, umount2
from runtime.state import close, write_json
from schemas.frozen import dataclass

_LAYERS = 64  # mounts on top of one another that ``detach`` takes off at most
_NO_FLAGS = ("rw", "suid", "dev", "exec", "async", "atime", "diratime", "defaults")
_FLAGS = {
    "ro": Mount.RDONLY,
    "nosuid": Mount.NOSUID,
    "nodev": Mount.NODEV,
    "noexec": Mount.NOEXEC,
    "sync": Mount.SYNCHRONOUS,
    "dirsync": Mount.DIRSYNC,
    "noatime": Mount.NOATIME,
    "nodiratime": Mount.NODIRATIME,
    "relatime": Mount.RELATIME,
    "strictatime": Mount.STRICTATIME,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Volume:
    """One volume; ``path`` is its content, ``labels`` are kept and never interpreted here."""

    name: str
    path: Path
    labels: Mapping[str, str]


def create(
    root: Path, name: str, labels: Mapping[str, str] | None = None, options: Mapping[str, str] | None = None
) -> Path:
    """Make volume ``name`` unless it exists. Returns its _data directory (root, 0755, until it is filled).

    options: ``type``, ``device`` and ``o`` as mount(8) takes them; a directory of the host that is bound is
             the content itself, anything else is mounted by ``attach``.
    Raises RuntimeFailure for a name that is no plain file name, or a device that is no directory.
    """
    home = _home(root, name)
    data = home / "_data"
    device = (options or {}).get("device", "") if options and is_bind(options) else ""
    if device and not Path(device).is_dir():
        raise RuntimeFailure(f"volume '{name}': {device} is not a directory", hint="create it first")
    close(root)
    close(home)
    if device and not data.is_dir():
        data.symlink_to(device)
    elif not data.is_dir():
        data.mkdir()
        data.chmod(0o755)
    if not (home / "volume.json").exists():
        write_json(
            home / "volume.json",
            {"name": name, "labels": dict(labels or {}), "options": dict(options or {})},
            durable=True,
        )
    return data


def is_bind(options: Mapping[str, str]) -> bool:
    """Whether ``options`` name a directory of the host."""
    return not {"bind", "rbind"}.isdisjoint(options.get("o", "").split(","))


def mount_words(text: str) -> tuple[Mount, str]:
    """Split the options of mount(8) into flags and the data of the file system. Pure."""
    flags, data = Mount.NONE, []
    for word in filter(None, text.split(",")):
        if word in _FLAGS:
            flags |= _FLAGS[word]
        elif word not in _NO_FLAGS:
            data.append(word)
    return flags, ",".join(data)


def needs_mount(root: Path, name: str) -> bool:
    """Whether volume ``name`` is a file system of its own, and not a directory."""
    options = _document(_home(root, name)).get("options", {})
    return bool(options) and not is_bind(options)


def is_read_only(root: Path, name: str) -> bool:
    """Whether the options of volume ``name`` say ``ro``."""
    options: Mapping[str, str] = _document(_home(root, name)).get("options", {})
    return "ro" in options.get("o", "").split(",")


def attach(root: Path, name: str) -> None:
    """Mount the file system of volume ``name``, for which ``needs_mount`` is true, unless it is already.

    Raises RuntimeFailure with the kernel's reason.
    """
    home = _home(root, name)
    options = _document(home).get("options", {})
    lock = os.open(home, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not is_attached(root, name):
            flags, data = mount_words(_resolved(options))
            mount(options.get("device", ""), home / "_data", options.get("type", ""), flags, data)
    except OSError as error:
        what = f"type '{options.get('type', '')}', device '{options.get('device', '')}'"
        why = os.strerror(error.errno) if error.errno and error.errno > 0 else str(error)
        why += f" (this kernel has no '{options.get('type')}')" if error.errno == errno.ENODEV else ""
        raise RuntimeFailure(
            f"volume '{name}': {what} cannot be mounted: {why}", hint="see 'driver_opts:' of the volume"
        ) from None
    finally:
        os.close(lock)


def _resolved(options: Mapping[str, str]) -> str:
    """``o`` with the address of the host that ``addr=`` names, as nfs and cifs want it."""
    words = options.get("o", "").split(",")
    for index, word in enumerate(words):
        if word.startswith("addr=") and options.get("type", "").startswith(("nfs", "cifs")):
            import socket

            words[index] = f"addr={socket.getaddrinfo(word[5:], None)[0][4][0]}"
    return ",".join(words)


def is_attached(root: Path, name: str) -> bool:
    """Whether a file system is mounted as the content of volume ``name``."""
    data = _home(root, name) / "_data"
    return not data.is_symlink() and data.is_mount()


def detach(root: Path, name: str) -> None:
    """Take the file system off again that ``attach`` has mounted. Containers that have it keep it."""
    for _ in range(_LAYERS):
        if not is_attached(root, name):
            return
        umount2(_home(root, name) / "_data", detach=True)


def exists(root: Path, name: str) -> bool:
    """Whether volume ``name`` is there."""
    return (_home(root, name) / "_data").is_dir()


def list(root: Path) -> tuple[Volume, ...]:
    """Every volume, by name."""
    found = []
    with contextlib.suppress(FileNotFoundError):
        for entry in sorted(os.scandir(root), key=lambda entry: entry.name):
            if (root / entry.name / "_data").is_dir():
                labels = _labels(root / entry.name)
                found.append(Volume(name=entry.name, path=root / entry.name / "_data", labels=labels))
    return tuple(found)


def remove(root: Path, name: str) -> None:
    """Delete volume ``name`` and its content; idempotent. It vanishes from ``list`` at once."""
    home = _home(root, name)
    detach(root, name)
    going = root / f".removed-{name}"
    delete(going)
    with contextlib.suppress(FileNotFoundError):
        home.rename(going)
        delete(going)


def _labels(home: Path) -> Mapping[str, str]:
    labels: Mapping[str, str] = _document(home).get("labels", {})
    return labels


def _document(home: Path) -> dict[str, Any]:
    try:
        document: dict[str, Any] = json.loads((home / "volume.json").read_bytes())
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return {}
    return document


def _home(root: Path, name: str) -> Path:
    if not name or name.startswith(".") or "/" in name or "\0" in name:
        raise RuntimeFailure(f"'{name}' is no name for a volume", hint="letters, digits, '_', '.' and '-'")
    return root / name
