"""Say how a container ended: from a wait status and its control group to an ExitRecord.

Comes in:  the status as wait(2) gives it, or None when nobody knows; the Group; its memory limit.
Goes out:  an ExitRecord.
Not here:  waiting (``monitor``, ``oneshot``), writing it down (``runtime.state``).
"""

from __future__ import annotations

import os
import time

from runtime.cgroup.apply import oom_kills
from runtime.cgroup.layout import Group
from runtime.spec import ExitRecord


def record(status: int | None, memory: int, group: Group) -> ExitRecord:
    """Make the record; ``memory`` is the limit in bytes or 0.

    The control group must still be there, its counter tells of the memory limit.
    """
    oom = oom_kills(group) > 0
    now = time.time()
    if status is None:
        return ExitRecord(code=None, oom=oom, reason="its exit code could not be learned", at=now)
    code = os.waitstatus_to_exitcode(status)
    reason = _reason(code, memory) if oom else ""
    return ExitRecord(
        code=code if code >= 0 else 128 - code, signal=max(0, -code), oom=oom, reason=reason, at=now
    )


def size(number: int) -> str:
    """A number of bytes for people: 67108864 -> "64 MiB"."""
    for unit, step in (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)):
        if number >= step and number % step == 0:
            return f"{number // step} {unit}"
    return f"{number} bytes"


def _reason(code: int, memory: int) -> str:
    limit = f"memory limit of {size(memory)}" if memory else "memory limit of the machine"
    if code in (-9, 137):
        return f"{limit} reached"
    return f"{limit} reached by one of its processes"
