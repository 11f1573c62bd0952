"""Run one command in a container for a person: the container's side of ``exec``.

Comes in:  a connection of ``enter``; runs in a forked child of the spawner.
Goes out:  over the connection: {"started": true} or {"error"}, then {"exit": code}.
Not here:  the person's terminal and streams (``enter``), probes (``capture``).

The first message is {"id": container} with descriptors: a file that holds the ExecSpec as JSON, of any
length, and three streams unless it has a tty; then the master goes back with "started". {"signal": number}
comes later, and {"leave": true} with the master when the person leaves the terminal: the command runs on,
its output is thrown away. Nothing of the person's process is in this one: neither its memory nor its
environment nor its descriptors.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import socket
from pathlib import Path

from runtime.cgroup.layout import Layout, group
from runtime.errors import RuntimeFailure
from runtime.kernel import processes
from runtime.process.entry import Entered, code_of, fork_into
from runtime.process.messages import receive, send, tell
from runtime.spec import ExecSpec, from_json
from runtime.state import Place, read, read_spec


def serve(channel: socket.socket, run: Path, data: Path, layout: Layout) -> None:
    """Serve one connection; returns when the command has ended."""
    processes.set_name("pycompose-exec")
    try:
        message, fds = receive(channel)
        if message is None:
            return
        with open(fds[0], "rb") as file:
            wanted = from_json(ExecSpec, json.load(file))
        place = Place(run, data, str(message["id"]))
        spec = read_spec(data, place.id)
        own = group(layout, run.name, spec.id, spec.limits.parent)
        entered = fork_into(spec, read(run, data, place.id), wanted, own, place.record, fds[1:])
    except RuntimeFailure as error:
        tell(channel, error)
        return
    for fd in fds[1:]:
        os.close(fd)
    with contextlib.suppress(OSError):  # whoever asked has gone; the command goes on, as under Docker
        send(channel, {"started": True}, [entered.master] if entered.master >= 0 else [])
    if entered.master >= 0:
        os.close(entered.master)
    code = _wait(entered, channel)
    with contextlib.suppress(OSError):
        send(channel, {"exit": code})


def _thrown_away(master: int) -> bool:
    """Read what the command writes to a terminal that nobody looks at; False when none has it open."""
    try:
        return bool(os.read(master, 1 << 16))
    except OSError:  # EIO
        return False


def _wait(entered: Entered, channel: socket.socket) -> int:
    """Pass signals on until the command ends. Returns its code."""
    pidfd = os.pidfd_open(entered.pid)
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    poll.register(channel, select.POLLIN)
    left: list[int] = []
    while pidfd not in (ready := dict(poll.poll())):
        for master in ready.keys() & set(left):
            if not _thrown_away(master):
                poll.unregister(master)
        if channel.fileno() in ready:
            try:
                message, fds = receive(channel)
            except OSError:
                message, fds = None, []
            if message is None:
                poll.unregister(channel)
            elif "leave" in message:
                left = fds
                poll.register(left[0], select.POLLIN)
            else:
                with contextlib.suppress(ProcessLookupError):
                    signal.pidfd_send_signal(pidfd, int(message["signal"]))
    return code_of(os.waitpid(entered.pid, 0)[1])
