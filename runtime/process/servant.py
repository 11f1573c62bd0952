"""A Runtime's connection to its spawner, which is started again when it dies.

Comes in:  requests with descriptors.
Goes out:  a spawner process; its answers.
Not here:  what a spawner does (``spawner``), the monitors' connections (``links``).
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import select
import socket
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from runtime.errors import RuntimeFailure
from runtime.process.messages import receive, send, send_text
from runtime.process.warm import Warm

_HOPELESS = 4  # spawners in a row that died at once
_AT_ONCE = 1.0  # seconds; one that lived longer was killed, not unable to run


class Servant:
    """The spawner as its supervisor sees it. ``process`` is None when it is not our child."""

    def __init__(self, run: Path, data: Path, revive: Sequence[str], warm: Warm | None = None) -> None:
        self._run, self._data, self._revive = run, data, list(revive)
        self._warm = warm
        self._failures = 0
        self._began = 0.0
        self._again: asyncio.TimerHandle | None = None
        self.channel: socket.socket | None = None
        self.process: subprocess.Popen[bytes] | None = None
        self.closing = False

    def begin(self) -> None:
        """Have a spawner: the one that has introduced itself, else the warm one, else a new one."""
        if self.channel is None:
            self._start()
        elif self._warm is not None:
            self._warm.cancel()
            self._warm = None

    def use(self, channel: socket.socket) -> None:
        """Talk to the spawner at the other end of ``channel``."""
        self.channel = channel
        channel.setblocking(False)
        asyncio.get_running_loop().add_reader(channel, self._lost)

    def tell(self, message: dict[str, Any] | bytes, fds: Sequence[int] = ()) -> None:
        """Send a request: they are small and the spawner forks at once, so its socket is never full for long.

        Raises RuntimeFailure when no spawner can be had.
        """
        text = message if isinstance(message, bytes) else json.dumps(message).encode()
        for _ in range(2):
            if self.channel is None and not self.closing:
                self._revive_now()
            if self.channel is None:
                return
            try:
                self._send(text, fds)
                return
            except (BrokenPipeError, ConnectionResetError):
                self._lost()

    async def ask(self, request: dict[str, Any], more: dict[str, Any]) -> dict[str, Any] | None:
        """Send a request with a connection for its answer; None when that was closed without one.

        more: goes over that connection, for the process that answers alone.
        """
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setblocking(False)
        try:
            send(ours, more)
            self.tell(request, [theirs.fileno()])
        except RuntimeFailure:
            ours.close()
            raise
        finally:
            theirs.close()
        try:
            await readable(ours)
            return receive(ours)[0]
        finally:
            ours.close()

    async def close(self) -> None:
        """Let it empty the trash and end."""
        self.closing = True
        if self._again is not None:
            self._again.cancel()
        self.tell({"do": "sweep"})
        self.tell({"do": "close"})
        channel, self.channel = self.channel, None
        if channel is not None:
            asyncio.get_running_loop().remove_reader(channel)
            await gone(channel)
            channel.close()
        if self.process is not None:
            self.process.wait()

    def _send(self, text: bytes, fds: Sequence[int]) -> None:
        assert self.channel is not None
        while True:
            try:
                send_text(self.channel, text, fds)
                return
            except BlockingIOError:
                select.select([], [self.channel], [], 1.0)

    def _start(self) -> None:
        self._again = None
        warm, self._warm = self._warm, None
        if warm is None:
            log = os.open(self._run / "supervisor.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
            try:
                warm = Warm(stderr=log)
            finally:
                os.close(log)
        self._began = time.monotonic()
        self.process = warm.process
        task = {"run": str(self._run), "data": str(self._data), "revive": self._revive}
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # killed already: its end is heard
            send(warm.channel, task)
        self.use(warm.channel)

    def _lost(self) -> None:
        """It never speaks after its introduction, so this is its end: start another one, later and later."""
        assert self.channel is not None
        loop = asyncio.get_running_loop()
        loop.remove_reader(self.channel)
        self.channel.close()
        self.channel = None
        if self.process is not None:
            self.process.wait()
            self.process = None
        if self.closing:
            return
        self._failures = self._failures + 1 if time.monotonic() < self._began + _AT_ONCE else 0
        if self._failures < 2:
            self._start()
        else:
            self._again = loop.call_later(min(0.05 * 2**self._failures, 30.0), self._start)

    def _revive_now(self) -> None:
        """Somebody needs it: do not wait for the next attempt, unless there is no hope."""
        if self._failures >= _HOPELESS:
            raise RuntimeFailure(
                "the process that starts containers ends as soon as it is started",
                hint=f"see {self._run / 'supervisor.log'}",
            )
        if self._again is not None:
            self._again.cancel()
            self._start()


async def readable(connection: socket.socket) -> None:
    """Wait until there is something to read."""
    loop = asyncio.get_running_loop()
    ready: asyncio.Future[None] = loop.create_future()
    loop.add_reader(connection, _wake, ready)
    try:
        await ready
    finally:
        loop.remove_reader(connection)


async def gone(connection: socket.socket) -> None:
    """Wait until the other side has closed."""
    asyncio.get_running_loop().remove_reader(connection)
    while True:
        await readable(connection)
        try:
            if receive(connection)[0] is None:
                return
        except OSError:
            return


def _wake(ready: asyncio.Future[None]) -> None:
    if not ready.done():
        ready.set_result(None)
