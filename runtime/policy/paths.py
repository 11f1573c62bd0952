"""Paths of /proc and /sys that a container does not see, cannot write to, or may have mounted over.

Comes in:  the number of processors, a target.
Goes out:  absolute paths.
Not here:  hiding them (``runtime.rootfs``). Empty for a privileged container.
Source: Docker's defaults as of version 28, ``docker inspect`` (MaskedPaths, ReadonlyPaths); runc,
        libcontainer/rootfs_linux.go (validProcMounts).
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


_EMULATED = (  # what lxcfs(8) shows with a container's own numbers
    "/proc/cpuinfo",
    "/proc/diskstats",
    "/proc/loadavg",
    "/proc/meminfo",
    "/proc/slabinfo",
    "/proc/stat",
    "/proc/swaps",
    "/proc/uptime",
    "/proc/sys/kernel/ns_last_pid",
    "/proc/sys/crypto/fips_enabled",
)


def mountable(target: str) -> bool:
    """Whether a mount may lie at ``target``: nothing does in /proc, but for a few single files."""
    return not f"{target}/".startswith("/proc/") or target in _EMULATED
