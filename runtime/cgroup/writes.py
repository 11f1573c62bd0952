"""Turn limits into the texts that control files take.

Comes in:  Limits, the version of the hierarchy, a function that names a block device as "8:0".
Goes out:  Writes in the order they must happen.
Not here:  writing (``runtime.cgroup.apply``), v2 device control (``runtime.cgroup.devices``).
Source: Documentation/admin-guide/cgroup-v1/, cgroup-v2.rst; docker run, "runtime constraints".
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

from runtime.spec import Limits

PERIOD = 100_000  # microseconds, what docker uses for --cpus
DEVICE_V1 = {
    "read_bps": "blkio.throttle.read_bps_device",
    "write_bps": "blkio.throttle.write_bps_device",
    "read_iops": "blkio.throttle.read_iops_device",
    "write_iops": "blkio.throttle.write_iops_device",
    "weight": "blkio.weight_device",
}
DEVICE_V2 = {"read_bps": "rbps", "write_bps": "wbps", "read_iops": "riops", "write_iops": "wiops"}


class Write(NamedTuple):
    """``text`` goes to ``file`` of ``controller``; ``limit`` is what a person asked for by it.

    file "" cannot be written: this version has nothing like that limit.
    """

    controller: str
    file: str
    text: str
    limit: str


Number = Callable[[str], str]


def writes(limits: Limits, version: int, number: Number, devices: tuple[str, ...] = ()) -> tuple[Write, ...]:
    """List the writes for ``limits``.

    version: 1 or 2. number: block device path -> "major:minor". devices: v1 rules, () for no restriction.
    """
    if version == 2:
        return (*_memory2(limits), *_cpu2(limits), *_cpuset(limits), *_pids(limits), *_io2(limits, number))
    return (
        *_memory1(limits),
        *_cpu1(limits),
        *_cpuset(limits),
        *_pids(limits),
        *_io1(limits, number),
        *_devices1(devices),
    )


def quota(limits: Limits) -> tuple[int, int] | None:
    """The processor time of ``limits`` as (microseconds, per so many microseconds); -1 is unlimited."""
    if limits.cpus:
        return round(limits.cpus * PERIOD), PERIOD
    if limits.cpu_quota or limits.cpu_period:
        return limits.cpu_quota or -1, limits.cpu_period or PERIOD
    return None


def weight(shares: int) -> int:
    """Map v1 cpu.shares (2..262144) to v2 cpu.weight (1..10000), as the OCI runtimes do."""
    return 1 + (min(max(shares, 2), 262144) - 2) * 9999 // 262142


def swap_total(limits: Limits) -> int | None:
    """Memory plus swap in bytes, -1 unlimited: twice the memory when only that is given (docker run)."""
    if limits.memory_swap:
        return limits.memory_swap
    return 2 * limits.memory if limits.memory else None


def _memory1(limits: Limits) -> Iterator[Write]:
    if limits.memory:
        yield Write("memory", "memory.limit_in_bytes", str(limits.memory), "memory")
    swap = swap_total(limits)
    if swap:
        yield Write(
            "memory", "memory.memsw.limit_in_bytes", str(swap), "memswap" if limits.memory_swap else ""
        )
    if limits.memory_reservation:
        text = str(limits.memory_reservation)
        yield Write("memory", "memory.soft_limit_in_bytes", text, "memory reservation")
    if limits.memory_swappiness is not None:
        yield Write("memory", "memory.swappiness", str(limits.memory_swappiness), "memory swappiness")
    if limits.oom_kill_disable:
        yield Write("memory", "memory.oom_control", "1", "oom_kill_disable")


def _memory2(limits: Limits) -> Iterator[Write]:
    if limits.memory:
        yield Write("memory", "memory.max", str(limits.memory), "memory")
    swap = swap_total(limits)
    if swap:
        text = "max" if swap < 0 else str(max(0, swap - (limits.memory or 0)))
        yield Write("memory", "memory.swap.max", text, "memswap" if limits.memory_swap else "")
    if limits.memory_reservation:
        yield Write("memory", "memory.low", str(limits.memory_reservation), "memory reservation")
    if limits.memory_swappiness is not None:
        yield Write("memory", "", "", "memory swappiness")
    if limits.oom_kill_disable:
        yield Write("memory", "", "", "oom_kill_disable")


def _cpu1(limits: Limits) -> Iterator[Write]:
    if limits.cpu_shares:
        yield Write("cpu", "cpu.shares", str(limits.cpu_shares), "cpu shares")
    time = quota(limits)
    if time:
        yield Write("cpu", "cpu.cfs_period_us", str(time[1]), "cpus")
        yield Write("cpu", "cpu.cfs_quota_us", str(time[0]), "cpus")
    if limits.cpu_rt_period:
        yield Write("cpu", "cpu.rt_period_us", str(limits.cpu_rt_period), "cpu real-time period")
    if limits.cpu_rt_runtime:
        yield Write("cpu", "cpu.rt_runtime_us", str(limits.cpu_rt_runtime), "cpu real-time runtime")


def _cpu2(limits: Limits) -> Iterator[Write]:
    if limits.cpu_shares:
        yield Write("cpu", "cpu.weight", str(weight(limits.cpu_shares)), "cpu shares")
    time = quota(limits)
    if time:
        text = f"{'max' if time[0] < 0 else time[0]} {time[1]}"
        yield Write("cpu", "cpu.max", text, "cpus")
    if limits.cpu_rt_period or limits.cpu_rt_runtime:
        yield Write("cpu", "", "", "cpu real-time")


def _cpuset(limits: Limits) -> Iterator[Write]:
    if limits.cpuset_cpus:
        yield Write("cpuset", "cpuset.cpus", limits.cpuset_cpus, "cpuset")
    if limits.cpuset_mems:
        yield Write("cpuset", "cpuset.mems", limits.cpuset_mems, "cpuset mems")


def _pids(limits: Limits) -> Iterator[Write]:
    if limits.pids:
        yield Write("pids", "pids.max", "max" if limits.pids < 0 else str(limits.pids), "pids")


def _io1(limits: Limits, number: Number) -> Iterator[Write]:
    if limits.blkio_weight:
        yield Write("blkio", "blkio.weight", str(limits.blkio_weight), "blkio weight")
    for throttle in limits.throttles:
        text = f"{number(throttle.path)} {throttle.rate}"
        yield Write("blkio", DEVICE_V1[throttle.kind], text, f"blkio {throttle.kind}")


def _io2(limits: Limits, number: Number) -> Iterator[Write]:
    if limits.blkio_weight:
        yield Write("io", "io.weight", f"default {_io_weight(limits.blkio_weight)}", "blkio weight")
    for throttle in limits.throttles:
        about = f"blkio {throttle.kind}"
        if throttle.kind == "weight":
            yield Write("io", "io.weight", f"{number(throttle.path)} {_io_weight(throttle.rate)}", about)
        else:
            text = f"{number(throttle.path)} {DEVICE_V2[throttle.kind]}={throttle.rate}"
            yield Write("io", "io.max", text, about)


def _io_weight(blkio: int) -> int:
    """Map blkio.weight (10..1000) to io.weight (1..10000)."""
    return 1 + (blkio - 10) * 9999 // 990


def _devices1(rules: tuple[str, ...]) -> Iterator[Write]:
    if not rules:
        return
    yield Write("devices", "devices.deny", "a", "devices")
    for rule in rules:
        yield Write("devices", "devices.allow", rule, "devices")
