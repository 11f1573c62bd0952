"""What is written down about containers, and whether it is still true.

Comes in:  RUN/<project> and DATA/projects/<project>.
Goes out:  specs, states and exit records; a state says "running" only when /proc agrees.
Not here:  changing containers (``runtime.container``). Light: commands that only read use this alone.
"""

from __future__ import annotations

import contextlib
import json
import os
import stat
from pathlib import Path
from typing import Any

from runtime.errors import RuntimeFailure
from runtime.spec import ContainerSpec, ContainerState, ExitRecord, from_json, to_json
from schemas.frozen import dataclass, replace


@dataclass(frozen=True, slots=True)
class Place:
    """Where one container of a project lies: ``record`` is volatile, ``kept`` outlives a reboot."""

    run: Path
    data: Path
    id: str

    @property
    def record(self) -> Path:
        """RUN/<project>/containers/<id>."""
        return self.run / "containers" / self.id

    @property
    def kept(self) -> Path:
        """DATA/projects/<project>/containers/<id>."""
        return self.data / "containers" / self.id


def containers(run: Path, data: Path) -> list[tuple[ContainerSpec, ContainerState]]:
    """Every container of one project, by name; half-made records are left out."""
    found = []
    with contextlib.suppress(FileNotFoundError):
        for entry in os.scandir(data / "containers"):
            with contextlib.suppress(RuntimeFailure):
                found.append((read_spec(data, entry.name), read(run, data, entry.name)))
    return sorted(found, key=lambda pair: pair[0].name)


def read(run: Path, data: Path, id: str) -> ContainerState:
    """The state of container ``id`` as it is now. Raises RuntimeFailure when there is no such record."""
    place = Place(run, data, id)
    raw = _load(place.record / "state.json")
    if raw is None:  # after a reboot RUN is empty: whatever ran does no more
        spec = read_spec(data, id)
        return ContainerState(id=id, name=spec.name, status="exited", exit=_exit(place))
    state: ContainerState = from_json(ContainerState, raw)
    if state.status not in ("running", "paused"):
        return replace(state, pid=0, monitor=0) if not alive(state.pid, state.start_time) else state
    record = _exit(place)
    if record is None and alive(state.pid, state.start_time):
        return state
    return replace(state, status="exited", pid=0, start_time=0, monitor=0, exit=record or _exit(place))


def read_spec(data: Path, id: str) -> ContainerSpec:
    """The spec of container ``id``. Raises RuntimeFailure when there is none."""
    raw = _load(data / "containers" / id / "spec.json")
    if raw is None:
        raise RuntimeFailure(f"no such container: {id[:12]}")
    return from_json(ContainerSpec, raw)


def close(directory: Path) -> None:
    """Make ``directory``, or take away what an earlier version or another umask lets others do with it.

    One that is sticky or somebody else's, such as /tmp, is left as it is: it is no directory of ours.
    """
    with contextlib.suppress(FileNotFoundError):
        info = directory.stat()
        if info.st_mode & 0o077 and info.st_uid == os.geteuid() and not info.st_mode & stat.S_ISVTX:
            directory.chmod(0o700)
        return
    if not directory.parent.exists():
        close(directory.parent)
    with contextlib.suppress(FileExistsError):
        directory.mkdir(mode=0o700)


def write_json(path: Path, value: object, *, durable: bool = False) -> None:
    """Write ``value`` as JSON: a temporary file beside ``path``, then rename; ``durable`` adds fsync(2).

    value: a frozen value of ``runtime.spec`` or plain data. Readers see the old or the new text.
    """
    scratch = path.with_name(f".{path.name}.{os.getpid()}")
    handle = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with open(handle, "w", encoding="utf-8") as file:
        json.dump(to_json(value), file)
        if durable:
            file.flush()
            os.fsync(file.fileno())
    scratch.replace(path)
    if durable:
        directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)


def start_time(pid: int) -> int:
    """Field 22 of /proc/PID/stat: when the process began, in clock ticks since boot; 0 when it is gone.

    A zombie counts as gone. Source: proc(5).
    """
    try:
        text = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except OSError:
        return 0
    fields = text.rpartition(")")[2].split()
    return 0 if fields[0] in "ZX" else int(fields[19])


def alive(pid: int, started: int) -> bool:
    """Whether process ``pid`` is still the one that began at ``started``; a reused number is not."""
    return pid > 0 and started > 0 and start_time(pid) == started


def _exit(place: Place) -> ExitRecord | None:
    raw = _load(place.record / "exit.json")
    return None if raw is None else from_json(ExitRecord, raw)


def _load(path: Path) -> Any:
    try:
        return json.loads(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return None
