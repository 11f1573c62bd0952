"""What a monitor knows of its container: little, because every byte of it weighs once per container.

Comes in:  a ContainerSpec.
Goes out:  a Task, and the request to the spawner that carries it.
Not here:  the rest of the spec, which pid 1 reads for itself (``attempt``).
"""

from __future__ import annotations

from typing import NamedTuple

from runtime.process.joins import joins
from runtime.spec import ContainerSpec
from runtime.state import Place

CREATE = b"create\0"


class Task(NamedTuple):
    """pid: "private", "host", or the path of the pid namespace to join. memory: bytes, 0 for no limit."""

    id: str
    name: str
    pid: str
    parent: str
    memory: int
    stdio: str
    tty: bool
    log: str
    log_size: int
    log_files: int


def task(spec: ContainerSpec, place: Place, *, running: bool = False) -> Task:
    """The Task of ``spec``. Raises RuntimeFailure when the container whose pids it shares does not run.

    running: it is there already, so that namespace needs no path any more.
    """
    pid = spec.namespaces.pid
    if pid.startswith("container:") and not running:
        pid = joins(spec, place, only="pid")["pid"]
    return Task(
        spec.id,
        spec.name,
        pid,
        spec.limits.parent,
        spec.limits.memory or 0,
        spec.stdio,
        spec.tty,
        spec.log,
        spec.log_size,
        spec.log_files,
    )


def pack(task: Task) -> bytes:
    """The request to create: words between NULs, because reading JSON writes into hundreds of pages."""
    words = (str(int(word)) if isinstance(word, int) else word for word in task)
    return CREATE + "\0".join(words).encode()


def unpack(text: bytes) -> Task:
    """What ``pack`` made."""
    words = text.decode().split("\0")
    _, id, name, pid, parent, memory, stdio, tty, log, log_size, log_files = words
    return Task(id, name, pid, parent, int(memory), stdio, tty == "1", log, int(log_size), int(log_files))
