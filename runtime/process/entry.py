"""Fork a further process into a running container.

Comes in:  the container's spec and state, an ExecSpec, its group, three descriptors or none for a tty.
Goes out:  an Entered: the process's pid, and with a tty the master.
Not here:  relaying (``enter``), probing (``capture``).
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
from collections.abc import Sequence
from pathlib import Path

from runtime.cgroup import birth
from runtime.cgroup.layout import Group
from runtime.errors import RuntimeFailure
from runtime.kernel import processes
from runtime.kernel.namespaces import Clone, setns
from runtime.process import identity, imports
from runtime.process.messages import receive, revive, send, tell
from runtime.spec import ContainerSpec, ContainerState, ExecSpec
from runtime.state import alive
from schemas.frozen import dataclass

_KINDS = Clone.NEWNS | Clone.NEWNET | Clone.NEWIPC | Clone.NEWUTS | Clone.NEWCGROUP


@dataclass(frozen=True, slots=True)
class Entered:
    """A child of ours that runs in the container; ``master`` is -1 without a tty."""

    pid: int
    master: int = -1


def fork_into(
    spec: ContainerSpec, state: ContainerState, run: ExecSpec, own: Group, record: Path, stdio: Sequence[int]
) -> Entered:
    """Start ``run`` inside the container and return when execve(2) has worked.

    record: RUN/<project>/containers/<id>, where the compiled seccomp program lies.
    stdio:  three descriptors, () with a tty. Raises NotExecutable, CommandNotFound, RuntimeFailure.
    """
    who = identity.of_exec(spec, run, _filter(record))
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    pidfd = _open(state)
    back = os.open("/proc/self/ns/pid", os.O_RDONLY | os.O_CLOEXEC)
    try:
        setns(pidfd, Clone.NEWPID)  # for our next child only
        pid, born = birth.fork(own)
        if pid == 0:
            ours.close()
            _child(who, own, pidfd, theirs, stdio, born=born)
    finally:
        setns(back, Clone.NEWPID)
        os.close(back)
        os.close(pidfd)
        theirs.close()
    with ours:
        return _started(pid, ours)


def _started(pid: int, channel: socket.socket) -> Entered:
    master = -1
    while True:
        message, fds = receive(channel)
        if message is None:
            return Entered(pid, master)
        if "error" in message:
            os.waitpid(pid, 0)
            if master >= 0:
                os.close(master)
            raise revive(message["error"])
        master = fds[0]


def _open(state: ContainerState) -> int:
    """A pidfd of pid 1; its start time is looked at after opening, so that the number cannot be another's."""
    with contextlib.suppress(ProcessLookupError):
        pidfd = os.pidfd_open(state.pid) if state.pid else -1
        if pidfd >= 0 and alive(state.pid, state.start_time):
            return pidfd
        if pidfd >= 0:
            os.close(pidfd)
    raise RuntimeFailure(f"container '{state.name}' is not running", exit_code=1)


def _filter(record: Path) -> bytes:
    try:
        return (record / "seccomp").read_bytes()
    except FileNotFoundError:
        raise RuntimeFailure("the container's record is incomplete: its seccomp program is missing") from None


def _child(
    who: identity.Identity,
    own: Group,
    pidfd: int,
    channel: socket.socket,
    stdio: Sequence[int],
    *,
    born: bool,
) -> None:
    """Never returns. The control group comes first: its files are out of sight afterwards."""
    code = 126
    try:
        processes.prctl(processes.PR_SET_DUMPABLE, 0)
        os.setsid()
        os.umask(0o022)
        if who.tty:  # imported while the host's files are in sight; brings all of mounting
            from runtime.process.terminal import open_terminal
        birth.settle(own, born=born)
        imports.close()
        setns(pidfd, _KINDS)
        identity.limits(who)
        if who.tty:
            master = open_terminal()
            send(channel, {"master": True}, [master])
            os.close(master)
        for target, fd in enumerate(stdio):
            os.dup2(fd, target)
        identity.execute(who, identity.find_user(who))
    except RuntimeFailure as error:
        code = error.exit_code
        tell(channel, error)
    except BaseException as error:  # the last frame of a forked process: it must not run its parent's code
        tell(channel, RuntimeFailure(f"cannot enter the container: {error}", exit_code=126))
    finally:
        os._exit(code)


def code_of(status: int) -> int:
    """A wait status as a shell tells it: 128 + n for signal n."""
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else 128 - code


def kill(pid: int) -> None:
    """SIGKILL a process that we started, and its process group."""
    for end in (os.killpg, os.kill):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            end(pid, signal.SIGKILL)
