"""exec: a further process in a running container, with and without a terminal."""

from __future__ import annotations

import asyncio
import os
import pty
import signal
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from boxes import Box

from runtime.container import Runtime
from runtime.errors import CommandNotFound, NotExecutable, RuntimeFailure
from runtime.process.enter import enter
from runtime.spec import ContainerSpec, ExecSpec

pytestmark = pytest.mark.root


@pytest.fixture
def box(scratch: Path, busybox_root: Path) -> Box:
    return Box(scratch, busybox_root)


def running(box: Box, body: Callable[[Runtime, ContainerSpec], Awaitable[None]], **changes: object) -> None:
    async def outer() -> None:
        async with box.opened() as runtime:
            spec = box.spec("sleep", "1000", env=("COLOUR=blue",), **changes)
            await runtime.create(spec)
            await runtime.start(spec.id)
            await body(runtime, spec)

    asyncio.run(outer())


def entered(box: Box, spec: ContainerSpec, run: ExecSpec) -> tuple[int, str]:
    """Call ``enter`` with standard output in a pipe."""
    reader, writer = os.pipe()
    saved = os.dup(1)
    os.dup2(writer, 1)
    os.close(writer)
    try:
        code = enter(spec, run, run=box.run)
    finally:
        os.dup2(saved, 1)
        os.close(saved)
    with open(reader, encoding="utf-8") as pipe:
        return code, pipe.read()


def test_enter_runs_inside_with_the_containers_identity(box: Box) -> None:
    async def body(runtime: Runtime, spec: ContainerSpec) -> None:
        script = (
            "id -u; pwd; echo $COLOUR $SHAPE $HOME; grep -c sleep /proc/1/cmdline; "
            "grep -E 'CapBnd|Seccomp:' /proc/self/status; cat /proc/self/cgroup | grep -c pycompose; exit 5"
        )
        run = ExecSpec(argv=("sh", "-c", script), env=("SHAPE=round",), user="web", working_dir="/tmp")
        code, output = entered(box, spec, run)
        assert code == 5
        assert output.split("\n")[:4] == ["1000", "/tmp", "blue round /home/web", "1"]
        assert "CapBnd:\t00000000a80425fb" in output
        assert "Seccomp:\t2" in output
        assert output.split()[-1] == "0"  # its own cgroup is the root of what it sees

    running(box, body)


def test_enter_tells_signals_and_missing_commands_as_a_shell_does(box: Box) -> None:
    async def body(_runtime: Runtime, spec: ContainerSpec) -> None:
        assert entered(box, spec, ExecSpec(argv=("sh", "-c", "kill -9 $$")))[0] == 137
        with pytest.raises(CommandNotFound):
            entered(box, spec, ExecSpec(argv=("nope",)))
        with pytest.raises(NotExecutable):
            entered(box, spec, ExecSpec(argv=("/etc/passwd",)))

    running(box, body)


def test_a_privileged_exec_has_every_capability_and_keeps_the_filter(box: Box) -> None:
    async def body(_runtime: Runtime, spec: ContainerSpec) -> None:
        run = ExecSpec(argv=("grep", "-E", "CapEff|Seccomp:", "/proc/self/status"), privileged=True)
        _, output = entered(box, spec, run)
        assert int(output.split()[1], 16) & 1 << 21  # CAP_SYS_ADMIN
        assert output.split()[3] == "2"

    running(box, body)


def test_the_memory_of_an_exec_counts_for_the_container(box: Box) -> None:
    async def body(runtime: Runtime, spec: ContainerSpec) -> None:
        result = await runtime.execute(spec.id, ExecSpec(argv=("sh", "-c", "kill -0 1 && echo $PPID")))
        assert (result.code, result.output) == (0, "0\n")

    running(box, body)


def test_a_terminal_in_the_containers_own_devpts(box: Box) -> None:
    async def body(_runtime: Runtime, spec: ContainerSpec) -> None:
        pid, master = pty.fork()
        if pid == 0:
            run = ExecSpec(argv=("sh", "-c", "tty; stty size; read line; echo got $line; exit 3"), tty=True)
            os._exit(enter(spec, run, run=box.run))
        output = b""
        os.write(master, b"hello\r")
        while True:
            try:
                data = os.read(master, 4096)
            except OSError:
                break
            output += data
            if not data:
                break
        os.close(master)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 3
        assert b"/dev/pts/" in output
        assert b"got hello" in output

    running(box, body)


def test_execute_keeps_4096_bytes_and_kills_after_its_time(box: Box) -> None:
    async def body(runtime: Runtime, spec: ContainerSpec) -> None:
        result = await runtime.execute(spec.id, ExecSpec(argv=("seq", "100000")))
        assert (result.code, len(result.output), result.timed_out) == (0, 4096, False)
        began = time.monotonic()
        slow = ExecSpec(argv=("sh", "-c", "echo begun; sleep 60"), timeout=0.3)
        result = await runtime.execute(spec.id, slow)
        assert (result.timed_out, result.code, result.output) == (True, 137, "begun\n")
        assert time.monotonic() - began < 5
        result = await runtime.execute(spec.id, ExecSpec(argv=("sh", "-c", "sleep 60 & echo left")))
        assert (result.code, result.output) == (0, "left\n")
        with pytest.raises(CommandNotFound):
            await runtime.execute(spec.id, ExecSpec(argv=("nope",)))

    running(box, body)


def test_entering_what_does_not_run_is_an_error(box: Box) -> None:
    async def body(runtime: Runtime, spec: ContainerSpec) -> None:
        await runtime.signal(spec.id, signal.SIGKILL)
        await runtime.wait(spec.id)
        with pytest.raises(RuntimeFailure, match="is not running"):
            entered(box, spec, ExecSpec(argv=("true",)))
        with pytest.raises(RuntimeFailure, match="is not running"):
            await runtime.execute(spec.id, ExecSpec(argv=("true",)))

    running(box, body)


def test_a_paused_container_refuses_to_be_entered_and_can_be_ended(box: Box) -> None:
    async def body(runtime: Runtime, spec: ContainerSpec) -> None:
        await runtime.freeze(spec.id, frozen=True)
        with pytest.raises(RuntimeFailure, match="is paused, unpause the container before exec"):
            entered(box, spec, ExecSpec(argv=("true",)))
        with pytest.raises(RuntimeFailure, match="is paused"):
            await runtime.execute(spec.id, ExecSpec(argv=("true",)))
        await runtime.signal(spec.id, signal.SIGKILL)
        runtime.thaw(spec.id)
        assert (await runtime.wait(spec.id)).code == 137

    running(box, body)
