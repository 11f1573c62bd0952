"""Serve control.sock: one request a connection, events back, until the project is at rest.

Comes in:  connections of commands of the same user.
Goes out:  calls of ``supervisor.verbs``; their events and results as JSON lines.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import gc
import json
import os
import shutil
import signal
import socket
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

from compose.engine import returning
from compose.engine.events import Event
from compose.engine.execute import FAILURES
from compose.engine.machine import ProjectMachine
from compose.engine.oneoff import remove_at_end
from compose.errors import ComposeError
from compose.model.places import Places
from compose.supervisor.client import command
from compose.supervisor.protocol import MAX_REQUEST, encode, error_message
from compose.supervisor.verbs import VERBS, Call
from runtime.container import Runtime
from runtime.process.warm import Warm

IDLE_SECONDS = 0.3


def serve(places: Places, project: str, warm: Warm, ready: Callable[[], None]) -> int:
    """Run the supervisor of ``project`` until nothing of it runs. Returns the exit code.

    warm: a spawner that waits for its project; ready: called when requests are heard.
    """
    return asyncio.run(_Server(places, project, warm).run(ready))


class _Server:
    def __init__(self, places: Places, project: str, warm: Warm) -> None:
        self.warm = warm
        self.places = places
        self.project = project
        self.run_dir = places.project_run(project)
        self.listeners: set[Callable[[Event], None]] = set()
        self.calls: set[asyncio.Task[None]] = set()
        self.writing = asyncio.Lock()
        self.idle = asyncio.Event()
        self.listener: socket.socket
        self.ending = False

    async def run(self, ready: Callable[[], None]) -> int:
        loop = asyncio.get_running_loop()
        revive = command("--project", self.project)
        factory = functools.partial(
            Runtime, self.run_dir, self.places.project_data(self.project), revive=revive, warm=self.warm
        )
        machine = self.machine = ProjectMachine(self.places, self.project, factory, self._emit)
        await machine.runtime.open()
        await machine.adopt()
        returning.forget(self.run_dir)
        for keeper in machine.keepers.values():
            if keeper.launch.auto_remove:
                machine.later(remove_at_end(machine, keeper, self.writing))
        listener = self.listener = self._listen()
        loop.add_reader(listener, self._accept, listener)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            loop.add_signal_handler(number, self.idle.set)
        ready()
        gc.collect()
        gc.freeze()
        await self._until_idle()
        self._deaf()
        await self._finish(listener)
        return 0

    # -- life and end -------------------------------------------------------------------------------

    async def _until_idle(self) -> None:
        """Stay while something runs, is asked for or has been a moment ago."""
        while not self.idle.is_set():
            if self.machine.busy or self.calls:
                waits = [
                    asyncio.ensure_future(self.machine.changed()),
                    asyncio.ensure_future(self.idle.wait()),
                ]
                await asyncio.wait([*waits, *self.calls], return_when=asyncio.FIRST_COMPLETED)
                for task in waits:
                    task.cancel()
            else:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self.machine.changed(), IDLE_SECONDS)
                if not self.machine.busy and not self.calls:
                    return

    async def _finish(self, listener: socket.socket) -> None:
        listener.close()
        if self.machine.busy:  # told to go while containers run: they stay, the next supervisor finds them
            return
        await self._clean_up()

    async def _clean_up(self) -> None:
        (self.run_dir / "control.sock").unlink(missing_ok=True)
        await self.machine.runtime.close()
        self.machine.attachments.close()
        if not self.machine.keepers:
            with contextlib.suppress(OSError):  # not empty: what is left of the project is another verb's
                (self.machine.data / "containers").rmdir()
                self.machine.data.rmdir()
            _remove(self.run_dir)

    # -- connections --------------------------------------------------------------------------------

    def _deaf(self) -> None:
        """Accept nobody any more: who connects now is reset when we end, and asks the next supervisor."""
        asyncio.get_running_loop().remove_reader(self.listener)

    def _listen(self) -> socket.socket:
        path = self.run_dir / "control.sock"
        path.unlink(missing_ok=True)
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        directory = os.open(self.run_dir, os.O_PATH | os.O_DIRECTORY)
        try:
            listener.bind(f"/proc/self/fd/{directory}/control.sock")
        finally:
            os.close(directory)
        path.chmod(0o600)
        listener.listen(64)
        return listener

    def _accept(self, listener: socket.socket) -> None:
        try:
            connection, _ = listener.accept()
        except BlockingIOError:
            return
        connection.setblocking(False)
        task = asyncio.ensure_future(self._call(connection))
        self.calls.add(task)
        task.add_done_callback(self._ended)
        self.machine.touch()

    def _ended(self, task: asyncio.Task[None]) -> None:
        self.calls.discard(task)
        self.machine.touch()

    def _emit(self, event: Event) -> None:
        for listener in tuple(self.listeners):
            listener(event)

    async def _call(self, connection: socket.socket) -> None:
        with connection:
            if not _same_user(connection):
                return
            request, fds = await _receive(connection)
            try:
                if request is not None:
                    await self._answer(connection, request, fds)
            finally:
                for fd in fds:
                    os.close(fd)

    async def _answer(self, connection: socket.socket, request: dict[str, Any], fds: list[int]) -> None:
        outgoing: asyncio.Queue[Event | None] = asyncio.Queue()
        call = Call(
            machine=self.machine,
            arguments=request.get("arguments", {}),
            fds=tuple(fds),
            emit=outgoing.put_nowait,
            writing=self.writing,
            listeners=self.listeners,
        )
        writer = asyncio.ensure_future(_send(connection, outgoing))
        verb = VERBS.get(str(request.get("verb")))
        work = asyncio.ensure_future(_perform(verb, call))
        gone = asyncio.ensure_future(_gone(connection))
        await asyncio.wait([work, gone], return_when=asyncio.FIRST_COMPLETED)
        if not work.done():
            work.cancel()
        outcome = await _outcome(work)
        if "result" in outcome and self._at_rest():
            self._deaf()
            self.ending = True  # the command hears its result when nothing is left of us but this process
            await self._clean_up()
            outcome["result"]["ending"] = True
        outgoing.put_nowait(outcome)
        outgoing.put_nowait(None)
        gone.cancel()
        await asyncio.gather(writer, gone, return_exceptions=True)
        if self.ending:
            os._exit(0)  # what is left to do is the interpreter's own tidying, 20 ms of it

    def _at_rest(self) -> bool:
        """No container is left and nobody else asks for anything."""
        return not self.machine.keepers and len(self.calls) == 1 and not self.ending


def _remove(run: Path) -> None:
    """Delete RUN/<project>, its lock last: a next supervisor that waits for it makes everything anew."""
    with contextlib.suppress(OSError):
        for entry in run.iterdir():
            if entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry, ignore_errors=True)
            elif entry.name != "lock":
                entry.unlink()
        (run / "lock").unlink()
        run.rmdir()


async def _perform(verb: Any, call: Call) -> dict[str, Any]:
    if verb is None:
        raise ComposeError(
            "the supervisor does not know this request", hint="it runs another version: 'down', then 'up'"
        )
    result: dict[str, Any] = await verb(call)
    return result


async def _outcome(work: asyncio.Future[dict[str, Any]]) -> dict[str, Any]:
    try:
        return {"result": await work}
    except asyncio.CancelledError:
        return {"error": {"message": "cancelled", "exit_code": 130}}
    except (*FAILURES, ExceptionGroup) as error:
        return {"error": error_message(error)}
    except Exception as error:  # a defect of ours: the log has the trace, the user gets one line
        import traceback

        traceback.print_exc()
        return {
            "error": {"message": f"internal error: {error!r}", "hint": "see supervisor.log", "exit_code": 1}
        }


async def _receive(connection: socket.socket) -> tuple[dict[str, Any] | None, list[int]]:
    """Read one request line and the descriptors that came with its first byte."""
    loop = asyncio.get_running_loop()
    readable: asyncio.Future[None] = loop.create_future()

    def arrived() -> None:
        if not readable.done():
            readable.set_result(None)

    loop.add_reader(connection, arrived)
    try:
        await asyncio.wait_for(readable, 10)
    except TimeoutError:
        return None, []
    finally:
        loop.remove_reader(connection)
    data, fds, _, _ = socket.recv_fds(connection, 65536, 3)
    buffer = bytearray(data)
    while data and not buffer.endswith(b"\n") and len(buffer) < MAX_REQUEST:
        data = await loop.sock_recv(connection, 1 << 20)
        buffer += data
    try:
        request = json.loads(bytes(buffer))
    except ValueError:
        request = None
    return request if isinstance(request, dict) else None, list(fds)


async def _send(connection: socket.socket, outgoing: asyncio.Queue[Event | None]) -> None:
    loop = asyncio.get_running_loop()
    while True:
        events = [await outgoing.get()]
        while not outgoing.empty():
            events.append(outgoing.get_nowait())
        data = b"".join(encode(event) for event in events if event is not None)
        try:
            await loop.sock_sendall(connection, data)
        except OSError:
            return  # the command has gone; nobody listens any more
        if None in events:
            return


async def _gone(connection: socket.socket) -> None:
    """Return when the command closes its end."""
    loop = asyncio.get_running_loop()
    try:
        while await loop.sock_recv(connection, 4096):
            pass
    except OSError:
        return


def _same_user(connection: socket.socket) -> bool:
    """SO_PEERCRED (unix(7)): only the user this supervisor runs as may ask, and root."""
    data = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    _, uid, _ = struct.unpack("3i", data)
    return uid in (0, os.geteuid())
