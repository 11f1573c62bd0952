"""ssh agents for RUN and git: the caller's own, or one that is started for a private key.

Comes in:  id to the path of an agent's socket or of a key.
Goes out:  sockets; a relay, so that a RUN's socket has an owner and a mode of its own.
Not here:  mounting (mounts). Source: ssh-agent(1); docker build --ssh.
"""

from __future__ import annotations

import os
import selectors
import socket
import stat
import subprocess
import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

from runtime.build import memory
from runtime.errors import BuildFailed

_CHUNK = 65536
# An agent looks every ten seconds whether its command lives; this one lives until we end, in whatever way,
# and ends the agent at once.
_COMMAND = "trap '' INT; echo ready; cat > /dev/null; kill $SSH_AGENT_PID"

Pairs = dict[socket.socket, socket.socket]


class Agents:
    """Of one build. told: as in BuildSpec.ssh; wanted: a directory in memory; held: ends what is started."""

    def __init__(self, told: Mapping[str, str], wanted: str, held: ExitStack) -> None:
        self._told, self._wanted, self._held = told, wanted, held
        self._lock = threading.Lock()
        self._started: dict[str, str] = {}

    def socket(self, name: str) -> str:
        """The socket of the agent ``name``, "" when none is given. Raises BuildFailed."""
        path = self._told.get(name, "")
        if not path:
            return ""
        try:
            mode = os.stat(path).st_mode
        except OSError as error:
            raise BuildFailed(f"the ssh agent or key {path} cannot be used: {error.strerror}") from error
        if stat.S_ISSOCK(mode):
            return path
        with self._lock:
            if path not in self._started:
                self._started[path] = self._start(path)
            return self._started[path]

    def _start(self, key: str) -> str:
        """An agent of our own that knows one key; it ends with the build."""
        where = str(memory.directory(self._wanted, self._held) / "agent")
        try:
            child = subprocess.Popen(
                ["ssh-agent", "-a", where, "sh", "-c", _COMMAND],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
            )
            self._held.callback(_end, child)
            assert child.stdout is not None
            if not child.stdout.readline():
                raise BuildFailed("ssh-agent could not be started")
            words = {**os.environ, "SSH_AUTH_SOCK": where, "SSH_ASKPASS": "true", "DISPLAY": ""}
            added = subprocess.run(
                ["ssh-add", "-q", key], env=words, capture_output=True, text=True, stdin=subprocess.DEVNULL
            )
        except FileNotFoundError as error:
            raise BuildFailed(
                f"'{key}' is a key, for which {error.filename} is needed", hint="install openssh-client"
            ) from error
        if added.returncode:
            raise BuildFailed(f"the key {key} cannot be used: {added.stderr.strip()}")
        return where


def _end(child: subprocess.Popen[bytes]) -> None:
    child.communicate()


@contextmanager
def relay(agent: str, path: Path, *, uid: int, gid: int, mode: int) -> Iterator[None]:
    """A socket at ``path`` with that owner and mode; every connection to it is one to ``agent``."""
    with ExitStack() as open_:
        listener = open_.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
        listener.bind(str(path))
        open_.callback(path.unlink, missing_ok=True)
        os.chown(path, uid, gid)
        path.chmod(mode)
        listener.listen()
        wake, end = socket.socketpair()
        open_.callback(wake.close)
        thread = threading.Thread(target=_pump, args=(listener, end, agent), name="ssh agent", daemon=True)
        thread.start()
        try:
            yield
        finally:
            wake.send(b"x")
            thread.join()
            end.close()


def _pump(listener: socket.socket, end: socket.socket, agent: str) -> None:
    """Pass bytes between each connection and one of its own to the agent, until ``end`` can be read."""
    with selectors.DefaultSelector() as ready:
        ready.register(listener, selectors.EVENT_READ)
        ready.register(end, selectors.EVENT_READ)
        other: Pairs = {}
        while True:
            for key, _ in ready.select():
                one = key.fileobj
                if one is end:
                    for open_ in other:
                        open_.close()
                    return
                if one is listener:
                    _accept(listener, agent, ready, other)
                elif isinstance(one, socket.socket) and one in other and not _pass(one, other[one]):
                    for gone in (one, other.pop(one)):
                        ready.unregister(gone)
                        other.pop(gone, None)
                        gone.close()


def _accept(
    listener: socket.socket,
    agent: str,
    ready: selectors.BaseSelector,
    other: dict[socket.socket, socket.socket],
) -> None:
    inner, _ = listener.accept()
    outer = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        outer.connect(agent)
    except OSError:  # the agent has gone: so has the connection
        inner.close()
        outer.close()
        return
    other[inner], other[outer] = outer, inner
    ready.register(inner, selectors.EVENT_READ)
    ready.register(outer, selectors.EVENT_READ)


def _pass(source: socket.socket, target: socket.socket) -> bool:
    try:
        data = source.recv(_CHUNK)
        target.sendall(data)
    except OSError:
        return False
    return bool(data)
