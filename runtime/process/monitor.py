"""A container's monitor: parent of its pid 1, copier of its output, writer of its exit record.

Comes in:  a Start (forked by the spawner) and a connection to the supervisor.
Goes out:  state.json, exit.json, the log; reports over the connection, which is found again when lost.
Not here:  making pid 1 (``launch``), deciding about restarts (``compose.engine``).

Said to a monitor: {"do": "start"}, {"do": "discard"} and, with the master of a terminal whose last monitor
died, {"do": "master"}. Said by one: {"created"}, {"started"}, {"error"}, {"exited"} and, on a
new connection, {"monitor": id, "pid": its own}. With a tty the master's descriptor goes with "created"
and "monitor", so that the terminal outlives this process.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import socket
import time
from collections.abc import Sequence
from pathlib import Path

from runtime.cgroup import apply as cgroup
from runtime.cgroup.layout import Group, Layout, group
from runtime.errors import RuntimeFailure
from runtime.kernel.processes import pidfd_exit_status, set_name
from runtime.process import ending
from runtime.process.joins import joins
from runtime.process.launch import Launched, Order, launch
from runtime.process.line import Revival, lock
from runtime.process.log import Log, PipeSource, Record, TerminalSource
from runtime.process.messages import describe, receive, send, tell
from runtime.spec import ContainerSpec, ContainerState, to_json
from runtime.state import Place, alive, read_spec, start_time, write_json
from schemas.frozen import dataclass, replace

PATIENCE = 0.2  # seconds that a new supervisor has to answer before we start one
_BUSY = 32  # chunks copied before other events are looked at


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """What a monitor needs to begin; ``passed`` are the caller's descriptors when stdio is "pass"."""

    place: Place
    layout: Layout
    revive: Sequence[str]
    channel: socket.socket | None = None
    passed: Sequence[int] = ()


