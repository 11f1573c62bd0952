"""The spawner: small, single-threaded, parent of every monitor, second parent of every pid 1.

Comes in:  requests of the supervisor, with descriptors; connections of ``exec`` to RUN/<project>/exec.sock.
Goes out:  forked monitors, probes, and sessions of ``exec``; a revived supervisor when it is gone.
Not here:  what a monitor does. Standard library only: what is imported here is what each monitor weighs.

Said to it: {"do": "adopt"|"exec"|"sweep"|"close", "id": ...}, and ``task.pack`` to create; the first
descriptor of create, adopt and exec is the new process's own connection to the supervisor. What exec runs
comes over that connection: the spawner never holds it, and no other container's process is forked with it.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import select
import signal
import socket
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from runtime.cgroup.apply import settle
from runtime.cgroup.devices import DEFAULT
from runtime.cgroup.layout import find
from runtime.cgroup.leave import leave
from runtime.cgroup.writes import writes
from runtime.inside.remove import delete
from runtime.kernel import processes
from runtime.process import capture, monitor, session, world
from runtime.process.line import EXEC_SOCKET, Revival, listen, lock, peer
from runtime.process.log import lines
from runtime.process.messages import receive, receive_text, send
from runtime.process.rehearsal import rehearse
from runtime.process.task import CREATE, unpack
from runtime.rootfs.decide import decide
from runtime.spec import ContainerSpec, ContainerState, ExecSpec, from_json, to_json
from runtime.state import Place
from schemas.frozen import replace


class Spawner:
    """The loop: requests, dead children, a lost supervisor."""

    def __init__(
        self, run: Path, data: Path, channel: socket.socket, revive: Sequence[str], held: int
    ) -> None:
        self.run, self.data, self.revive = run, data, revive
        self.records = f"{run}/containers"
        self.channel: socket.socket | None = channel
        self.held = held  # the lock that says that this project has a spawner
        self.layout = find()
        self.monitors: dict[int, str] = {}  # pid of the monitor -> container
        self.orphans: dict[int, str] = {}  # pid 1 whose monitor died -> container
        self.unclaimed: dict[int, int] = {}  # pid -> status of a child that we know nothing of yet
        self.others: set[int] = set()
        self.revival: Revival | None = None
        self.closing = False
        self.poll = select.poll()
        self.door = listen(run, EXEC_SOCKET)
        self.wake, self._waker = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(self._waker, warn_on_full_buffer=False)

    def serve(self) -> None:
        """Until the supervisor says close."""
        self.poll.register(self.wake, select.POLLIN)
        self.poll.register(self.door, select.POLLIN)
        if self.channel is not None:
            self.poll.register(self.channel, select.POLLIN)
        while not (self.closing and not self.others):
            ready = {fd for fd, _ in self.poll.poll(None if self.channel else 20)}
            if self.wake in ready:
                with contextlib.suppress(BlockingIOError):
                    os.read(self.wake, 4096)
                self._reap()
            if self.door.fileno() in ready:
                self._guest()
            if self.channel is not None and self.channel.fileno() in ready:
                self._request()
            if self.channel is None and not self.closing:
                self._reconnect()

    def _guest(self) -> None:
        """A command wants to run something in a container: a child of ours reads what, and serves it."""
        try:
            guest, _ = self.door.accept()
        except OSError:  # it has gone again, or there are no descriptors left: it asks again
            return
        with guest:
            if peer(guest)[1] in (0, os.geteuid()):
                here = (self.run, self.data, self.layout)
                self.others.add(self._fork(lambda: session.serve(guest, *here)))

    def _request(self) -> None:
        assert self.channel is not None
        try:
            text, fds = receive_text(self.channel)
        except OSError:
            text, fds = b"", []
        if not text:
            self.poll.unregister(self.channel)
            self.channel.close()
            self.channel = None
            return
        try:
            if text.startswith(CREATE):
                self._create(text, fds)
            else:
                self._do(json.loads(text), fds)
        finally:
            for fd in fds:
                os.close(fd)

    def _create(self, text: bytes, fds: list[int]) -> None:
        """Fork a monitor, which reads the request: what is written here until the next fork is its burden."""
        id = text.split(b"\0", 2)[1].decode()
        self.monitors[self._fork(lambda: monitor.create(self._start(id, fds), unpack(text)))] = id

    def _do(self, message: dict[str, Any], fds: list[int]) -> None:
        verb, id = message["do"], message.get("id", "")
        if verb == "adopt":
            self._adopt(id, fds)
        elif verb == "exec":
            place = Place(self.run, self.data, id)
            self.others.add(self._fork(lambda: capture.run(place, self.layout, _connection(fds))))
        elif verb == "sweep":
            self.others.add(self._fork(self._sweep))
        elif verb == "close":
            self.closing = True

    def _start(self, id: str, fds: Sequence[int]) -> monitor.Start:
        """In the child: descriptors of the request become the monitor's own."""
        return monitor.Start(
            place=Place(self.run, self.data, id),
            records=self.records,
            layout=self.layout,
            revive=self.revive,
            channel=_connection(fds) if fds else None,
            passed=tuple(fds[1:]),
        )

    def _adopt(self, id: str, fds: Sequence[int]) -> None:
        self.monitors[self._fork(lambda: monitor.adopt(self._start(id, fds[:1]), *fds[1:2]))] = id

    def _fork(self, body: Callable[[], None]) -> int:
        """Fork; the child runs ``body`` and exits: 0, or 1 after an exception written to stderr."""
        pid = os.fork()
        if pid:
            return pid
        code = 1
        try:
            signal.set_wakeup_fd(-1)  # the handler, which does nothing, may stay
            os.close(self.wake)
            os.close(self._waker)
            os.close(self.held)
            self.door.close()
            if self.channel is not None:
                self.channel.close()
            body()
            code = 0
        except BaseException:  # the last frame of a forked process: it must not run its parent's code
            traceback.print_exc()
        finally:
            os._exit(code)

    def _reap(self) -> None:
        """Collect every dead child first, then deal with them: a monitor and its pid 1 may come together."""
        lost = []
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                break
            if not pid:
                break
            if pid in self.monitors:
                lost += [self.monitors.pop(pid)]
            elif pid in self.orphans:
                self._write_status(self.orphans.pop(pid), pid, status)
            elif pid in self.others:
                self.others.discard(pid)
            else:
                self.unclaimed[pid] = status
        for id in lost:
            self._replace(id)
        if not self.monitors:
            self.unclaimed.clear()

    def _replace(self, id: str) -> None:
        """A monitor ended: when its container has no exit record, its pid 1 is ours now."""
        record = Place(self.run, self.data, id).record
        try:
            state = json.loads((record / "state.json").read_bytes())
        except OSError:
            return
        if state["status"] not in ("running", "paused") or (record / "exit.json").exists():
            return
        pid = state["pid"]
        if pid in self.unclaimed:
            self._write_status(id, pid, self.unclaimed.pop(pid))
        else:
            self.orphans[pid] = id
        self._adopt(id, [])

    def _write_status(self, id: str, pid: int, status: int) -> None:
        write_status(Place(self.run, self.data, id), pid, status)

    def _sweep(self) -> None:
        """Delete what was thrown into the trash, at leisure."""
        with contextlib.suppress(OSError):
            os.nice(10)
        with contextlib.suppress(FileNotFoundError):
            for entry in os.scandir(self.data / "trash"):
                delete(entry.path)

    def _reconnect(self) -> None:
        if self.revival is None:
            self.revival = Revival(self.run, self.revive, patience=0.0)
        found = self.revival.look()
        if found is not None:
            self.channel, self.revival = found, None
            self.poll.register(found, select.POLLIN)
            send(found, {"spawner": os.getpid()})
        elif not self.run.is_dir():
            self.closing = True  # the project was removed by hand


