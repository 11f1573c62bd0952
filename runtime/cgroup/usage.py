"""What a container uses now: processor, memory, block devices, processes, network.

Comes in:  its Group; the pid of a process in its network namespace.
Goes out:  a Usage; two of them give the use of the processor.
Not here:  limits (``writes``), printing (``compose.cli``).
Source: Documentation/admin-guide/cgroup-v1, cgroup-v2.rst; proc_pid_net(5); docker/cli, stats_helpers.go.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

from runtime.cgroup.layout import Group
from schemas.frozen import dataclass

_NO_LIMIT = 1 << 60  # v1 says so by a number near 2**63


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """at, cpu: nanoseconds (monotonic, used so far). memory without what the kernel could drop at once.

    limit: bytes, that of the machine when there is none. received, sent, read, written: bytes so far.
    """

    at: int
    cpu: int = 0
    memory: int = 0
    limit: int = 0
    pids: int = 0
    received: int = 0
    sent: int = 0
    read: int = 0
    written: int = 0

    def processor(self, before: Usage) -> float:
        """Percent of one processor used since ``before``."""
        passed = self.at - before.at
        return 100.0 * (self.cpu - before.cpu) / passed if passed > 0 else 0.0


def usage(own: Group, pid: int) -> Usage:
    """Read it all; what a hierarchy does not count is 0. A container that has just ended uses nothing."""
    cpu, memory, limit = _v1(own) if own.layout.version == 1 else _v2(own)
    read, written = _blocks(own)
    received, sent = network(_text(Path(f"/proc/{pid}/net/dev"))) if pid else (0, 0)
    pids = _number(_file(own, "pids", "pids.current"))
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return Usage(
        at=time.monotonic_ns(),
        cpu=cpu,
        memory=memory,
        limit=limit if 0 < limit < min(_NO_LIMIT, machine) else machine,
        pids=pids,
        received=received,
        sent=sent,
        read=read,
        written=written,
    )


def _v1(own: Group) -> tuple[int, int, int]:
    used = _number(_file(own, "memory", "memory.usage_in_bytes"))
    idle = fields(_file(own, "memory", "memory.stat")).get("total_inactive_file", 0)
    limit = _number(_file(own, "memory", "memory.limit_in_bytes"))
    return _number(_file(own, "cpuacct", "cpuacct.usage")), max(0, used - idle), limit


def _v2(own: Group) -> tuple[int, int, int]:
    cpu = 1000 * fields(_file(own, "cpu", "cpu.stat")).get("usage_usec", 0)
    used = _number(_file(own, "memory", "memory.current"))
    idle = fields(_file(own, "memory", "memory.stat")).get("inactive_file", 0)
    return cpu, max(0, used - idle), _number(_file(own, "memory", "memory.max"))


def _blocks(own: Group) -> tuple[int, int]:
    text = _file(own, "io", "io.stat")
    if text:
        return blocks_v2(text)
    return blocks_v1(_file(own, "blkio", "blkio.throttle.io_service_bytes_recursive"))


def blocks_v1(text: str) -> tuple[int, int]:
    """Bytes read and written, of lines ``8:0 Read 4096``. Pure."""
    words = [line.split() for line in text.splitlines()]
    read = sum(int(one[2]) for one in words if len(one) == 3 and one[1] == "Read")
    return read, sum(int(one[2]) for one in words if len(one) == 3 and one[1] == "Write")


def blocks_v2(text: str) -> tuple[int, int]:
    """Bytes read and written, of lines ``8:0 rbytes=4096 wbytes=0 ...``. Pure."""
    pairs = [word.split("=") for line in text.splitlines() for word in line.split()[1:]]
    read = sum(int(one[1]) for one in pairs if one[0] == "rbytes")
    return read, sum(int(one[1]) for one in pairs if one[0] == "wbytes")


def network(text: str) -> tuple[int, int]:
    """Bytes received and sent over all links but lo, of /proc/PID/net/dev. Pure."""
    received = sent = 0
    for line in text.splitlines()[2:]:
        name, _, numbers = line.partition(":")
        values = numbers.split()
        if name.strip() != "lo" and len(values) >= 9:
            received, sent = received + int(values[0]), sent + int(values[8])
    return received, sent


def fields(text: str) -> dict[str, int]:
    """``name value`` lines. Pure."""
    pairs = [line.split() for line in text.splitlines()]
    return {one[0]: int(one[1]) for one in pairs if len(one) == 2 and one[1].isdigit()}


def _file(own: Group, controller: str, name: str) -> str:
    directory = own.directory(controller)
    return _text(directory / name) if directory is not None else ""


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii", errors="replace")
    except OSError:
        return ""


def _number(text: str) -> int:
    return int(text) if text.strip().isdigit() else 0
