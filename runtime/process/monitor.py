"""A container's monitor: parent of its pid 1, copier of its output, writer of its exit record.

Comes in:  a Start (forked by the spawner) and a connection to the supervisor.
Goes out:  exit.json, the log; reports over the connection, which is found again when lost.
Not here:  making pid 1 (``attempt``, ``launch``), deciding about restarts (``compose.engine``).

Said to a monitor: {"do": "start"}, {"do": "discard"}, {"do": "keep"} with descriptors that are only held
(those held before are closed) and, with the master of a terminal whose last monitor died,
{"do": "master"}. Said by one: {"created"}, {"started"}, {"error"}, {"exited"} and, on a new connection,
{"monitor": id, "pid": its own, "kept": how many}. With a tty the master's descriptor goes with "created" and
"monitor", so that the terminal outlives this process; the last ``kept`` of "monitor" are those it held.

Every page that is written here weighs once per container, reference counts included. So until the end
texts are passed on as they came, and little of Python is used.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import socket
import time
from collections.abc import Sequence
from typing import NamedTuple

from runtime.cgroup import apply as cgroup
from runtime.cgroup.layout import Group, Layout, group
from runtime.errors import RuntimeFailure
from runtime.kernel.processes import pidfd_exit_status, set_subreaper
from runtime.process import ending
from runtime.process.attempt import begin
from runtime.process.launch import Launched
from runtime.process.line import Revival, lock
from runtime.process.log import Log, PipeSource, Record, TerminalSource
from runtime.process.messages import receive_text, send_text, tell
from runtime.process.task import Task, task
from runtime.spec import to_json
from runtime.state import Place, alive, read_spec, write_json

PATIENCE = 0.2  # seconds that a new supervisor has to answer before we start one
_BUSY = 32  # chunks copied before other events are looked at
_GONE = {"status": "created", "pid": 0, "start_time": 0, "monitor": 0}


class Start(NamedTuple):
    """What a monitor needs to begin. ``records``: RUN/<project>/containers.

    ``passed`` are the caller's descriptors when stdio is "pass".
    """

    place: Place
    records: str
    layout: Layout
    revive: Sequence[str]
    channel: socket.socket | None = None
    passed: Sequence[int] = ()


class Monitor:
    """One container from its gate (or from its adoption) to its exit record.

    state: the text of state.json; begun: whether the gate was opened. kept: descriptors held for others;
    locks: that of monitor.lock.
    """

    def __init__(self, start: Start, task: Task) -> None:
        self.place, self.task, self.layout = start.place, task, start.layout
        self.record = f"{start.records}/{task.id}"
        self.revive = start.revive
        self.channel = start.channel
        self.revival: Revival | None = None
        self.child: Launched | None = None
        self.pid = 0
        self.locks: list[int] = []
        self.state = b""
        self.begun = False
        self.pipes: list[int] = []  # standard output and error, until something is in one
        self.sources: list[PipeSource | TerminalSource] = []
        self.master: int | None = None
        self.kept: list[int] = []
        self.pidfd = -1
        self.poll = select.poll()
        if self.channel is not None:
            self.poll.register(self.channel, select.POLLIN)

    @property
    def group(self) -> Group:
        """The container's control group."""
        return group(self.layout, self.place.run.name, self.task.id, self.task.parent)

    # --- a new container

    def create(self, start: Start) -> bool:
        """Make pid 1 up to its gate and say so. Returns False, with nothing left behind, when that failed.

        A helper forks pid 1 and ends, so that we inherit it and not the pages that making it touches.
        """
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        set_subreaper(True)
        helper = os.fork()
        if helper == 0:
            ours.close()
            begin(start.place, start.passed, self.task.pid, theirs, self.group)
        theirs.close()
        for fd in start.passed:
            os.close(fd)
        forked = os.waitpid(helper, 0)[1] == 0
        set_subreaper(False)  # orphans of a container without pids of its own are the spawner's
        text, fds = self._first_words(ours) if forked else receive_text(ours)
        if not text or text.startswith(b'{"error"'):
            if self.child is not None:
                self.child.abort()
            cgroup.remove(self.group)
            self._report_failure(text, "the container's first process died while it was being set up")
            return False
        self.state = _read(f"{self.record}/state.json")
        self._watch(self.pid)
        self._report(text, fds)
        if fds and self.task.stdio == "pass":
            os.close(fds[0])  # the caller's now
        elif fds:
            self.master = fds[0]
        self._open_sources()
        return True

    def start(self) -> bool:
        """Open the gate. Returns whether the program runs; the supervisor is told either way."""
        assert self.child is not None
        created = self.state
        running = created.replace(b'"status": "created"', b'"status": "running"', 1)
        self._write_state(b'%s, "started_at": %.6f}' % (running[:-1], time.time()))
        self.begun = True
        try:
            error = self.child.open_gate()
        except RuntimeFailure as failure:
            error, died = b"", failure.message
        else:
            died = ""
        if not error and not died:
            self._report(b'{"started": ' + self.state + b"}")
            return True
        self.begun = False
        self._write_state(json.dumps({**json.loads(created), **_GONE}).encode())
        self.discard()
        self._report_failure(error, died)
        return False

    def discard(self) -> None:
        """Nothing has run: end pid 1 at its gate and take everything back."""
        assert self.child is not None
        with contextlib.suppress(OSError):
            self.child.abort()
        cgroup.remove(self.group)
        self._close_sources()

    def _write_state(self, text: bytes) -> None:
        scratch = f"{self.record}/.state.{os.getpid()}"
        fd = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
        os.write(fd, text)
        os.close(fd)
        os.rename(scratch, f"{self.record}/state.json")  # noqa: PTH104  each use of pathlib weighs 40 KiB here
        self.state = text

    # --- a container whose monitor died

    def adopt(self, master: int | None) -> None:
        """Watch a pid 1 that somebody else is the parent of. Raises ProcessLookupError when it is gone."""
        self._watch(self.pid)
        self.master = master
        self._write_state(json.dumps({**json.loads(self.state), "monitor": os.getpid()}).encode())
        self._open_sources()

    def close_the_books(self) -> None:
        """Pid 1 ended while nobody watched."""
        self._open_sources()
        self._finish()

    # --- the life of both

    def serve(self) -> None:
        """Copy, answer, and wait for the end; returns when the exit is recorded and reported."""
        while True:
            ready = {fd for fd, _ in self.poll.poll(self._timeout())}
            if self.pipes and not ready.isdisjoint(self.pipes):
                self._attend()
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
            text, fds = receive_text(self.channel)
        except OSError:
            text, fds = b"", []
        if not text:
            self._lost()
        elif text == b'{"do": "keep"}':
            self.kept, fds = fds, self.kept
        elif text == b'{"do": "master"}' and not self.sources:
            self.master = fds.pop()
            self._open_sources()
        for fd in fds:
            os.close(fd)
        if text == b'{"do": "start"}':
            return self.start()
        if text == b'{"do": "discard"}':
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
        if not self.begun:
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
        """Introduce ourselves on a new connection, with the master when there is one and all we keep."""
        handed = [self.master] if self.master is not None else []
        text = b'{"monitor": "%s", "pid": %d, "kept": %d, "state": %s}'
        words = (self.task.id.encode(), os.getpid(), len(self.kept), self.state)
        self._report(text % words, [*handed, *self.kept])

    def _first_words(self, channel: socket.socket) -> tuple[bytes, list[int]]:
        """Learn the pid from the helper that is gone, and what pid 1 answers; the two come in any order."""
        text, fds = receive_text(channel)
        number, self.locks = (text, fds) if text.isdigit() else receive_text(channel)
        self.pid = int(number)
        self.child = Launched(self.pid, channel)
        return receive_text(channel) if text is number else (text, fds)

    def _watch(self, pid: int) -> None:
        self.pidfd = os.pidfd_open(pid)
        self.poll.register(self.pidfd, select.POLLIN)

    def _open_sources(self) -> None:
        """Listen to the output; what copies it is made when there is some."""
        if self.master is not None:
            self._log = Log(self.task.log, self.task.log_size, self.task.log_files)
            self._add(TerminalSource(self.master, self._log))
        elif self.task.stdio == "log" and not self.task.tty:
            flags = os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC
            self.pipes = [os.open(f"{self.record}/{name}", flags) for name in ("stdout", "stderr")]
            for fd in self.pipes:
                self.poll.register(fd, select.POLLIN)

    def _attend(self) -> None:
        """Something is in a pipe: open the log, and go on where a predecessor stopped."""
        pipes, self.pipes = self.pipes, []
        if not pipes:
            return
        self._log = Log(self.task.log, self.task.log_size, self.task.log_files)
        path = f"{self.record}/logged"
        fresh = not os.access(path, os.F_OK)
        record = Record(path)
        if fresh:
            record.begin(self._log.size)
        self._log.cut(record.log_size)
        self.sources = [PipeSource(fd, n, self._log, record) for n, fd in enumerate(pipes)]

    def _add(self, source: TerminalSource) -> None:
        self.sources = [source]
        self.poll.register(source.fd, select.POLLIN)

    def _close_sources(self) -> None:
        for source in self.sources:
            source.close()
        for fd in self.pipes:
            os.close(fd)
        self.sources, self.pipes = [], []

    def _finish(self) -> None:
        """Pid 1 is gone: the rest of its output, then the record, then the report, then the control group."""
        status = self._status()
        self._await_master()
        own = self.group
        if self.task.pid != "private":
            cgroup.kill(own)  # no pid namespace has taken its other processes with it
        self._attend()
        for source in self.sources:
            while source.copy():
                pass
            source.end()
        record = ending.record(status, self.task.memory, own)
        write_json(self.place.record / "exit.json", record)
        text = json.dumps({"exited": to_json(record)}).encode()
        while not self._report(text) and self._reconnect():
            if self.channel is None:
                time.sleep(0.02)
        self._close_sources()
        with contextlib.suppress(OSError):
            cgroup.remove(own)

    def _await_master(self) -> None:
        """After an adoption the supervisor still holds the terminal, and in it the last output."""
        until = time.monotonic() + 1.0
        while self.task.tty and self.task.stdio == "log" and not self.sources and time.monotonic() < until:
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
                    status = int(_read(f"{self.record}/status.{self.pid}"))
            if status is not None or time.monotonic() > until:
                return status
            time.sleep(0.005)

    def _report_failure(self, text: bytes, died: str) -> None:
        if text:
            self._report(text)
        elif self.channel is not None:
            tell(self.channel, RuntimeFailure(died))

    def _report(self, text: bytes, fds: Sequence[int] = ()) -> bool:
        """Tell the supervisor. Returns whether it could be told."""
        if self.channel is None:
            return False
        try:
            send_text(self.channel, text, fds)
        except OSError:
            self._lost()
            return False
        return True


