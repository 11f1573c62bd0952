"""The supervisor process: ``__main__.py --project NAME`` or ``--pipes NAME_FD READY_FD``.

Comes in:  the project's name, from the command line (a takeover) or a pipe (a command starts it early).
Goes out:  a process that serves control.sock until nothing of the project runs any more.
"""

from __future__ import annotations

import contextlib
import fcntl
import gc
import json
import os
import sys
import time
from pathlib import Path

PATIENCE = 20.0  # seconds for another supervisor of the project to begin to listen or to end

if not __package__:  # run as a file, without site-packages: nothing here needs them, and it is quicker
    sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))  # noqa: PTH100, PTH120


class Answer:
    """The pipe on which a command waits: one short answer, "ready", "taken" or what went wrong."""

    def __init__(self, handle: int) -> None:
        self.handle = handle

    def tell(self, text: str) -> None:
        """Answer; only the first answer counts."""
        handle, self.handle = self.handle, -1
        if handle >= 0:
            with contextlib.suppress(BrokenPipeError):  # the command has gone meanwhile
                os.write(handle, text.encode()[:4096])
            os.close(handle)


def main(words: list[str]) -> int:
    """Be the supervisor; a command that waits hears why when that fails. Returns the exit code."""
    piped = words[:1] == ["--pipes"]
    _close_all_but([int(word) for word in words[1:3]] if piped else [])
    answer = Answer(int(words[2]) if piped else -1)
    try:
        return _supervise(int(words[1]) if piped else words[1], answer)
    except Exception as error:  # whatever it is, the command shall not wait in vain
        answer.tell(f"{type(error).__name__}: {error}")
        raise


def _close_all_but(pipes: list[int]) -> None:
    """Descriptors that the command had inherited from its caller end here: they would stay open for days."""
    first = 3
    for pipe in sorted(pipes):
        os.closerange(first, pipe)
        first = pipe + 1
    os.closerange(first, os.sysconf("SC_OPEN_MAX"))


def _supervise(project: str | int, answer: Answer) -> int:
    """Warm up, learn the project (an int is the pipe to read it from), take its lock, serve."""
    gc.set_threshold(50_000, 20, 20)  # what is imported stays: the search for cycles in it is put off
    os.umask(0o022)  # the caller's decides about the caller's files alone
    for name in ("ssl", "_hashlib", "bz2", "lzma"):  # asyncio, hashlib and shutil do without; 20 ms
        sys.modules.setdefault(name, None)  # type: ignore[arg-type]
    from runtime.cgroup.leave import leave
    from runtime.process.warm import Warm

    warm = Warm()
    leave()
    if isinstance(project, int):
        import compose.supervisor.server  # noqa: F401  the long imports, while the command reads the file

        project = _named(project)
        if not project:
            warm.cancel()
            return 0
    from compose.model.places import Places

    places = Places.from_environment(os.environ)
    places.secure()
    run = places.project_run(project)
    if _lock(run) < 0:
        answer.tell("taken")
        warm.cancel()
        return 0
    _log_to(run / "supervisor.log")
    os.chdir("/")
    from compose.supervisor.server import serve

    return serve(places, project, warm, lambda: answer.tell("ready"))


def _named(handle: int) -> str:
    data = b""
    with open(handle, "rb") as stream:
        data = stream.read()
    return str(json.loads(data)["project"]) if data else ""


def _lock(run: Path) -> int:
    """Hold ``run``/lock for as long as this process lives; -1 when another supervisor serves the project.

    One that has the lock and does not listen is about to listen or to end: it is waited for.
    """
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        run.mkdir(parents=True, exist_ok=True, mode=0o700)
        with contextlib.suppress(FileNotFoundError):  # the last one has just removed the directory
            handle = os.open(run / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            if _held(handle, run / "lock"):
                os.ftruncate(handle, 0)
                os.pwrite(handle, str(os.getpid()).encode(), 0)
                return handle
            os.close(handle)
            if _served(run):
                break
            time.sleep(0.005)
    return -1


def _held(handle: int, path: Path) -> bool:
    """Lock ``handle``; False when another has it or it is not the file at ``path`` any more."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return os.fstat(handle).st_ino == path.stat().st_ino
    except (BlockingIOError, FileNotFoundError):
        return False


def _served(run: Path) -> bool:
    """Whether somebody listens on control.sock."""
    import socket

    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe, contextlib.suppress(OSError):
        directory = os.open(run, os.O_PATH | os.O_DIRECTORY)
        try:
            probe.connect(f"/proc/self/fd/{directory}/control.sock")
            return True
        finally:
            os.close(directory)
    return False


def _log_to(path: Path) -> None:
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    null = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
    os.dup2(null, 0)
    os.dup2(handle, 1)
    os.dup2(handle, 2)
    os.close(handle)
    os.close(null)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
