"""``pycompose top``: the processes in the containers."""

import os
import time
from pathlib import Path
from typing import NamedTuple

from compose.cli import report
from compose.cli.options import Services
from compose.cli.scope import Scope
from compose.cli.table import table

HEADINGS = ["SERVICE", "#", "UID", "PID", "PPID", "C", "STIME", "TTY", "TIME", "CMD"]


class Process(NamedTuple):
    """One line of ``ps -ef``; ``started`` in seconds since the epoch, ``used`` processor seconds."""

    pid: int
    parent: int
    user: str
    terminal: str
    started: float
    used: float
    command: str
    namespace: str


def run(scope: Scope, services: Services = ()) -> int:
    """Display the running processes"""
    from compose.cli.lifecycle import chosen

    running = [c for c in chosen(scope, services, everything=True) if c.running]
    if not running:
        return 0
    everything = processes()
    rows = [list(HEADINGS)]
    now = time.time()
    for container in running:
        members = inside(everything, container.state.pid)
        first = " ".join(["init", "--", *container.spec.argv])
        for process in members:
            if process.pid == container.state.pid and container.spec.init:
                # our init is a fork: its command line would be that of the process it was forked from
                process = process._replace(command=first)
            rows.append(_row(container.service, container.number, process, now))
    report.put(table(rows, least=4, gap=2))
    return 0


def inside(everything: dict[int, Process], first: int) -> list[Process]:
    """The processes that share the pid namespace of ``first``, or descend from it when it is the host's."""
    if first not in everything:
        return []
    namespace = everything[first].namespace
    own = os.readlink("/proc/self/ns/pid")  # noqa: PTH115  a text is wanted
    if namespace and namespace != own:
        return [p for p in everything.values() if p.namespace == namespace]
    found = {first}
    for pid in sorted(everything):
        if everything[pid].parent in found:
            found.add(pid)
    return [everything[pid] for pid in sorted(found)]


def processes() -> dict[int, Process]:
    """Every process of the machine by pid. Source: proc_pid_stat(5)."""
    ticks = os.sysconf("SC_CLK_TCK")
    boot = _boot_time()
    found = {}
    for entry in os.scandir("/proc"):
        if entry.name.isdigit():
            try:
                found[int(entry.name)] = _process(Path(entry.path), ticks, boot)
            except (FileNotFoundError, ProcessLookupError, PermissionError):
                continue  # it has just ended, or is none of ours
    return dict(sorted(found.items()))


def _process(entry: Path, ticks: int, boot: float) -> Process:
    head, _, rest = (entry / "stat").read_text(errors="replace").rpartition(")")
    fields = rest.split()
    line = (entry / "cmdline").read_bytes().rstrip(b"\0").replace(b"\0", b" ").decode(errors="replace")
    uid = entry.stat().st_uid
    return Process(
        pid=int(entry.name),
        parent=int(fields[1]),
        user=_user(uid),
        terminal=_terminal(int(fields[4])),
        started=boot + int(fields[19]) / ticks,
        used=(int(fields[11]) + int(fields[12])) / ticks,
        command=line or f"[{head.partition('(')[2]}]",
        namespace=os.readlink(entry / "ns" / "pid"),  # noqa: PTH115  a text is wanted
    )


def _terminal(number: int) -> str:
    major, minor = os.major(number), os.minor(number)
    return "?" if number == 0 else f"pts/{minor}" if 136 <= major <= 143 else f"tty{minor}"


def _user(uid: int) -> str:
    import pwd

    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def _boot_time() -> float:
    with open("/proc/stat", encoding="ascii") as file:
        return next((float(line.split()[1]) for line in file if line.startswith("btime ")), 0.0)


def _row(service: str, number: int, process: Process, now: float) -> list[str]:
    used, alive = int(process.used), max(now - process.started, 0.01)
    same_day = now - process.started < 86400
    return [
        service,
        str(number),
        process.user,
        str(process.pid),
        str(process.parent),
        str(min(99, int(process.used / alive * 100))),
        time.strftime("%H:%M" if same_day else "%b%d", time.localtime(process.started)),
        process.terminal,
        f"{used // 3600:02}:{used // 60 % 60:02}:{used % 60:02}",
        process.command,
    ]
