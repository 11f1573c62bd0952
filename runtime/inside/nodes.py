"""Make device nodes and links inside a root.

Comes in:  the descriptor of a root, targets as the container names them.
Goes out:  nodes; where mknod(2) is not allowed, the host's own node is bound there.
Not here:  which devices there are (``runtime.rootfs.decide``).
"""

from __future__ import annotations

import os
import stat

from runtime.inside.attach import mount_point
from runtime.inside.paths import directory, place, set_mode
from runtime.kernel.mounts import Mount, mount


def make_node(
    root: int, target: str, mode: int, number: int, source: str, *, owner: tuple[int, int] = (0, 0)
) -> None:
    """mknod(2) at ``target`` inside ``root``; what lies there gives way.

    source: the same node of the host, bound where mknod(2) is refused. Raises OSError, RuntimeFailure.
    """
    parent, _, name = target.rpartition("/")
    above = directory(root, parent or "/")
    try:
        try:
            os.mknod(name, mode, number, dir_fd=above)
        except FileExistsError:
            os.unlink(name, dir_fd=above)
            os.mknod(name, mode, number, dir_fd=above)
        fd = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=above)
        try:
            if owner != (0, 0):
                os.chown(place(fd), *owner)
            set_mode(fd, stat.S_IMODE(mode))
        finally:
            os.close(fd)
    except PermissionError:
        point = mount_point(root, target, is_directory=False)
        try:
            mount(source, place(point), "", Mount.BIND)
        finally:
            os.close(point)
    finally:
        os.close(above)


def make_link(root: int, target: str, text: str) -> None:
    """symlink(2): ``target`` inside ``root`` leads to ``text``."""
    parent, _, name = target.rpartition("/")
    above = directory(root, parent or "/")
    try:
        os.symlink(text, name, dir_fd=above)
    finally:
        os.close(above)
