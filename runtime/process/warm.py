"""A spawner that is started before its project is known.

Comes in:  nothing.
Goes out:  the process and our end of its connection; its first message tells it the project.
Not here:  what it does (``spawner``), using it (``runtime.container``). Light: imported before anything else.
"""

from __future__ import annotations

import socket

from runtime.process.fresh import start


class Warm:
    """A spawner process that imports while its supervisor does, about 50 ms."""

    def __init__(self, stderr: int | None = None) -> None:
        self.channel, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        fds = (theirs.fileno(),)
        try:
            self.process = start("runtime.process.spawner", [str(fds[0])], fds=fds, stderr=stderr)
        finally:
            theirs.close()

    def cancel(self) -> None:
        """It is not needed: it ends when its connection closes."""
        self.channel.close()
        self.process.wait()