def create(start: Start, task: Task) -> None:
    """A forked spawner child becomes the monitor of a new container; returns when that has ended."""
    _set_name(task.name)
    monitor = Monitor(start, task)
    if monitor.create(start):
        monitor.serve()


def adopt(start: Start, master: int | None = None) -> None:
    """A forked spawner child takes over a container that runs without a monitor; nothing when it has one."""
    record = start.place.record
    held = lock(record / "monitor.lock")
    if held is None:
        return
    text = (record / "state.json").read_bytes()
    state = json.loads(text)
    if state["status"] not in ("running", "paused") or (record / "exit.json").exists():
        return
    spec = read_spec(start.place.data, start.place.id)
    _set_name(spec.name)
    monitor = Monitor(start, task(spec, start.place, running=True))
    monitor.state, monitor.pid, monitor.begun = text, state["pid"], True
    try:
        if not alive(state["pid"], state["start_time"]):
            raise ProcessLookupError
        monitor.adopt(master)
    except ProcessLookupError:
        return monitor.close_the_books()
    if monitor.channel is not None:
        monitor.hello()
    monitor.serve()


def _set_name(name: str) -> None:
    """What ps shows: 15 bytes. prctl(2) would do it too, ctypes touches more pages."""
    fd = os.open("/proc/self/comm", os.O_WRONLY | os.O_CLOEXEC)
    os.write(fd, f"monitor {name}".encode()[:15])
    os.close(fd)


def _read(path: str) -> bytes:
    """A whole small file, without the layers of ``open``."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.read(fd, 1 << 16)
    finally:
        os.close(fd)
