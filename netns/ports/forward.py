"""Have a process carry published ports that the kernel's translation cannot (``forwarder``).

Comes in:  bound sockets of ``reserve``, addresses of containers.
Goes out:  listening sockets; the process, started at the first client and again when it died.
Not here:  binding (reserve), copying (forwarder).

That is [::1], fe80::/10, and IPv6 of the host where the container has IPv4 only (or the other way round).
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import sys
from contextlib import suppress
from pathlib import Path

BACKLOG = 512
AGAIN = 0.5  # seconds before a process that died is followed by another


class Forwards:
    """The forwards of one supervisor, on its loop. No client, no process."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._kept: dict[int, tuple[socket.socket, tuple[str, int]]] = {}
        self._control: socket.socket | None = None
        self.pid = 0  # of the process, 0 while there is none
        self._former: list[int] = []
        self._timer: asyncio.TimerHandle | None = None
        self._last = 0

    def add(self, held: socket.socket, address: str, port: int) -> int:
        """Carry what arrives at ``held`` to ``address``:``port``; gives a number for ``remove``."""
        self._last += 1
        if held.type == socket.SOCK_STREAM:
            # accepted sockets inherit it, so that their TIME_WAIT does not keep the port from the next start
            held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            held.listen(BACKLOG)
        self._kept[self._last] = (held, (address, port))
        if self._control is not None:
            self._hand_over(self._last)
        elif self._timer is None:
            self._loop.add_reader(held, self._start)
        return self._last

    def remove(self, number: int) -> None:
        """Refuse new clients and end the open connections; the socket stays bound."""
        held, _ = self._kept.pop(number)
        self._loop.remove_reader(held)
        if self._control is not None:
            self._send({"remove": number})
        if held.type == socket.SOCK_STREAM:
            with suppress(OSError):  # shutdown(2) takes a listening socket back to bound (Linux)
                held.shutdown(socket.SHUT_RDWR)
                held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)  # nobody may bind beside us

    def close(self) -> None:
        """Let the process go; it ends with its last connection."""
        for number in list(self._kept):
            self._loop.remove_reader(self._kept.pop(number)[0])
        if self._timer is not None:
            self._timer.cancel()
        self._drop()

    def _start(self) -> None:
        """A first client is there: start the process and hand all sockets over."""
        self._timer = None
        self._reap()
        for held, _ in self._kept.values():
            self._loop.remove_reader(held)
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            self.pid = _spawn(theirs.fileno())
        except OSError:
            ours.close()
            self._timer = self._loop.call_later(AGAIN, self._wait)
            return
        finally:
            theirs.close()
        self._control = ours
        ours.setblocking(False)
        self._loop.add_reader(ours, self._died)
        for number in self._kept:
            self._hand_over(number)

    def _wait(self) -> None:
        """Wait for the next client."""
        self._timer = None
        for held, _ in self._kept.values():
            self._loop.add_reader(held, self._start)

    def _hand_over(self, number: int) -> None:
        held, target = self._kept[number]
        self._send({"add": number, "target": target}, held.fileno())

    def _send(self, order: dict[str, object], *handles: int) -> None:
        if self._control is None:
            return
        try:
            socket.send_fds(self._control, [json.dumps(order).encode()], list(handles))
        except OSError:
            self._died()

    def _died(self) -> None:
        """The process has ended, or does not read its orders: the next client starts another."""
        self._drop()
        if self._timer is None:
            self._timer = self._loop.call_later(AGAIN, self._wait)

    def _drop(self) -> None:
        control, self._control = self._control, None
        if control is not None:
            self._loop.remove_reader(control)
            control.close()
        if self.pid:
            self._former.append(self.pid)
            self.pid = 0
        self._reap()

    def _reap(self) -> None:
        """Take the exit codes of those that have ended; one may have connections to finish."""
        for pid in list(self._former):
            with suppress(ChildProcessError):
                if os.waitpid(pid, os.WNOHANG)[0] == 0:
                    continue
            self._former.remove(pid)


def _spawn(handle: int) -> int:
    """Start the program with ``handle`` as its descriptor 3. 1-2 ms; gives the pid."""
    program = str(Path(__file__).with_name("forwarder.py"))
    argv = [sys.executable, "-I", "-S", program, "3"]
    actions = [(os.POSIX_SPAWN_DUP2, handle, 3)]
    return os.posix_spawn(sys.executable, argv, dict(os.environ), file_actions=actions, setsid=True)
