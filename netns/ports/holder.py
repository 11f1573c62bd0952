"""Find out who holds a port of the host.

Comes in:  protocol and port number; the RUN directory with our own notes.
Goes out:  a Holder (pid, command, project, container) or None.
Source: proc(5), /proc/net/tcp and /proc/PID/fd.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from schemas.frozen import dataclass

_TIME_WAIT_STATES = {"01", "02", "03", "04", "05", "06", "08", "09", "0B"}  # everything but LISTEN and CLOSE
_UNCONNECTED = {"07", "0A"}  # a bound UDP socket, a listening TCP socket


@dataclass(frozen=True, slots=True, kw_only=True)
class Holder:
    """A process that holds a port; project and container are set when it is one of our supervisors."""

    pid: int
    command: str
    project: str = ""
    container: str = ""


def write_note(path: Path, holder: Holder) -> None:
    """Leave word of a reservation; ``pid`` is the process that has the socket."""
    words = {"pid": holder.pid, "project": holder.project, "container": holder.container}
    path.write_text(json.dumps(words))


def read_note(path: Path) -> Holder | None:
    """A note whose process is alive, else None."""
    try:
        data = json.loads(path.read_text())
        pid, project, container = data["pid"], data["project"], data["container"]
    except (FileNotFoundError, ValueError, KeyError):
        return None
    if not _lives(int(pid)):
        return None
    return Holder(pid=pid, command=command_of(pid), project=project, container=container)


def _lives(pid: int) -> bool:
    """The process is there and is no zombie, which holds no socket any more."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (OSError, IndexError):
        return False
    return state not in "ZX"


def find_holder(run: Path, protocol: str, port: int) -> Holder | None:
    """Look in our own notes, then in the kernel's tables. Some ms: it walks /proc once."""
    return _noted(run, protocol, port) or _in_kernel(protocol, port)


def describe(holder: Holder) -> str:
    """``container 'web-1' of project 'shop' (pid 7, python -m ...)`` or ``pid 7 (nginx: master)``."""
    if holder.container:
        of = f" of project '{holder.project}'" if holder.project else ""
        return f"container '{holder.container}'{of} (pid {holder.pid}, {holder.command})"
    return f"pid {holder.pid} ({holder.command})"


def only_remains(port: int) -> bool:
    """TCP ``port`` shows up only in connections, such as TIME_WAIT; nobody listens on it."""
    states = {state for number, state, _ in _table("tcp") if number == port}
    return bool(states) and states <= _TIME_WAIT_STATES


def command_of(pid: int) -> str:
    """The command line of a process, at most 60 characters; its short name when it has none."""
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        words = words.strip() or Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return "unknown command"
    return words if len(words) <= 60 else words[:57] + "..."


def _noted(run: Path, protocol: str, port: int) -> Holder | None:
    notes = sorted((run / "ports").glob(f"{protocol}-{port}-*.json"))
    return next(filter(None, map(read_note, notes)), None)


def _in_kernel(protocol: str, port: int) -> Holder | None:
    inodes = {inode for number, state, inode in _table(protocol) if number == port and state in _UNCONNECTED}
    inodes.discard("0")
    if not inodes:
        return None
    wanted = {f"socket:[{inode}]" for inode in inodes}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and _has_descriptor(entry, wanted):
            pid = int(entry.name)
            return Holder(pid=pid, command=command_of(pid))
    return None


def _has_descriptor(process: Path, wanted: set[str]) -> bool:
    try:
        return any(_target(descriptor) in wanted for descriptor in (process / "fd").iterdir())
    except (PermissionError, FileNotFoundError, ProcessLookupError):
        return False


def _target(descriptor: Path) -> str:
    try:
        return str(descriptor.readlink())
    except OSError:  # closed meanwhile
        return ""


def _table(protocol: str) -> Iterator[tuple[int, str, str]]:
    """(local port, state in hex, inode) of every socket of a protocol, both families."""
    for name in (protocol, protocol + "6"):
        try:
            lines = Path(f"/proc/net/{name}").read_text().splitlines()[1:]
        except FileNotFoundError:
            continue
        for line in lines:
            words = line.split()
            yield int(words[1].rsplit(":", 1)[1], 16), words[3], words[9]
