"""Make, fill, read and remove the control group of a container.

Comes in:  a Group, its Writes, the device rules of v2.
Goes out:  directories in every hierarchy; warnings for limits that have no effect here.
Not here:  what the limits are (``runtime.cgroup.writes``).
"""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import time
from collections.abc import Iterable
from pathlib import Path

from runtime.cgroup.devices import program
from runtime.cgroup.layout import OURS, Group, Layout
from runtime.cgroup.writes import Write
from runtime.errors import RuntimeFailure
from runtime.kernel.bpf import attach_device_program, load_device_program

_ABSENT = (errno.ENOENT, errno.EACCES, errno.EPERM, errno.EOPNOTSUPP, errno.EROFS)


def create(group: Group, writes: Iterable[Write], devices: tuple[str, ...] = ()) -> list[str]:
    """``make`` and ``limit`` in one. Returns warnings, each a sentence."""
    return make(group) + limit(group, writes, devices)


def make(group: Group) -> list[str]:
    """Make the directories of ``group``. Returns warnings."""
    warnings = []
    for root in group.layout.roots():
        try:
            _make(root, group.name, unified=root == group.layout.unified)
        except OSError as error:
            warnings.append(
                f"no control group below {root}: {error.strerror}; limits set there have no effect"
            )
    return warnings


def limit(group: Group, writes: Iterable[Write], devices: tuple[str, ...] = ()) -> list[str]:
    """Do ``writes``. Returns warnings.

    devices: rules for v2; () sets none. Raises RuntimeFailure for a value the kernel refuses.
    """
    warnings = [text for write in writes if (text := _write(group, write))]
    if devices and group.layout.version == 2:
        warnings += _restrict(group, devices)
    return warnings


def settle(layout: Layout) -> None:
    """Inside another container, make its own group fit to hold ours: v2 allows no processes in an inner node.

    They are moved to a leaf beside ours, by a process of their pid namespace: to others their pids read as 0.
    On a machine's own root nothing needs to be done: it may keep its processes, and has no cgroup.type.
    Source: cgroup-v2.rst ("No Internal Process Constraint").
    """
    root = layout.unified
    if layout.version != 2 or root is None or not (root / "cgroup.type").exists():
        return
    with contextlib.suppress(OSError):  # read-only, mostly: ``create`` will say so
        if set(layout.unified_controllers) - set((root / "cgroup.subtree_control").read_text().split()):
            _move_to_leaf(root)
            _delegate(root, layout.unified_controllers)


def attach(group: Group, pid: int = 0) -> None:
    """Move process ``pid`` (0: the caller) into ``group`` in every hierarchy where it exists."""
    for directory in group.directories():
        try:
            _put(directory / "cgroup.procs", str(pid))
        except FileNotFoundError:
            continue


def oom_kills(group: Group) -> int:
    """How many processes of ``group`` the kernel has killed for its memory limit; 0 when unknown."""
    directory = group.directory("memory")
    name = "memory.events" if group.layout.version == 2 else "memory.oom_control"
    try:
        lines = (directory / name).read_text().splitlines() if directory else []
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("oom_kill ")), 0)


def processes(group: Group) -> list[int]:
    """The pids in ``group``, as this process's pid namespace sees them."""
    for directory in group.directories():
        try:
            return [int(word) for word in (directory / "cgroup.procs").read_text().split()]
        except OSError:
            continue
    return []


def freeze(group: Group, *, frozen: bool) -> None:
    """Stop every process of ``group`` where it stands, or let all go on.

    Raises OSError when this machine has neither cgroup v2 nor the v1 freezer.
    Source: cgroup-v2.rst (cgroup.freeze), cgroup-v1/freezer-subsystem.rst.
    """
    freezer = group.layout.controllers.get("freezer")
    if freezer is not None:
        _put(freezer / group.name / "freezer.state", "FROZEN" if frozen else "THAWED")
    elif group.layout.unified is not None:
        _put(group.layout.unified / group.name / "cgroup.freeze", "1" if frozen else "0")
    else:
        raise OSError(errno.ENOTSUP, "no control group can freeze processes here")


def kill(group: Group) -> None:
    """SIGKILL every process of ``group``: cgroup.kill where there is one, else until none is left."""
    unified = group.layout.unified
    if unified:
        try:
            _put(unified / group.name / "cgroup.kill", "1")
            return
        except OSError:
            pass  # before Linux 5.14, or the group is not there
    for _ in range(100):
        alive = processes(group)
        for pid in alive:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        if not alive:
            return
        time.sleep(0.005)


