"""Leave the control group of the service, session or scope that a command was given in.

Comes in:  nothing but this process.
Goes out:  the process in the root of the v2 hierarchy, where no service manager counts it as its own.
Not here:  the groups of containers (``runtime.cgroup.apply``). Light: a process does it first of all.
"""

from __future__ import annotations

import os


def leave(root: str = "/sys/fs/cgroup", own: str = "/proc/self/cgroup") -> bool:
    """Move the caller, all its threads, to the root of the hierarchy at ``root``. True when it moved.

    systemd ends what is left in a service's control group when the service ends, so a stack that
    ``pycompose up -d`` started there would lose its supervisor and its monitors. Nothing happens without
    cgroup v2, in a container (whose root is a group like any other: it has a cgroup.type), or when the
    kernel refuses; then the process lives as long as what started it.
    Source: cgroup-v2.rst ("No Internal Process Constraint"), systemd.kill(5).
    """
    for directory in (root, f"{root}/unified"):
        try:
            if os.path.exists(f"{directory}/cgroup.type"):  # noqa: PTH110  pathlib is not imported this early
                return False
            return not _at_the_root(own) and _enter(directory)
        except OSError:
            continue
    return False


def _at_the_root(own: str) -> bool:
    with open(own) as stream:
        return any(line.rstrip("\n") == "0::/" for line in stream)


def _enter(directory: str) -> bool:
    handle = os.open(f"{directory}/cgroup.procs", os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(handle, b"0")
    finally:
        os.close(handle)
    return True
