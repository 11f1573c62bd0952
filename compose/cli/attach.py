"""``pycompose attach``: the caller's streams joined with those of a service's main process.

Output is read from the container's log, from now on; input goes to its terminal or its standard input.
"""

import os
import select
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from compose.cli import report
from compose.cli.options import Index, OneService, Option
from compose.cli.scope import Scope, unknown_service
from compose.errors import UsageError

if TYPE_CHECKING:
    from compose.cli.containers import Container
    from compose.engine.follow import Follower, Tail

CHUNK = 1 << 16
_PASSED_ON = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2)


def run(
    scope: Scope,
    service: OneService,
    *,
    detach_keys: Annotated[
        str, Option("--detach-keys", metavar="KEYS", help="Override the key sequence for detaching")
    ] = "",
    index: Index = None,
    no_stdin: Annotated[bool, Option("--no-stdin", help="Do not attach STDIN")] = False,
    sig_proxy: Annotated[
        bool, Option("--sig-proxy", help="Proxy all received signals to the process")
    ] = True,
) -> int:
    """Attach local standard input, output, and error streams to a service's running container"""
    from compose.cli import containers
    from compose.engine.follow import Follower, Tail
    from runtime.process import detach

    try:
        keys = detach.keys(detach_keys or detach.DEFAULT)
    except ValueError as failure:
        raise UsageError(f"--detach-keys: {failure}", hint="write keys as 'ctrl-p,ctrl-q'") from None
    scope.require_rights()
    identity = scope.identity()
    found = containers.of_project(scope.places, identity.name)
    if service not in (known := {*identity.known, *(c.service for c in found)}):
        raise unknown_service(service, known)
    container = containers.pick(found, service, index)
    if container.status == "paused":
        raise UsageError(f"container {container.name} is paused", hint="pycompose unpause")
    if scope.dry_run:
        return 0
    if not container.spec.log:
        report.warn("the output of this container is not logged: there is nothing to be seen")
    run_directory = scope.places.project_run(identity.name)
    with ExitStack() as undo:
        follower = undo.enter_context(Follower(run_directory, wanted=lambda name: False))
        follower.watch(Path(container.spec.log or "/").parent, written=True)
        follower.watch(run_directory / "containers" / container.spec.id)
        tail = Tail(Path(container.spec.log or "/dev/null"), container.name, at_end=True)
        undo.callback(tail.close)
        stay = _Attached(scope, identity.name, container, follower, tail)
        if sig_proxy:
            undo.enter_context(_signals_to(stay.pass_on))
        target = -1 if no_stdin else stay.input(undo)
        return stay.until_end(target, keys)


class _Attached:
    """One attached command from its beginning to the end of the container."""

    def __init__(
        self, scope: Scope, project: str, container: "Container", follower: "Follower", tail: "Tail"
    ) -> None:
        self.scope = scope
        self.project = project
        self.container = container
        self.follower = follower
        self.tail = tail
        self._rest = b""

    def input(self, undo: ExitStack) -> int:
        """Where what is typed goes: the container's terminal, its standard input, or -1 for nowhere."""
        spec = self.container.spec
        if spec.tty:
            from runtime.process import relay

            master = self._master()
            undo.callback(os.close, master)
            relay.resize(master)
            before = signal.signal(signal.SIGWINCH, lambda *_: relay.resize(master))
            undo.callback(signal.signal, signal.SIGWINCH, before)
            undo.enter_context(relay.raw())
            return master
        if not spec.stdin_open:
            return -1
        pipe = self.scope.places.project_run(self.project) / "containers" / spec.id / "stdin"
        fd = os.open(pipe, os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        undo.callback(os.close, fd)
        return fd

    def until_end(self, target: int, keys: bytes) -> int:
        """Copy both ways until the container has ended; its exit code."""
        from runtime.process.detach import Detach

        typed = Detach(keys if self.container.spec.tty and os.isatty(0) else b"")
        while True:
            self._print()
            code = self._code()
            if code is not None:
                self._print()
                return code
            self.follower.wait(*((0,) if target >= 0 else ()))
            if target >= 0 and select.select([0], [], [], 0)[0]:
                data = os.read(0, CHUNK)
                passed, left = typed.feed(data)
                with suppress(OSError):  # nobody in the container reads any more
                    os.write(target, passed)
                if left:
                    raise UsageError("read escape sequence")
                target = target if data else -1

    def pass_on(self, number: int) -> None:
        """Send our signal on to the container's process."""
        from compose.supervisor import client

        told = {"ids": [self.container.spec.id], "signal": str(number)}
        for _ in client.request(self.project, "kill", told, places=self.scope.places):
            pass

    def _master(self) -> int:
        from compose.supervisor import client

        ours, theirs = socket.socketpair()
        with ours, theirs:
            told = {"id": self.container.spec.id}
            fds = (theirs.fileno(),)
            for _ in client.request(self.project, "terminal", told, fds=fds, places=self.scope.places):
                pass
            _, found, _, _ = socket.recv_fds(ours, 1, 1)
        return found[0]

    def _print(self) -> None:
        """Write what the process has written, lines that have no end yet as well."""
        *records, self._rest = (self._rest + b"".join(self.tail.blocks())).split(b"\n")
        for record in records:
            parts = record.split(b" ", 3)
            if len(parts) == 4:
                out = sys.stderr.buffer if parts[1] == b"stderr" else sys.stdout.buffer
                out.write(parts[3] + (b"\n" if parts[2] == b"F" else b""))
                out.flush()

    def _code(self) -> int | None:
        """How the container has ended, None as long as it has not."""
        from compose.cli import containers

        now = [
            c
            for c in containers.of_project(self.scope.places, self.project)
            if c.spec.id == self.container.spec.id
        ]
        if not now:
            return 0
        end = now[0].state.exit
        if now[0].running or end is None:
            return None
        return 255 if end.code is None else end.code


@contextmanager
def _signals_to(pass_on: Callable[[int], None]) -> Iterator[None]:
    before = {number: signal.signal(number, lambda n, _frame: pass_on(n)) for number in _PASSED_ON}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
