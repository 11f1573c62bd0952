"""Ask the supervisor for something and show its progress.

Comes in:  a verb and its arguments.
Goes out:  the result; events on a display, or one after the other from a Courier.
Not here:  the socket (``supervisor.client``), what to ask (the verbs).
"""

import json
import os
import select
import signal
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from compose.cli.progress import Display, display, show
from compose.cli.scope import Scope
from compose.supervisor import client
from compose.supervisor.protocol import encode, error_from, error_message

if TYPE_CHECKING:
    from compose.load.project import Loaded

Event = dict[str, Any]


def perform(
    scope: Scope, project: str, verb: str, arguments: Mapping[str, Any], *, shown: Display | None = None
) -> dict[str, Any]:
    """Do ``verb`` and give its result; progress goes to ``shown`` or to the display of the global flags."""
    shown = shown or display(scope.progress)
    try:
        for event in client.request(project, verb, dict(arguments), places=scope.places):
            if "result" in event:
                result: dict[str, Any] = event["result"]
                return result
            show(event, shown)
    finally:
        shown.close()
    return {}


def model(loaded: "Loaded", names: tuple[str, ...] = (), *, dependencies: bool = True) -> dict[str, Any]:
    """The arguments that tell the supervisor the project and which services are meant, in start order."""
    if not names:
        wanted = frozenset(loaded.order.nodes)
    elif dependencies:
        wanted = loaded.order.dependencies(names)
    else:
        wanted = frozenset(names)
    return {"project": dict(loaded.canonical), "order": [n for n in loaded.order.nodes if n in wanted]}


class Courier:
    """One request carried out by a child process, so that events, logs and Ctrl-C are waited for together.

    Closing the connection is how the supervisor is told that the command gave up: ``cancel`` ends the child.
    """

    def __init__(
        self,
        scope: Scope,
        project: str,
        verb: str,
        arguments: Mapping[str, Any],
        *,
        fds: Sequence[int] = (),
        without: Sequence[int] = (),
    ) -> None:
        """fds: go to the supervisor; without: are closed in the child process."""
        self._read, write = os.pipe2(os.O_CLOEXEC)
        sys.stdout.flush()
        sys.stderr.flush()
        os.set_blocking(self._read, False)
        self._rest = b""
        self.done = False
        self.result: dict[str, Any] | None = None
        # Ctrl-C waits: Python drops an exception that is raised in its hooks around fork
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
        self._pid = os.fork()
        if self._pid == 0:
            signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to decide
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
            for handle in (self._read, *without):
                os.close(handle)
            _carry(write, scope, project, verb, arguments, fds)
        os.close(write)
        client.cancel_prestart()  # the child has it now; our ends of its pipes would keep it waiting
        try:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        except KeyboardInterrupt:
            self.cancel()
            raise

    def fileno(self) -> int:
        """Readable when there is an event."""
        return self._read

    def wait(self) -> None:
        """Sleep until there is an event."""
        poller = select.poll()
        poller.register(self._read, select.POLLIN)
        poller.poll()

    def events(self) -> list[Event]:
        """Events since the last call. Raises the error the request ended with."""
        data = b""
        try:
            while block := os.read(self._read, 1 << 16):
                data += block
            self.done = True
        except BlockingIOError:
            pass
        *lines, self._rest = (self._rest + data).split(b"\n")
        found = []
        for line in lines:
            message = json.loads(line)
            if "error" in message:
                self._finish()
                raise error_from(message["error"])
            if "result" in message:
                self.result = message["result"]
            else:
                found.append(message)
        if self.done:
            self._finish()
        return found

    def cancel(self) -> None:
        """Give the request up; the supervisor notices. Idempotent."""
        if self._pid:
            os.kill(self._pid, signal.SIGKILL)
        self._finish()

    def _finish(self) -> None:
        self.done = True
        if self._pid:
            os.waitpid(self._pid, 0)
            os.close(self._read)
            self._pid = 0


def _carry(
    write: int, scope: Scope, project: str, verb: str, arguments: Mapping[str, Any], fds: Sequence[int]
) -> None:
    """The child: pass every answer on, then end without running anything of the parent's."""
    try:
        with open(write, "wb", buffering=0) as out:
            try:
                for message in client.request(project, verb, dict(arguments), fds=fds, places=scope.places):
                    out.write(encode(message))
            except Exception as failure:  # whatever it is, the parent raises it
                out.write(encode({"error": error_message(failure)}))
    finally:
        os._exit(0)
