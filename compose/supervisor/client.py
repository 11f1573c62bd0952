"""Talk to a project's supervisor; start one when there is none.

Comes in:  a project's name, a verb, its arguments.
Goes out:  events as they come, then the result. Synchronous; imports the standard library only.
"""

from __future__ import annotations

import json
import os
import select
import socket
import sys
import time
from collections.abc import Iterator, Sequence
from typing import Any

from compose.errors import SupervisorLost
from compose.model.places import Places
from compose.supervisor.protocol import encode, error_from
from runtime.process.environment import own_environment

READY_SECONDS = 20.0


def request(
    project: str,
    verb: str,
    arguments: dict[str, Any],
    *,
    start: bool = True,
    fds: Sequence[int] = (),
    places: Places | None = None,
) -> Iterator[dict[str, Any]]:
    """Send one request; yield its events and at last ``{"result": {...}}``.

    start: start a supervisor when none answers; otherwise SupervisorLost is raised.
    fds:   descriptors handed over (``run``: standard input, output, error).
    Raises what the supervisor reports (a ComposeError with its exit code), or SupervisorLost.
    Closing the iterator early tells the supervisor that the command has gone away.
    """
    where = places or Places.from_environment(os.environ)
    data = encode({"verb": verb, "arguments": arguments})
    while True:
        with _connect(where, project, start=start) as connection, connection.makefile("rb") as lines:
            try:
                _send(connection, data, fds)
                line = lines.readline()
            except (ConnectionResetError, BrokenPipeError):
                continue  # not read to its end by one that is gone: the next supervisor is asked
            while line:
                message = json.loads(line)
                if "error" in message:
                    raise error_from(message["error"])
                if "result" in message:
                    if message["result"].pop("ending", False):
                        lines.read()  # the supervisor ends as well: wait until it has
                    yield message
                    return
                yield message
                line = lines.readline()
        raise SupervisorLost(
            f"the supervisor of project '{project}' went away in the middle of '{verb}'",
            hint=f"it is started again by itself; see {where.project_run(project)}/supervisor.log",
        )


def _send(connection: socket.socket, data: bytes, fds: Sequence[int]) -> None:
    if fds:
        socket.send_fds(connection, [data[:1]], list(fds))
        data = data[1:]
    connection.sendall(data)


class Prestart:
    """A supervisor process that warms up while the command still reads the file.

    It is given its project with ``serve`` or told to go away with ``cancel``.
    """

    def __init__(self) -> None:
        name_read, self._name = os.pipe()
        self._ready, ready_write = os.pipe()
        os.set_inheritable(name_read, True)
        os.set_inheritable(ready_write, True)
        argv = command("--pipes", str(name_read), str(ready_write))
        null = os.open(os.devnull, os.O_RDWR)
        actions = [(os.POSIX_SPAWN_DUP2, null, n) for n in (0, 1, 2)]
        self.pid = os.posix_spawn(
            sys.executable, argv, own_environment(os.environ), file_actions=actions, setsid=True
        )
        for handle in (null, name_read, ready_write):
            os.close(handle)

    def serve(self, project: str) -> None:
        """Tell it its project and wait until it listens. Raises SupervisorLost when it cannot."""
        os.write(self._name, encode({"project": project}))
        os.close(self._name)
        self._name = -1
        answer = self._answer()
        os.close(self._ready)
        self._ready = -1
        if answer != b"ready" and answer != b"taken":
            raise SupervisorLost(
                f"the supervisor of project '{project}' could not be started",
                hint=answer.decode(errors="replace") or "it died before it could say why",
            )

    def _answer(self) -> bytes:
        ready, _, _ = select.select([self._ready], [], [], READY_SECONDS)
        if not ready:
            return f"no answer after {READY_SECONDS:.0f} seconds".encode()
        return os.read(self._ready, 4096)

    def cancel(self) -> None:
        """It is not needed; it ends by itself when its pipe closes. Idempotent."""
        for handle in (self._name, self._ready):
            if handle >= 0:
                os.close(handle)
        self._name = self._ready = -1


def command(*words: str) -> list[str]:
    """The argv of a supervisor: isolated from environment and site-packages, which it does not need."""
    program = os.path.join(os.path.dirname(os.path.abspath(__file__)), "__main__.py")  # noqa: PTH100, PTH118, PTH120
    return [sys.executable, "-I", "-S", program, *words]


_waiting: list[Prestart] = []


def prestart() -> None:
    """Begin to start a supervisor now, for a project whose name is known later."""
    if not _waiting:
        _waiting.append(Prestart())


def cancel_prestart() -> None:
    """Let a supervisor that was not needed go."""
    while _waiting:
        _waiting.pop().cancel()


def alive(project: str, places: Places | None = None) -> bool:
    """Whether a supervisor of ``project`` answers."""
    where = places or Places.from_environment(os.environ)
    try:
        _open(where, project).close()
    except OSError:
        return False
    return True


def _connect(places: Places, project: str, *, start: bool) -> socket.socket:
    try:
        connection = _open(places, project)
        cancel_prestart()
        return connection
    except (FileNotFoundError, ConnectionRefusedError):
        if not start:
            raise SupervisorLost(
                f"no supervisor runs for project '{project}'", hint="start the project with 'pycompose up'"
            ) from None
    prestart()
    _waiting.pop().serve(project)
    # Ours listens by now. One that was started by a survivor at the same moment may still be on its way.
    end = time.monotonic() + READY_SECONDS
    while True:
        try:
            return _open(places, project)
        except OSError as error:
            if time.monotonic() > end:
                raise SupervisorLost(
                    f"the supervisor of project '{project}' does not answer: {error.strerror}"
                ) from error
        time.sleep(0.01)


def _open(places: Places, project: str) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    directory = -1
    try:
        # by the directory's descriptor, because sun_path holds 107 bytes only (unix(7))
        directory = os.open(places.project_run(project), os.O_PATH | os.O_DIRECTORY)
        connection.connect(f"/proc/self/fd/{directory}/control.sock")
    except OSError:
        connection.close()
        raise
    finally:
        if directory >= 0:
            os.close(directory)
    return connection
