"""The mount points that running a container leaves in its upper layer, and how to take them out again.

Comes in:  the targets of mounts, what was below before.
Goes out:  an upper layer with only what the program itself wrote.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from pathlib import Path

from runtime.image.layer import is_opaque
from runtime.image.view import View

ALWAYS = ("/proc", "/sys", "/dev", "/dev/pts", "/dev/shm", "/etc/hosts", "/etc/hostname", "/etc/resolv.conf")


def missing(targets: Iterable[str], below: View) -> list[str]:
    """Every path that has to be made for ``targets`` to be mounted, deepest first."""
    found: set[str] = set()
    for target in (*ALWAYS, *targets):
        path = below.resolve(target)
        while path != "/" and below.find(path, follow=False) is None:
            found.add(path)
            path = path.rpartition("/")[0] or "/"
    return sorted(found, key=lambda path: (-path.count("/"), path))


def prune(upper: Path, stubs: Iterable[str], below: View) -> None:
    """Remove the empty files and directories ``stubs`` from ``upper``, and parents that only they had
    touched."""
    for path in stubs:
        place = upper / path.lstrip("/")
        try:
            info = os.lstat(place)
            if stat.S_ISREG(info.st_mode) and info.st_size == 0:
                place.unlink()
            elif stat.S_ISDIR(info.st_mode):
                place.rmdir()
            else:
                continue
        except OSError:
            continue  # not made, or the program put something there
        _prune_parent(upper, path.rpartition("/")[0], below)


def _prune_parent(upper: Path, path: str, below: View) -> None:
    """A directory copied up only because a mount point was made in it: empty, and otherwise as it was
    below."""
    found = below.find(path, follow=False) if path else None
    place = upper / path.lstrip("/")
    if found is None or not found.is_dir() or is_opaque(place):
        return
    info = os.lstat(place)
    same = (info.st_mode, info.st_uid, info.st_gid) == (
        found.info.st_mode,
        found.info.st_uid,
        found.info.st_gid,
    )
    if same and not any(place.iterdir()):
        place.rmdir()
        _prune_parent(upper, path.rpartition("/")[0], below)