def remove(group: Group, *, patience: float = 2.0) -> None:
    """Remove ``group`` from every hierarchy, and what is empty above it up to our own root. Idempotent.

    patience: seconds to wait for processes that are dying. Raises OSError (EBUSY) after that.
    """
    until = time.monotonic() + patience
    for root in group.layout.roots():
        _remove_tree(root / group.name, until)
        above = Path(group.name).parent
        while above.name:
            try:
                (root / above).rmdir()
            except OSError:
                break
            above = above.parent


def _make(root: Path, name: str, *, unified: bool) -> None:
    if not unified:
        if (root / "cpuset.cpus").exists():
            _make_cpuset(root, name)
        else:
            _make_path(root / name)
        return
    above = root
    for part in Path(name).parts:
        _delegate(above, (above / "cgroup.controllers").read_text().split())
        above = above / part
        _make_path(above)


def _make_path(path: Path) -> None:
    """mkdir -p that survives another container's removal of an empty parent in between."""
    for _ in range(20):
        try:
            path.mkdir(parents=True, exist_ok=True)
            return
        except FileNotFoundError:
            continue
    path.mkdir(parents=True, exist_ok=True)


def _make_cpuset(root: Path, name: str) -> None:
    """v1: a new cpuset is empty and takes no process; each level is given what its parent has."""
    above = root
    for part in Path(name).parts:
        below = above / part
        _make_path(below)
        for file in ("cpuset.cpus", "cpuset.mems"):
            if not (below / file).read_text().strip():
                _put(below / file, (above / file).read_text().strip())
        above = below


def _delegate(directory: Path, controllers: Iterable[str]) -> None:
    """v2: let the children of ``directory`` use ``controllers``. EBUSY: there are processes in it.

    All at one go: alone, cpu and pids would be granted even then, but turn ``directory`` into a threaded
    domain, below which no container can live.
    """
    control = directory / "cgroup.subtree_control"
    missing = sorted(set(controllers) - set(control.read_text().split()))
    if not missing:
        return
    try:
        _put(control, " ".join(f"+{name}" for name in missing))
        return
    except OSError as error:
        if error.errno == errno.EBUSY:
            raise
    for name in missing:
        try:
            _put(control, f"+{name}")
        except OSError:
            continue  # such as cpu while a real-time task runs; its limits will be warned of


def _move_to_leaf(directory: Path) -> None:
    leaf = directory / "init"
    for _ in range(10):  # until nobody forks any more
        pids = (directory / "cgroup.procs").read_text().split()
        if not pids:
            return
        leaf.mkdir(exist_ok=True)
        for pid in pids:
            try:
                _put(leaf / "cgroup.procs", pid)
            except OSError:
                continue  # it ended meanwhile


def _write(group: Group, write: Write) -> str:
    """Do one write. Returns "" or why it has no effect here."""
    directory = group.directory(write.controller)
    if directory is None or not write.file:
        about = f"the limit '{write.limit}' has no effect"
        why = "no such control here" if directory else f"this machine has no {write.controller} controller"
        return f"{about}: {why}" if write.limit and write.limit != "devices" else ""
    try:
        _put(directory / write.file, write.text)
    except OSError as error:
        if error.errno not in _ABSENT:
            text = f"the kernel refused {write.limit or write.file} {write.text!r}: {error.strerror}"
            raise RuntimeFailure(text, hint=f"the control file was {write.file}") from error
        why = f"{write.file}: {error.strerror}"
        return f"the limit '{write.limit}' has no effect: {why}" if write.limit else ""
    return ""


def _restrict(group: Group, devices: tuple[str, ...]) -> list[str]:
    if group.layout.unified is None:
        return []
    try:
        fd = os.open(group.layout.unified / group.name, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        return [f"access to devices is not restricted: {error.strerror}"]
    try:
        attach_device_program(fd, load_device_program(program(devices)))
    except OSError as error:
        return [f"access to devices is not restricted: {error.strerror}"]
    finally:
        os.close(fd)
    return []


def _remove_tree(directory: Path, until: float) -> None:
    """rmdir ``directory`` and what a container made below it, deepest first."""
    try:
        below = [Path(entry.path) for entry in os.scandir(directory) if entry.is_dir(follow_symlinks=False)]
    except FileNotFoundError:
        return
    for path in below:
        _remove_tree(path, until)
    while True:
        try:
            directory.rmdir()
            return
        except FileNotFoundError:
            return
        except OSError as error:
            if error.errno != errno.EBUSY or time.monotonic() > until:
                raise
            time.sleep(0.002)


def _put(path: Path, text: str) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, text.encode())
    finally:
        os.close(fd)


__all__ = ["OURS", "attach", "create", "kill", "oom_kills", "processes", "remove", "settle"]
