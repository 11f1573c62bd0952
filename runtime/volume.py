"""Named volumes: one directory each.

Comes in:  DATA/volumes, names.
Goes out:  the path that is mounted; what exists.
Not here:  filling a fresh one from an image (``runtime.rootfs.seed``), who uses which (``compose.plan``).
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Mapping
from pathlib import Path

from runtime.errors import RuntimeFailure
from runtime.inside.remove import delete
from runtime.state import close, write_json
from schemas.frozen import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Volume:
    """One volume; ``path`` is its content, ``labels`` are kept and never interpreted here."""

    name: str
    path: Path
    labels: Mapping[str, str]


def create(root: Path, name: str, labels: Mapping[str, str] | None = None, *, device: str = "") -> Path:
    """Make volume ``name`` unless it exists. Returns its _data directory (root, 0755, until it is seeded).

    device: an existing host directory that is the content, for ``driver_opts: {o: bind, device: ...}``.
    Raises RuntimeFailure for a name that is no plain file name, or a device that is no directory.
    """
    home = _home(root, name)
    data = home / "_data"
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
        write_json(home / "volume.json", {"name": name, "labels": dict(labels or {})}, durable=True)
    return data


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
    going = root / f".removed-{name}"
    delete(going)
    with contextlib.suppress(FileNotFoundError):
        home.rename(going)
        delete(going)


def _labels(home: Path) -> Mapping[str, str]:
    try:
        labels: Mapping[str, str] = json.loads((home / "volume.json").read_bytes()).get("labels", {})
    except (FileNotFoundError, ValueError):
        return {}
    return labels


def _home(root: Path, name: str) -> Path:
    if not name or name.startswith(".") or "/" in name or "\0" in name:
        raise RuntimeFailure(f"'{name}' is no name for a volume", hint="letters, digits, '_', '.' and '-'")
    return root / name
