"""Run through what every monitor does, once, in the spawner before it forks any.

Comes in:  the control group layout.
Goes out:  nothing but warm code; every descriptor is closed again.
Not here:  what a monitor does (``monitor``), whose inner calls are made here in their order.
"""

from __future__ import annotations

import os
import select
import socket
from pathlib import Path

from runtime.cgroup.layout import Layout
from runtime.kernel.processes import set_subreaper
from runtime.process import monitor
from runtime.process.log import Log, PipeSource, Record
from runtime.process.messages import receive_text, send_text
from runtime.process.task import Task
from runtime.state import Place


def rehearse(layout: Layout) -> None:
    """Do what every monitor does, with pipes of our own.

    The interpreter adapts code that it has run a few times by writing into it: done here, before any fork,
    that is shared, and weighs 300 KiB per monitor when it is not.
    """
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    start = monitor.Start(Place(Path("/"), Path("/"), ""), "/dev", layout, [], theirs)
    player = monitor.Monitor(start, Task("null", "", "private", "", 0, "log", False, "", 0, 1))
    set_subreaper(True)
    pair = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    player._report(b"{}", [0])
    for fd in receive_text(ours)[1]:
        os.close(fd)
    send_text(ours, b"{}")
    player._command()
    memory = os.memfd_create("rehearsal", os.MFD_CLOEXEC)
    record = Record(f"/proc/self/fd/{memory}")
    log = Log("", 0, 1)
    for stream in range(2):
        reader, writer = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        os.write(writer, b"one\ntwo")
        source = PipeSource(reader, stream, log, record)
        player.poll.register(reader, select.POLLIN)
        ready = {fd for fd, _ in player.poll.poll(player._timeout())}
        while source.fd in ready and source.copy():
            pass
        source.close()
        os.close(writer)
    record.close()
    log.close()
    monitor._read("/proc/self/comm")
    os.close(memory)
    for end in (ours, theirs, *pair):
        end.close()