class Monitor:
    """One container from its gate (or from its adoption) to its exit record."""

    def __init__(self, start: Start, spec: ContainerSpec, state: ContainerState, own: Group) -> None:
        self.place, self.spec, self.state, self.group = start.place, spec, state, own
        self.revive = start.revive
        self.channel = start.channel
        self.revival: Revival | None = None
        self.child: Launched | None = None
        self.sources: list[PipeSource | TerminalSource] = []
        self.master: int | None = None
        self.pidfd = -1
        self.poll = select.poll()

    # --- a new container

    def create(self, passed: Sequence[int]) -> None:
        """Make pid 1 up to its gate and say so; raises RuntimeFailure with nothing left behind."""
        (self.place.record / "exit.json").unlink(missing_ok=True)
        stdio = self._open_streams(passed)
        order = Order(
            spec=self.spec,
            group=self.group,
            upper=Path(self.spec.upper) if self.spec.upper else self.place.kept / "upper",
            work=self.place.kept / "work",
            staging=self.place.record / "root",
            stdio=stdio,
            joins=joins(self.spec, self.place),
            filter=(self.place.record / "seccomp").read_bytes(),
        )
        for directory in (order.upper, order.work, order.staging):
            directory.mkdir(parents=True, exist_ok=True)
        self.child = launch(order)
        for fd in stdio:
            os.close(fd)
        try:
            warnings, self.master = self.child.ready()
        except RuntimeFailure:
            self.child.abort()
            cgroup.remove(self.group)
            raise
        self._created(warnings)

    def _open_streams(self, passed: Sequence[int]) -> tuple[int, ...]:
        """The three descriptors of the program: named pipes opened O_RDWR outlive every reader."""
        if self.spec.stdio == "pass" and not self.spec.tty:
            return tuple(passed)
        if self.spec.tty:
            return ()
        names = ("stdin", "stdout", "stderr") if self.spec.stdin_open else ("stdout", "stderr")
        for name in names:
            (self.place.record / name).unlink(missing_ok=True)
            os.mkfifo(self.place.record / name, 0o600)
        (self.place.record / "logged").unlink(missing_ok=True)
        first = self.place.record / "stdin" if self.spec.stdin_open else Path("/dev/null")
        flags = os.O_RDWR | os.O_CLOEXEC
        return (
            os.open(first, flags),
            *(os.open(self.place.record / name, flags) for name in ("stdout", "stderr")),
        )

    def _created(self, warnings: list[str]) -> None:
        assert self.child is not None
        pid = self.child.pid
        self.state = replace(
            self.state,
            status="created",
            pid=pid,
            start_time=start_time(pid),
            monitor=os.getpid(),
            created_at=time.time(),
        )
        write_json(self.place.record / "state.json", self.state)
        self._watch(pid)
        handed = [self.master] if self.master is not None else []
        self._report({"created": to_json(self.state), "warnings": warnings}, handed)
        if self.spec.stdio == "pass" and self.master is not None:
            os.close(self.master)  # the caller's now
            self.master = None
        self._open_sources()

    def start(self) -> bool:
        """Open the gate. Returns whether the program runs; the supervisor is told either way."""
        assert self.child is not None
        self.state = replace(self.state, status="running", started_at=time.time())
        write_json(self.place.record / "state.json", self.state)
        try:
            self.child.go()
        except RuntimeFailure as error:
            self.state = replace(self.state, status="created", pid=0, start_time=0, monitor=0)
            write_json(self.place.record / "state.json", self.state)
            self.discard()
            self._report({"error": describe(error)})
            return False
        self._report({"started": to_json(self.state)})
        return True

    def discard(self) -> None:
        """Nothing has run: end pid 1 at its gate and take everything back."""
        assert self.child is not None
        with contextlib.suppress(OSError):
            self.child.abort()
        cgroup.remove(self.group)
        self._close_sources()

    # --- a container whose monitor died

    def adopt(self, master: int | None) -> None:
        """Watch a pid 1 that somebody else is the parent of."""
        self.master = master
        self.state = replace(self.state, monitor=os.getpid())
        write_json(self.place.record / "state.json", self.state)
        self._open_sources()
        self._watch(self.state.pid)

    def close_the_books(self) -> None:
        """Pid 1 ended while nobody watched."""
        self._open_sources()
        self._finish()

    # --- the life of both

    def serve(self) -> None:
        """Copy, answer, and wait for the end; returns when the exit is recorded and reported."""
        if self.channel is not None:
            self.poll.register(self.channel, select.POLLIN)
        for source in self.sources:
            self.poll.register(source.fd, select.POLLIN)
        while True:
            ready = {fd for fd, _ in self.poll.poll(self._timeout())}
            for source in self.sources:
                if source.fd in ready:
                    self._copy(source)
            if self.channel is not None and self.channel.fileno() in ready and not self._command():
                return
            if self.pidfd in ready:
                self._finish()
                return
            if self.channel is None and not self._reconnect():
                return

    def _copy(self, source: PipeSource | TerminalSource) -> None:
        for _ in range(_BUSY):
            if not source.copy():
                return

    def _command(self) -> bool:
        """Take one message. Returns False when this monitor's work is over."""
        assert self.channel is not None
        try:
            message, fds = receive(self.channel)
        except OSError:
            message, fds = None, []
        if message is not None and message.get("do") == "master" and not self.sources:
            self.master = fds.pop()
            self._open_sources()
            for source in self.sources:
                self.poll.register(source.fd, select.POLLIN)
        for fd in fds:
            os.close(fd)
        if message is None:
            self._lost()
        elif message.get("do") == "start":
            return self.start()
        elif message.get("do") == "discard":
            self.discard()
            return False
        return True

    def _lost(self) -> None:
        assert self.channel is not None
        self.poll.unregister(self.channel)
        self.channel.close()
        self.channel = None

    def _timeout(self) -> float | None:
        return None if self.channel is not None else 20.0

    def _reconnect(self) -> bool:
        """Find a supervisor. Returns False when there is nothing to keep alive: the gate was never opened."""
        if self.state.status == "created":
            self.discard()
            return False
        if self.revival is None:
            self.revival = Revival(self.place.run, self.revive, patience=PATIENCE)
        found = self.revival.look()
        if found is not None:
            self.channel, self.revival = found, None
            self.poll.register(found, select.POLLIN)
            self.hello()
        return True

    def hello(self) -> None:
        """Introduce ourselves on a new connection, with the master when there is one."""
        handed = [self.master] if self.master is not None else []
        self._report({"monitor": self.spec.id, "pid": os.getpid(), "state": to_json(self.state)}, handed)

    def _watch(self, pid: int) -> None:
        self.pidfd = os.pidfd_open(pid)
        self.poll.register(self.pidfd, select.POLLIN)

    def _open_sources(self) -> None:
        if self.master is not None:
            self.log = Log(self.spec.log, self.spec.log_size, self.spec.log_files)
            self.sources = [TerminalSource(self.master, self.log)]
        elif self.spec.stdio == "log" and not self.spec.tty:
            self.log = Log(self.spec.log, self.spec.log_size, self.spec.log_files)
            fresh = not (self.place.record / "logged").exists()
            record = Record(self.place.record / "logged")
            if fresh:
                record.begin(self.log.size)
            self.log.cut(record.log_size)
            flags = os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC
            names = ("stdout", "stderr")
            fds = [os.open(self.place.record / name, flags) for name in names]
            self.sources = [PipeSource(fd, n, self.log, record) for n, fd in enumerate(fds)]

    def _close_sources(self) -> None:
        for source in self.sources:
            source.close()
        self.sources = []

    def _finish(self) -> None:
        """Pid 1 is gone: the rest of its output, then the record, then the report, then the control group."""
        status = self._status()
        self._await_master()
        if self.spec.namespaces.pid != "private":
            cgroup.kill(self.group)  # no pid namespace has taken its other processes with it
        for source in self.sources:
            while source.copy():
                pass
        record = ending.record(status, self.spec, self.group)
        write_json(self.place.record / "exit.json", record)
        while not self._report({"exited": to_json(record)}) and self._reconnect():
            if self.channel is None:
                time.sleep(0.02)
        self._close_sources()
        with contextlib.suppress(OSError):
            cgroup.remove(self.group)

    def _await_master(self) -> None:
        """After an adoption the supervisor still holds the terminal, and in it the last output."""
        until = time.monotonic() + 1.0
        while self.spec.tty and self.spec.stdio == "log" and not self.sources and time.monotonic() < until:
            if self.channel is None:
                self._reconnect()
                time.sleep(0.005)
            elif select.select([self.channel], [], [], 0.1)[0]:
                self._command()

    def _status(self) -> int | None:
        """The wait status: our own child's, or what its reaper wrote down, or what the kernel still knows."""
        if self.child is not None:
            return os.waitpid(self.child.pid, 0)[1]
        until = time.monotonic() + 0.5
        while True:
            status = pidfd_exit_status(self.pidfd) if self.pidfd >= 0 else None
            if status is None:
                with contextlib.suppress(OSError, ValueError):
                    status = int((self.place.record / f"status.{self.state.pid}").read_text())
            if status is not None or time.monotonic() > until:
                return status
            time.sleep(0.005)

    def _report(self, message: dict[str, object], fds: Sequence[int] = ()) -> bool:
        """Tell the supervisor. Returns whether it could be told."""
        if self.channel is None:
            return False
        try:
            send(self.channel, message, list(fds))
        except OSError:
            self._lost()
            return False
        return True


