"""Run a command in a container and keep the beginning of what it says: health probes, hooks.

Comes in:  a connection, over which the ExecSpec comes; runs in a forked child of the spawner.
Goes out:  one message {"result": ExecResult} or {"error": ...}.
Not here:  what the result means (``runtime.policy.health``).
"""

from __future__ import annotations

import os
import select
import socket
import time

from runtime.cgroup.layout import Layout, group
from runtime.errors import RuntimeFailure
from runtime.process.entry import code_of, fork_into, kill
from runtime.process.messages import receive, send, tell
from runtime.process.streams import NULL
from runtime.spec import ExecResult, ExecSpec, from_json, to_json
from runtime.state import Place, read, read_spec

KEPT = 4096


def run(place: Place, layout: Layout, channel: socket.socket) -> None:
    """Run what ``channel`` asks for in the container at ``place`` and answer over it."""
    try:
        asked, _ = receive(channel)
        if asked is None:
            return
        wanted = from_json(ExecSpec, asked)
        spec = read_spec(place.data, place.id)
        state = read(place.run, place.data, place.id)
        own = group(layout, place.run.name, spec.id, spec.limits.parent)
        reader, writer = os.pipe2(os.O_CLOEXEC)
        entered = fork_into(spec, state, wanted, own, place.record, (NULL, writer, writer))
        os.close(writer)
        send(channel, {"result": to_json(_follow(entered.pid, reader, wanted.timeout))})
    except RuntimeFailure as error:
        tell(channel, error)


def _follow(pid: int, reader: int, timeout: float | None) -> ExecResult:
    """Read until the process ends or its time is up; a child that keeps the pipe open is not waited for."""
    pidfd = os.pidfd_open(pid)
    os.set_blocking(reader, False)
    until = time.monotonic() + timeout if timeout else None
    kept, timed_out = b"", False
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    poll.register(reader, select.POLLIN)
    while True:
        left = max(0.0, until - time.monotonic()) * 1000 if until else None
        ready = dict(poll.poll(left))
        if not ready:
            timed_out, until = True, None
            kill(pid)
        while data := _read(reader) if reader in ready or pidfd in ready else b"":
            kept = (kept + data)[:KEPT]
        if pidfd in ready:
            break
        if reader in ready and ready[reader] & select.POLLHUP:
            poll.unregister(reader)
    _, status = os.waitpid(pid, 0)
    return ExecResult(code=code_of(status), output=kept.decode(errors="replace"), timed_out=timed_out)


def _read(reader: int) -> bytes:
    try:
        return os.read(reader, 65536)
    except BlockingIOError:
        return b""
