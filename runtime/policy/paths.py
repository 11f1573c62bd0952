"""Paths of /proc and /sys that a container does not see, or cannot write to.

Comes in:  the number of processors.
Goes out:  absolute paths.
Not here:  hiding them (``runtime.rootfs``). Empty for a privileged container.
Source: Docker's defaults as of version 28, ``docker inspect`` (MaskedPaths, ReadonlyPaths).
"""

from __future__ import annotations

MASKED = (
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
)
READONLY = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger")


def masked(processors: int) -> tuple[str, ...]:
    """MASKED and the thermal counters of each processor, which tell a neighbour's load."""
    thermal = (f"/sys/devices/system/cpu/cpu{n}/thermal_throttle" for n in range(processors))
    return (*MASKED, *thermal)