def create(start: Start) -> None:
    """A forked spawner child becomes the monitor of a new container; returns when that has ended."""
    channel = start.channel
    assert channel is not None
    held = lock(start.place.record / "monitor.lock", wait=True)  # the last one may still be tidying up
    try:
        spec = read_spec(start.place.data, start.place.id)
        set_name(f"monitor {spec.name}"[:15])
        own = group(start.layout, start.place.run.name, spec.id, spec.limits.parent)
        monitor = Monitor(start, spec, ContainerState(id=spec.id, name=spec.name, status="created"), own)
        monitor.create(start.passed)
    except RuntimeFailure as error:
        tell(channel, error)
        return
    monitor.serve()
    if held is not None:
        os.close(held)


def adopt(start: Start, master: int | None = None) -> None:
    """A forked spawner child takes over a container that runs without a monitor; nothing when it has one."""
    held = lock(start.place.record / "monitor.lock")
    if held is None:
        return
    raw = json.loads((start.place.record / "state.json").read_bytes())
    if raw["status"] != "running" or (start.place.record / "exit.json").exists():
        return
    spec = read_spec(start.place.data, start.place.id)
    set_name(f"monitor {spec.name}"[:15])
    state = ContainerState(**{**raw, "exit": None})
    own = group(start.layout, start.place.run.name, spec.id, spec.limits.parent)
    monitor = Monitor(start, spec, state, own)
    if alive(state.pid, state.start_time):
        monitor.adopt(master)
        if monitor.channel is not None:
            monitor.hello()
        monitor.serve()
    else:
        monitor.close_the_books()