def write_status(place: Place, pid: int, status: int) -> None:
    """Leave a wait status for the monitor that is not the parent."""
    scratch = place.record / f".status.{os.getpid()}"
    with contextlib.suppress(FileNotFoundError):
        scratch.write_text(str(status))
        scratch.replace(place.record / f"status.{pid}")


def _warm_up() -> None:
    """Do once what is computed at first use, so that forked children find it done, in shared pages."""
    sample = {"id": "0" * 64, "name": "sample", "argv": ["true"], "layers": ["/"], "mounts": [], "limits": {}}
    spec = from_json(
        ContainerSpec, {**sample, "namespaces": {}, "ulimits": [{"name": "core", "soft": 0, "hard": 0}]}
    )
    state = from_json(ContainerState, {"id": "0", "name": "sample", "status": "created", "exit": {"code": 0}})
    from_json(ExecSpec, {"argv": ["true"]})
    json.dumps(to_json(replace(state, pid=1)))
    decide(spec, upper="/upper", work="/work")
    writes(spec.limits, 1, str, DEFAULT)
    layout = find()
    for _ in range(8):
        rehearse(layout)
    lines(b"one\ntwo", "stdout", time.time_ns())


def _connection(fds: Sequence[int]) -> socket.socket:
    return socket.socket(fileno=fds[0])


def main(arguments: Sequence[str]) -> int:
    """Arguments: the descriptor of the connection, whose first message says {"run", "data", "revive"}; two
    for ``world.enter``.

    So the supervisor starts it before it knows its project, and both warm up side by side.
    """
    world.enter(arguments)
    processes.prctl(processes.PR_SET_DUMPABLE, 0)  # and so what it forks is from its first moment on
    channel = socket.socket(fileno=int(arguments[0]))
    channel.set_inheritable(False)
    processes.prctl(processes.PR_SET_CHILD_SUBREAPER, 1)
    processes.set_name("pycompose-spawn")
    leave()  # and with it every monitor
    settle(find())
    _warm_up()
    task, _ = receive(channel)
    if task is None:
        return 0
    run = Path(task["run"])
    held = lock(run / "spawner.lock", wait=True)
    assert held is not None
    log = os.open(run / "supervisor.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    os.dup2(log, 2)
    os.close(log)
    spawner = Spawner(run, Path(task["data"]), channel, task["revive"], held)
    gc.collect()
    gc.freeze()
    gc.disable()  # a monitor makes no cycles worth a walk over every page that it shares with us
    spawner.serve()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
