"""Open the root directory of a container from outside, for ``cp``: running or not.

Comes in:  the container's spec and state.
Goes out:  a descriptor; all work below it is done by ``runtime.inside``.
Not here:  copying (``runtime.image.copying``).
"""

from __future__ import annotations

import os
import stat
import tempfile
from pathlib import Path

from runtime.errors import RuntimeFailure
from runtime.inside import attach
from runtime.kernel.mounts import Mount, mount, umount2
from runtime.kernel.namespaces import Clone, unshare
from runtime.kernel.trees import clone_tree
from runtime.rootfs.overlay import make_upper, mount_overlay
from runtime.spec import ContainerSpec, ContainerState
from runtime.state import alive

_ROOT = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC


def root(spec: ContainerSpec, state: ContainerState, record: Path) -> int:
    """Open the root of a container as its processes see it; that of one that does not run is mounted.

    record: DATA/projects/<project>/containers/<id>. In the second case this process gets a mount namespace
    of its own, so that the mounts go with it.
    """
    if state.status in ("running", "paused"):
        try:
            fd = os.open(f"/proc/{state.pid}/root", _ROOT)
        except OSError:
            fd = -1
        if fd >= 0 and alive(state.pid, state.start_time):
            return fd
        if fd >= 0:
            os.close(fd)
        raise RuntimeFailure(f"container '{state.name}' has just ended", hint="try again", exit_code=1)
    return _mounted(spec, record)


def _mounted(spec: ContainerSpec, record: Path) -> int:
    unshare(Clone.NEWNS)
    mount("", "/", "", Mount.REC | Mount.PRIVATE)
    staging = Path(tempfile.mkdtemp(prefix="pycompose-cp-"))
    mounted = False
    try:
        upper, work = spec.upper or str(record / "upper"), str(record / "work")
        make_upper(upper)
        Path(work).mkdir(exist_ok=True, mode=0o700)
        mount_overlay(spec.layers, upper, work, staging)
        mounted = True
        fd = os.open(staging, _ROOT)
        for item in spec.mounts:
            if item.type == "bind" and os.path.lexists(item.source):
                _bind(fd, item.source, item.subpath, item.target, read_only=item.read_only)
        try:
            return clone_tree(fd, recursive=True)  # stays together when the mount point goes
        finally:
            os.close(fd)
    finally:
        if mounted:
            umount2(staging, detach=True)
        staging.rmdir()


def _bind(top: int, path: str, subpath: str, target: str, *, read_only: bool) -> None:
    source = attach.enter_source(path)
    if subpath:
        whole, source = source, attach.subpath(source, subpath, path)
        os.close(whole)
    try:
        directory = stat.S_ISDIR(os.fstat(source).st_mode)
        point = attach.mount_point(top, target, is_directory=directory)
        try:
            attach.bind_descriptor(source, point, read_only=read_only)
        finally:
            os.close(point)
    finally:
        os.close(source)
