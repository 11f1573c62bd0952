"""Run a command in a running container for a person at a terminal: ``exec``, the person's side.

Comes in:  the container's spec, an ExecSpec; standard streams of this process.
Goes out:  the command's exit code.
Not here:  finding the container (``runtime.state``), starting the command (``session``), copying (``relay``).

The command is started by the project's spawner, not by this process: neither memory nor environment nor
descriptors of this process can be seen from inside.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from runtime.errors import RuntimeFailure
from runtime.process import relay
from runtime.process.line import EXEC_SOCKET, connect
from runtime.process.messages import receive, revive, send
from runtime.spec import ContainerSpec, ExecSpec, to_json

_PASSED_ON = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2)
_PATIENCE = 5.0  # seconds for a spawner that has just died to be started again


def enter(
    spec: ContainerSpec,
    exec: ExecSpec,
    *,
    run: Path,
    interactive: bool = True,
    detach: bool = False,
    keys: bytes = b"",
) -> int:
    """Run ``exec`` in the container and return its code, 128 + n for signal n.

    run: RUN/<project>. Without a tty the command has pipes, with one a terminal of the container's own; both
    are relayed. interactive: standard input is copied. detach: return 0 as soon as the command runs.
    keys: what is typed to leave the terminal.
    Raises NotExecutable (126), CommandNotFound (127), RuntimeFailure.
    """
    with contextlib.ExitStack() as undo:
        channel = undo.enter_context(_connected(run))
        streams = None
        if not exec.tty and not detach:
            streams = relay.Streams(interactive=interactive)
            undo.callback(streams.close)
        file = os.memfd_create("exec", os.MFD_CLOEXEC)
        undo.callback(os.close, file)
        os.write(file, json.dumps(to_json(exec)).encode())
        os.lseek(file, 0, os.SEEK_SET)
        send(channel, {"id": spec.id}, [file, *(streams.theirs if streams else ())])
        if streams is not None:
            streams.hand_over()
        _, fds = _answer(channel)
        for master in fds:
            undo.callback(os.close, master)
        if detach:
            return 0
        undo.enter_context(_signals_to(channel))
        if streams is None:
            return _until_exit(channel, partial(_terminal, channel, fds[0], keys))
        return _until_exit(channel, streams.run)


def _until_exit(channel: socket.socket, copy: Callable[[int, Callable[[], bool]], None]) -> int:
    """Copy until the exit code comes, and return that."""
    codes: list[int] = []

    def ended() -> bool:
        codes.append(int(_answer(channel)[0]["exit"]))
        return True

    copy(channel.fileno(), ended)
    return codes[0]


def _terminal(
    channel: socket.socket, master: int, wanted: bytes, other: int, ended: Callable[[], bool]
) -> None:
    """Join the terminals; the command runs on when the person leaves."""
    if relay.terminal(master, other, ended, wanted):
        send(channel, {"leave": True}, [master])
        raise RuntimeFailure("read escape sequence", exit_code=1)


def _connected(run: Path) -> socket.socket:
    """Connect to the project's spawner; one that has died is back in a moment."""
    end = time.monotonic() + _PATIENCE
    while True:
        channel = connect(run, EXEC_SOCKET)
        if channel is not None:
            return channel
        if time.monotonic() > end or not (run / "spawner.lock").exists():
            raise RuntimeFailure(
                "the process that runs commands in containers does not answer",
                hint=f"see {run / 'supervisor.log'}",
                exit_code=1,
            )
        time.sleep(0.02)


def _answer(channel: socket.socket) -> tuple[dict[str, Any], list[int]]:
    message, fds = receive(channel)
    if message is None:
        raise RuntimeFailure("the process that runs the command was killed", exit_code=1)
    if "error" in message:
        raise revive(message["error"])
    return message, fds


@contextlib.contextmanager
def _signals_to(channel: socket.socket) -> Iterator[None]:
    """What this process is asked by signal is passed on."""

    def pass_on(number: int, _frame: object) -> None:
        with contextlib.suppress(OSError):
            send(channel, {"signal": number})

    before = {number: signal.signal(number, pass_on) for number in _PASSED_ON}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
