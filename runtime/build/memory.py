"""A directory in memory for what must never be written to a disk: secrets, sockets of agents.

Comes in:  a directory that would do.
Goes out:  a directory of one's own on a tmpfs.
Not here:  what is put there (mounts, agents).
"""

from __future__ import annotations

import fcntl
import os
from contextlib import ExitStack
from pathlib import Path

from runtime.build.digests import filesystem
from runtime.errors import BuildFailed

PREFIX = "pycompose-build-"
_SHORT = 60  # the path of a socket has 107 bytes


def directory(wanted: str, held: ExitStack) -> Path:
    """An empty directory of mode 0711, removed with ``held``; what dead builds left beside it goes now.

    wanted: where, if that is in memory; else the usual places. Raises BuildFailed when there is none.
    """
    for text in (wanted, "/run", "/dev/shm"):
        home = Path(text or "/nonexistent")
        if len(text) > _SHORT or not home.is_dir() or not os.access(home, os.W_OK):
            continue
        if filesystem(home.stat().st_dev, text) in ("tmpfs", "ramfs"):
            _sweep(home)
            return _make(home, held)
    raise BuildFailed("secrets need a directory in memory", hint="mount a tmpfs at /run or /dev/shm")


def _make(home: Path, held: ExitStack) -> Path:
    """A directory that is locked as long as we live."""
    import shutil
    import tempfile

    while True:
        made = Path(tempfile.mkdtemp(prefix=PREFIX, dir=home))
        lock = os.open(made, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        fcntl.flock(lock, fcntl.LOCK_EX)
        if made.exists():  # else another build has swept it in between
            held.callback(os.close, lock)
            held.callback(shutil.rmtree, made, ignore_errors=True)
            made.chmod(0o711)
            return made
        os.close(lock)


def _sweep(home: Path) -> None:
    """Remove what nobody holds."""
    import shutil

    for left in home.glob(f"{PREFIX}*"):
        try:
            lock = os.open(left, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError:
            continue
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(left, ignore_errors=True)
        except BlockingIOError:
            pass
        finally:
            os.close(lock)
