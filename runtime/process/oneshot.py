"""Run one container to its end, from an ordinary process (RUN of a build, maintainer scripts).

Comes in:  a ContainerSpec, an empty scratch directory on the file system of its upper layer.
Goes out:  an ExitRecord; the upper layer keeps what was written.
Not here:  long-lived containers (``runtime.container``). The work is done by a small helper process, so
           that this one may have threads and be large; when this one dies, helper and container die.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import socket
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from runtime.cgroup import apply as cgroup
from runtime.cgroup.layout import OURS, Layout, find, group
from runtime.errors import RuntimeFailure
from runtime.kernel import processes
from runtime.process import confinement, ending, world
from runtime.process.fresh import start
from runtime.process.launch import Launched, Order, launch
from runtime.process.messages import receive, revive, send, tell
from runtime.process.streams import NULL
from runtime.spec import ContainerSpec, ExitRecord, from_json, to_json

Output = Callable[[bytes], None]
_CHUNK = 65536
_GROUPS = "oneshot"  # control groups: pycompose/oneshot/<container>.<pid of the helper>
_GROUP = "[0-9a-f]" * 12 + ".[1-9]*"


class Stopped(RuntimeFailure):
    """The container was killed because its caller said so."""


def run(
    spec: ContainerSpec,
    *,
    scratch: Path,
    connect: Callable[[Path], None] | None = None,
    output: Output | None = None,
    warn: Callable[[str], None] = lambda text: None,
    stop: int | None = None,
) -> ExitRecord:
    """Run ``spec`` to its end and say how it ended.

    spec:    ``layers`` and ``upper`` name its tree; with no layers ``upper`` itself is the root.
    scratch: an empty directory, left with at most our work directories in it.
    connect: gets the path of the network namespace before the program starts.
    output:  gets standard output and error, merged, as they come; None throws them away.
    stop:    a descriptor; once it can be read, the container is killed: for callers in a thread of their own.
    Raises NotExecutable, CommandNotFound, Stopped, RuntimeFailure. KeyboardInterrupt kills the container
    first.
    """
    order = scratch / "order.json"
    order.write_text(json.dumps(to_json(spec)))
    (scratch / "seccomp").write_bytes(confinement.of(spec))
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    reader, writer = os.pipe2(os.O_CLOEXEC)
    helper = start(
        "runtime.process.oneshot",
        [str(scratch), str(theirs.fileno()), str(writer)],
        fds=(theirs.fileno(), writer),
    )
    theirs.close()
    os.close(writer)
    try:
        ready = _answer(ours)
        for text in ready["warnings"]:
            warn(text)
        if connect:
            connect(Path(f"/proc/{ready['pid']}/ns/net"))
        send(ours, {"go": True})
        return _follow(ours, reader, output or (lambda data: None), stop)
    finally:
        ours.close()  # the helper takes this as the order to kill, when it is still there
        os.close(reader)
        helper.wait()
        for name in ("order.json", "seccomp"):
            (scratch / name).unlink(missing_ok=True)


def _answer(channel: socket.socket) -> dict[str, Any]:
    message, _ = receive(channel)
    if message is None:
        raise RuntimeFailure("the helper process of a one-shot container died")
    if "error" in message:
        raise revive(message["error"])
    return message


def _follow(channel: socket.socket, reader: int, output: Output, stop: int | None) -> ExitRecord:
    """Pass output on until the exit is reported, then what the pipe still holds."""
    os.set_blocking(reader, False)
    poll = select.poll()
    poll.register(reader, select.POLLIN)
    poll.register(channel, select.POLLIN)
    if stop is not None:
        poll.register(stop, select.POLLIN)
    while True:
        ready = dict(poll.poll())
        if stop is not None and stop in ready:
            raise Stopped("the caller wants it no more")
        if reader in ready and not _copy(reader, output):
            poll.unregister(reader)
        if channel.fileno() in ready:
            message = _answer(channel)
            if "exit" in message:
                while _copy(reader, output):
                    pass
                return from_json(ExitRecord, message["exit"])


def _copy(reader: int, output: Output) -> bool:
    """Pass one chunk on. Returns whether there may be more."""
    try:
        data = os.read(reader, _CHUNK)
    except BlockingIOError:
        return False
    if data:
        output(data)
    return bool(data)


def main(arguments: Sequence[str]) -> int:
    """The helper: scratch directory, descriptors of channel and output pipe, two for ``world.enter``."""
    world.enter(arguments)
    processes.prctl(processes.PR_SET_DUMPABLE, 0)
    scratch, channel = Path(arguments[0]), socket.socket(fileno=int(arguments[1]))
    spec = from_json(ContainerSpec, json.loads((scratch / "order.json").read_text()))
    layout = find()
    cgroup.settle(layout)
    _sweep(layout)
    own = group(layout, _GROUPS, f"{spec.id[:12]}.{os.getpid()}", spec.limits.parent)
    writer = int(arguments[2])
    os.set_inheritable(writer, False)
    channel.set_inheritable(False)
    work, staging = scratch / "work", scratch / "root"
    work.mkdir(exist_ok=True)
    staging.mkdir(exist_ok=True)
    order = Order(
        spec=spec,
        group=own,
        upper=Path(spec.upper),
        work=work,
        staging=staging,
        stdio=(NULL, writer, writer),
        filter=(scratch / "seccomp").read_bytes(),
        deathsig=True,
        made=cgroup.make(own),
    )
    try:
        _serve(order, channel, writer)
    finally:
        cgroup.kill(own)
        cgroup.remove(own)
    return 0


def _sweep(layout: Layout) -> None:
    """Remove the control groups of helpers that were killed; what ran there died with them."""
    for root in layout.roots():
        for directory in (root / OURS / _GROUPS).glob(_GROUP):
            if not Path("/proc", directory.suffix[1:]).exists():
                with contextlib.suppress(OSError):  # somebody else sweeps as well
                    cgroup.remove(group(layout, _GROUPS, directory.name), patience=0.0)


def _serve(order: Order, channel: socket.socket, writer: int) -> None:
    child = launch(order)
    try:
        warnings, _ = child.ready()
        send(channel, {"pid": child.pid, "warnings": warnings})
        message, _ = receive(channel)
        if message is None:
            child.abort()
            return
        child.go()
    except BrokenPipeError:  # the caller has gone
        child.abort()
        return
    except RuntimeFailure as error:
        child.abort()
        tell(channel, error)
        return
    os.close(writer)
    send(channel, {"exit": to_json(_wait(child, order, channel))})


def _wait(child: Launched, order: Order, channel: socket.socket) -> ExitRecord:
    """Wait for the end; when the caller goes away first, bring it about."""
    pidfd = os.pidfd_open(child.pid)
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    poll.register(channel, select.POLLIN)
    while pidfd not in (ready := dict(poll.poll())):
        if channel.fileno() in ready:
            poll.unregister(channel)
            os.kill(child.pid, 9)
    _, status = os.waitpid(child.pid, 0)
    return ending.record(status, order.spec.limits.memory or 0, order.group)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
