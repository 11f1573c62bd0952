"""What this machine has for containers.

Comes in:  nothing.
Goes out:  a ``Host`` for ``compose.plan.admission``.
"""

from __future__ import annotations

import os
import stat

from compose.plan.admission import Host


def here() -> Host:
    """The machine that this process runs on."""
    return Host(processors=os.cpu_count() or 1, kind=_kind)


def _kind(path: str) -> str:
    """ "device", "directory", "file" or "missing"; links are followed as the start of a container does."""
    try:
        mode = os.stat(path).st_mode
    except (OSError, ValueError):
        return "missing"
    if stat.S_ISCHR(mode) or stat.S_ISBLK(mode):
        return "device"
    return "directory" if stat.S_ISDIR(mode) else "file"
