"""The mount points that running a container leaves in its upper layer, and how to take them out again.

Comes in:  the targets of mounts, what was below before.
Goes out:  an upper layer with only what the program itself wrote.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from runtime.image.layer import is_opaque
from runtime.image.view import View
from runtime.inside.paths import PLAIN, opened, place
from runtime.inside.remove import remove_empty

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
    touched.

    The program may have put links where the directories above them were: they are not followed.
    """
    root = os.open(upper, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for path in stubs:
            if remove_empty(root, path):
                _prune_parent(root, path.rpartition("/")[0], below)
    finally:
        os.close(root)


def _prune_parent(root: int, path: str, below: View) -> None:
    """A directory copied up only because a mount point was made in it: empty, and otherwise as it was
    below."""
    found = below.find(path, follow=False) if path else None
    if found is None or not found.is_dir():
        return
    try:
        with opened(root, path, os.O_RDONLY | os.O_DIRECTORY, resolve=PLAIN) as fd:
            info = os.fstat(fd)
            opaque = is_opaque(place(fd), follow=True)
    except OSError:
        return
    same = (info.st_mode, info.st_uid, info.st_gid) == (
        found.info.st_mode,
        found.info.st_uid,
        found.info.st_gid,
    )
    if same and not opaque and remove_empty(root, path):
        _prune_parent(root, path.rpartition("/")[0], below)
