"""Start a further process in a running container, from a forked child of the spawner.

Comes in:  the container's spec and state, an ExecSpec, its group, three descriptors or none for a tty.
Goes out:  an Entered: the process's pid, and with a tty the master.
Not here:  who waits for it (``session``, ``capture``).

    caller ---- forks ----> entrant ---- forks ----> leaf, which becomes the program

The entrant joins every namespace but the pid namespace and ends; the leaf is born in that one. So what the
container's other processes can see is in the container's mount namespace from its first moment on and has no
descriptor of ours that leads to a file, and the caller, as a subreaper, inherits it. What the container could
forge is not believed: the pid that the entrant says must be that of a child of the caller.
"""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import socket
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from runtime.cgroup import birth
from runtime.cgroup.layout import Group
from runtime.errors import RuntimeFailure
from runtime.kernel import processes
from runtime.kernel.keys import join_session_keyring
from runtime.kernel.namespaces import Clone, setns
from runtime.process import identity, imports, streams
from runtime.process.messages import receive, revive, send, tell
from runtime.process.terminal import open_terminal
from runtime.spec import ContainerSpec, ContainerState, ExecSpec
from runtime.state import alive
from schemas.frozen import dataclass

_JOINED = Clone.NEWNS | Clone.NEWNET | Clone.NEWIPC | Clone.NEWUTS | Clone.NEWCGROUP | Clone.NEWPID


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
    stdio:  three descriptors, () with a tty. The caller has one thread and becomes a subreaper.
    Raises NotExecutable, CommandNotFound, RuntimeFailure; at once for a paused container, which could not
    run what enters it.
    """
    if state.status == "paused":
        text = f"container '{state.name}' is paused, unpause the container before exec"
        raise RuntimeFailure(text, hint="pycompose unpause", exit_code=1)
    who = identity.of_exec(spec, run, _filter(record))
    pidfd = _open(state)
    processes.set_subreaper(True)
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    reader, writer = os.pipe2(os.O_CLOEXEC)
    entrant, born = birth.fork(own)
    if entrant == 0:
        ours.close()
        os.close(reader)
        _enter(who, own, pidfd, theirs, writer, stdio, run.window, born=born)
    os.close(pidfd)
    os.close(writer)
    theirs.close()
    with ours, open(reader, "rb") as numbers:
        number = numbers.read()
        os.waitpid(entrant, 0)
        return _started(_child(number), ours)


def _child(number: bytes) -> int:
    """The pid that was said, 0 when it is none of a child of this process.

    The leaf has the pipe for a moment, and whoever may trace it could write another number.
    """
    with contextlib.suppress(ValueError, OSError):
        pid = int(number)
        if int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1]) == os.getpid():
            return pid
    return 0


def _started(pid: int, channel: socket.socket) -> Entered:
    master = -1
    while True:
        message, fds = receive(channel)
        if message is None:
            if not pid:
                raise RuntimeFailure("the process that enters the container was killed", exit_code=1)
            return Entered(pid, master)
        if "error" in message:
            if pid:
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


def _enter(
    who: identity.Identity,
    own: Group,
    pidfd: int,
    channel: socket.socket,
    writer: int,
    stdio: Sequence[int],
    window: Sequence[int],
    *,
    born: bool,
) -> NoReturn:
    """The entrant: what is out of sight afterwards comes first. Says the leaf's pid and ends."""
    try:
        os.umask(0o022)
        birth.settle(own, born=born)
        identity.oom_score(who.oom_score_adj)
        join_session_keyring()
        imports.close()
        setns(pidfd, _JOINED)
        streams.take(stdio, channel.fileno(), writer)  # here nobody inside can see what is closed
        leaf = os.fork()
        if leaf == 0:
            os.close(writer)
            _become(who, channel, window)
        os.write(writer, b"%d" % leaf)
    except BaseException as error:  # the last frame of a forked process: it must not run its parent's code
        tell(channel, _failure(error))
    finally:
        os._exit(0)


def _become(who: identity.Identity, channel: socket.socket, window: Sequence[int]) -> NoReturn:
    """The leaf: gives up the rights that it will not have, then looks at the container's files."""
    code = 126
    try:
        os.setsid()
        if who.tty:
            master = open_terminal(window=window)
            send(channel, {"master": True}, [master])
            os.close(master)
        identity.limits(who)
        identity.give_up(who)
        user = identity.find_user(who)
        streams.give(user.uid)
        identity.execute(who, user)
    except BaseException as error:  # the last frame of a forked process: it must not run its parent's code
        failure = _failure(error)
        code = failure.exit_code
        tell(channel, failure)
    finally:
        os._exit(code)


def _failure(error: BaseException) -> RuntimeFailure:
    if isinstance(error, RuntimeFailure):
        return error
    if isinstance(error, OSError) and error.errno in (errno.ESRCH, errno.ENOMEM):  # its pid 1 has just ended
        return RuntimeFailure("cannot enter the container: it has ended", exit_code=1)
    if isinstance(error, OSError):
        about = f" ({error.filename})" if error.filename else ""
        return RuntimeFailure(f"cannot enter the container: {error.strerror}{about}", exit_code=126)
    return RuntimeFailure(f"cannot enter the container: {type(error).__name__}: {error}", exit_code=126)


def code_of(status: int) -> int:
    """A wait status as a shell tells it: 128 + n for signal n."""
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else 128 - code


def kill(pid: int) -> None:
    """SIGKILL a process that we started, and its process group."""
    for end in (os.killpg, os.kill):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            end(pid, signal.SIGKILL)
