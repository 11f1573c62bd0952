"""The wires between supervisor, spawner and monitors, and how a lost supervisor is brought back.

Comes in:  RUN/<project>.
Goes out:  connected SOCK_SEQPACKET sockets; a revived supervisor.
Not here:  what is said over them (``spawner``, ``monitor``, ``runtime.container``).
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import socket
import struct
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from runtime.process.environment import own_environment

SOCKET = "monitors.sock"
EXEC_SOCKET = "exec.sock"  # where a spawner takes requests to run a command in a container
_LONGEST = 100  # sun_path has 108 bytes (unix(7))


def listen(run: Path, socket_name: str = SOCKET) -> socket.socket:
    """Listen at a socket of RUN/<project>; a stale socket file is replaced."""
    server = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_NONBLOCK)
    path = run / socket_name
    path.unlink(missing_ok=True)
    with _address(path) as name:
        server.bind(name)
    path.chmod(0o600)
    server.listen(512)
    return server


def connect(run: Path, socket_name: str = SOCKET) -> socket.socket | None:
    """Connect to the supervisor of this project, or to another socket of it; None when nobody listens."""
    client = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        with _address(run / socket_name) as name:
            client.connect(name)
    except OSError:
        client.close()
        return None
    return client


def peer(connection: socket.socket) -> tuple[int, int]:
    """SO_PEERCRED: (pid, uid) of the other side (unix(7))."""
    raw = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
    pid, uid, _ = struct.unpack("3i", raw)
    return pid, uid


class Revival:
    """Bringing a supervisor back, once among all who notice that it is gone.

    ``patience``: seconds to leave to somebody else before doing it; it doubles after each failure.
    """

    def __init__(self, run: Path, argv: Sequence[str], *, patience: float) -> None:
        self._run, self._argv = run, argv
        self._lock: int | None = None
        self._pause = 0.5
        self._next = time.monotonic() + patience

    def look(self) -> socket.socket | None:
        """Try to reach a supervisor, start one when it is time to. Returns a connection or None."""
        found = connect(self._run)
        if found is not None:
            self._release()
            return found
        if time.monotonic() >= self._next and self._argv and self._run.is_dir():
            if self._lock is None:
                self._lock = lock(self._run / "revive.lock")
            if self._lock is not None:
                self._start()
            self._next = time.monotonic() + self._pause
        return None

    def _start(self) -> None:
        log = str(self._run / "supervisor.log")
        actions = [
            (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, "/dev/null", os.O_WRONLY, 0),
            (os.POSIX_SPAWN_OPEN, 2, log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o640),
        ]
        self._pause = min(self._pause * 2, 30.0)
        with contextlib.suppress(OSError):
            os.posix_spawnp(
                self._argv[0],
                list(self._argv),
                own_environment(os.environ),
                file_actions=actions,
                setsid=True,
            )

    def _release(self) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None


def lock(path: Path | str, *, wait: bool = False) -> int | None:
    """flock(2) ``path`` exclusively. Returns the descriptor that holds it, None when somebody else does."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except OSError:
        os.close(fd)
        return None
    return fd


@contextlib.contextmanager
def _address(path: Path) -> Iterator[str]:
    """A name for ``path`` that fits sun_path: long ones go through a descriptor of the directory."""
    if len(os.fsencode(path)) <= _LONGEST:
        yield str(path)
        return
    fd = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{fd}/{path.name}"
    finally:
        os.close(fd)
