"""The supervisor process: ``python -m compose.supervisor --project NAME`` or ``--pipes NAME_FD READY_FD``.

Comes in:  the project's name, from the command line (a takeover) or a pipe (a command starts it early).
Goes out:  a process that serves control.sock until nothing of the project runs any more.
"""

from __future__ import annotations

import fcntl
import json
import os
import sys
from pathlib import Path


def main(words: list[str]) -> int:
    """Warm up, learn the project, take its lock, serve. Returns the exit code."""
    ready = -1
    sys.modules.setdefault("ssl", None)  # type: ignore[arg-type]  # asyncio does without; 15 ms
    from runtime.process.warm import Warm

    warm = Warm()
    if words[:1] == ["--pipes"]:
        import compose.supervisor.server  # noqa: F401  the long imports, while the command reads the file

        ready = int(words[2])
        project = _named(int(words[1]))
        if not project:
            warm.cancel()
            return 0
    else:
        project = words[1]
    from compose.model.places import Places

    places = Places.from_environment(os.environ)
    places.secure()
    run = places.project_run(project)
    run.mkdir(parents=True, exist_ok=True, mode=0o700)
    if _lock(run / "lock") < 0:
        _tell(ready, b"taken")
        warm.cancel()
        return 0
    _log_to(run / "supervisor.log")
    os.chdir("/")
    from compose.supervisor.server import serve

    return serve(places, project, warm, lambda: _tell(ready, b"ready"))


def _named(handle: int) -> str:
    data = b""
    with open(handle, "rb") as stream:
        data = stream.read()
    return str(json.loads(data)["project"]) if data else ""


def _lock(path: Path) -> int:
    """Hold ``lock`` for as long as this process lives; -1 when another supervisor has it."""
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        return -1
    os.ftruncate(handle, 0)
    os.pwrite(handle, str(os.getpid()).encode(), 0)
    return handle


def _log_to(path: Path) -> None:
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    null = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
    os.dup2(null, 0)
    os.dup2(handle, 1)
    os.dup2(handle, 2)
    os.close(handle)
    os.close(null)


def _tell(handle: int, text: bytes) -> None:
    if handle >= 0:
        os.write(handle, text)
        os.close(handle)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
