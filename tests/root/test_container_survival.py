"""kill -9 of monitor, spawner and supervisor: containers run on, no line and no exit code is lost."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import sys
import time
from pathlib import Path

import pytest
from boxes import Box, cgroups, kill, until, whole_lines

from runtime import state as records
from runtime.container import Runtime
from runtime.errors import RuntimeFailure
from runtime.spec import ContainerState, ExecSpec, ExitRecord

pytestmark = pytest.mark.root
ROOT = str(Path(__file__).resolve().parents[2])


@pytest.fixture
def box(scratch: Path, busybox_root: Path) -> Box:
    return Box(scratch, busybox_root)


def monitor_of(box: Box, id: str) -> int:
    return records.read(box.run, box.data, id).monitor


async def replaced(box: Box, id: str, monitor: int) -> None:
    def done() -> bool:
        state = records.read(box.run, box.data, id)
        return state.exit is not None or state.monitor not in (0, monitor)

    await until(done)


def test_a_killed_monitor_is_replaced_and_the_exit_code_is_learned(box: Box) -> None:
    async def body() -> None:
        async with box.opened() as runtime:
            spec = box.spec(
                "sh", "-c", "echo one; while [ ! -e /go ]; do sleep 0.02; done; echo two; exit 42"
            )
            await runtime.create(spec)
            state = await runtime.start(spec.id)
            await until(lambda: box.output(spec) == "one")
            os.kill(state.monitor, signal.SIGKILL)
            await replaced(box, spec.id, state.monitor)
            assert records.read(box.run, box.data, spec.id).pid == state.pid
            Path(f"/proc/{state.pid}/root/go").touch()
            record = await asyncio.wait_for(runtime.wait(spec.id), 5)
            assert record.code == 42
            assert box.output(spec).split() == ["one", "two"]
            assert box.ended == [(spec.id, record)]

    asyncio.run(body())
    assert cgroups(box.project) == []


def test_no_line_is_lost_or_doubled_when_monitors_are_killed_under_load(box: Box) -> None:
    last = 60000

    async def body() -> list[str]:
        async with box.opened() as runtime:
            script = f"i=0; while [ $i -lt {last} ]; do i=$((i+1)); echo line $i; done; exit 3"
            spec = box.spec("sh", "-c", script)
            await runtime.create(spec)
            monitor = (await runtime.start(spec.id)).monitor
            for _ in range(8):
                await asyncio.sleep(0.05)
                if records.read(box.run, box.data, spec.id).status != "running":
                    break
                os.kill(monitor, signal.SIGKILL)
                await replaced(box, spec.id, monitor)
                monitor = monitor_of(box, spec.id)
            assert (await asyncio.wait_for(runtime.wait(spec.id), 30)).code == 3
            return whole_lines([Path(spec.log)])

    assert asyncio.run(body()) == [f"line {n}" for n in range(1, last + 1)]


def test_a_killed_spawner_is_replaced(box: Box) -> None:
    async def body() -> None:
        async with box.opened() as runtime:
            spec = box.spec("sh", "-c", "while [ ! -e /go ]; do sleep 0.02; done; exit 6")
            await runtime.create(spec)
            state = await runtime.start(spec.id)
            assert runtime._spawner.process is not None
            os.kill(runtime._spawner.process.pid, signal.SIGKILL)
            result = await runtime.execute(spec.id, ExecSpec(argv=("echo", "probe")))
            assert result.output == "probe\n"
            other = box.spec("true")
            assert (await box.finish(runtime, other))[0].code == 0
            os.kill(state.monitor, signal.SIGKILL)  # the parent of pid 1 is the supervisor now
            await replaced(box, spec.id, state.monitor)
            Path(f"/proc/{state.pid}/root/go").touch()
            assert (await asyncio.wait_for(runtime.wait(spec.id), 5)).code == 6

    asyncio.run(body())


def test_spawner_and_monitor_killed_together(box: Box) -> None:
    async def body() -> None:
        async with box.opened() as runtime:
            spec = box.spec("sh", "-c", "while [ ! -e /go ]; do sleep 0.02; done; exit 8")
            await runtime.create(spec)
            state = await runtime.start(spec.id)
            assert runtime._spawner.process is not None
            os.kill(runtime._spawner.process.pid, signal.SIGKILL)
            os.kill(state.monitor, signal.SIGKILL)
            await replaced(box, spec.id, state.monitor)
            Path(f"/proc/{state.pid}/root/go").touch()
            assert (await asyncio.wait_for(runtime.wait(spec.id), 5)).code == 8

    asyncio.run(body())


def test_a_container_that_is_killed_with_its_monitor_is_not_called_running(box: Box) -> None:
    async def body() -> None:
        async with box.opened() as runtime:
            spec = box.spec("sleep", "100")
            await runtime.create(spec)
            state = await runtime.start(spec.id)
            os.kill(state.monitor, signal.SIGKILL)
            os.kill(state.pid, signal.SIGKILL)
            record = await asyncio.wait_for(runtime.wait(spec.id), 5)
            assert (record.code, record.signal) == (137, 9)
            assert records.read(box.run, box.data, spec.id).status == "exited"

    asyncio.run(body())


def test_a_terminal_survives_its_monitor(box: Box) -> None:
    async def body() -> None:
        async with box.opened() as runtime:
            script = (
                "trap 'echo hup; exit 1' HUP; echo a; while [ ! -e /go ]; do sleep 0.02; done; echo b; exit 5"
            )
            spec = box.spec("sh", "-c", script, tty=True)
            await runtime.create(spec)
            state = await runtime.start(spec.id)
            await until(lambda: "a" in box.output(spec))
            os.kill(state.monitor, signal.SIGKILL)
            await replaced(box, spec.id, state.monitor)
            Path(f"/proc/{state.pid}/root/go").touch()
            assert (await asyncio.wait_for(runtime.wait(spec.id), 5)).code == 5
            assert box.output(spec).replace("\r", "").split() == ["a", "b"]

    asyncio.run(body())


SUPERVISOR = """
import asyncio, json, sys
from pathlib import Path
sys.path[:0] = {path!r}
from runtime.container import Runtime
from runtime.spec import ContainerSpec, from_json

async def main():
    run, data = Path({run!r}), Path({data!r})
    runtime = Runtime(run, data, revive={revive!r}, on_exit=lambda id, record: None)
    await runtime.open()
    states = await runtime.adopt()
    for text in json.loads({specs!r}):
        spec = from_json(ContainerSpec, text)
        if spec.id not in [state.id for state in states]:
            await runtime.create(spec)
            states.append(await runtime.start(spec.id))
    (run / "told").write_text(json.dumps([[s.status, s.pid] for s in states]))
    await asyncio.sleep(1000)

asyncio.run(main())
"""


def supervisor(box: Box, specs: list[object], revive: list[str]) -> list[str]:
    text = SUPERVISOR.format(
        path=[ROOT], run=str(box.run), data=str(box.data), revive=revive, specs=json.dumps(specs)
    )
    script = box.run.parent / f"supervisor{len(revive)}.py"
    script.parent.mkdir(parents=True, exist_ok=True)
    script.write_text(text)
    return [sys.executable, str(script)]


def told(box: Box) -> list[list[object]]:
    try:
        found: list[list[object]] = json.loads((box.run / "told").read_text())
        return found
    except (FileNotFoundError, ValueError):
        return []


def spawn(argv: list[str]) -> int:
    return os.posix_spawn(argv[0], argv, os.environ, setsid=True)


@pytest.mark.parametrize("also", ["alone", "spawner", "everything"])
def test_a_killed_supervisor_comes_back_and_finds_its_container(box: Box, also: str) -> None:
    from runtime.spec import to_json

    spec = box.spec("sh", "-c", "i=0; while [ ! -e /go ]; do i=$((i+1)); echo $i; sleep 0.005; done; exit 9")
    revive = supervisor(box, [], [])
    first = spawn(supervisor(box, [to_json(spec)], revive))

    async def wait_for(count: int) -> None:
        await until(lambda: len(told(box)) == count, 20)

    asyncio.run(wait_for(1))
    state = records.read(box.run, box.data, spec.id)
    assert state.status == "running"
    (box.run / "told").unlink()
    spawner = children(first)
    os.kill(first, signal.SIGKILL)
    if also != "alone":
        for pid in spawner:
            os.kill(pid, signal.SIGKILL)
    if also == "everything":
        os.kill(state.monitor, signal.SIGKILL)
    os.waitpid(first, 0)
    if also == "everything":
        spawn(revive)  # nobody is left who could: the next command does it
    began = time.monotonic()
    asyncio.run(wait_for(1))
    took = time.monotonic() - began
    assert told(box) == [["running", state.pid]]
    assert took < 10
    Path(f"/proc/{state.pid}/root/go").touch()

    async def ended() -> ContainerState:
        await until(lambda: [reap(), records.read(box.run, box.data, spec.id).exit][1] is not None)
        return records.read(box.run, box.data, spec.id)

    record: ExitRecord | None = asyncio.run(ended()).exit
    assert record is not None
    if also != "everything" or kernel_tells_exit_codes():
        assert record.code == 9
    numbers = [int(line) for line in whole_lines([Path(spec.log)])]
    if (
        also == "everything"
    ):  # what was in the pipe when nobody held it has not been lost, the container held it
        assert numbers == sorted(set(numbers))
    assert numbers == list(range(1, len(numbers) + 1))


def reap() -> None:
    """This process is init here: orphans are its children, and only a reaped one tells its exit code."""
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def kernel_tells_exit_codes() -> bool:
    major, minor = (int(word) for word in os.uname().release.split(".")[:2])
    return (major, minor) >= (6, 15)


def children(pid: int) -> list[int]:
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def test_an_exit_while_no_supervisor_lived_is_found_by_the_next(box: Box) -> None:
    async def body() -> None:
        spec = box.spec("sh", "-c", "exit 11")
        async with box.opened() as runtime:
            await runtime.create(spec)
            await runtime.start(spec.id)
            await runtime.wait(spec.id)
            states = await runtime.adopt()
            assert [(state.status, state.exit and state.exit.code) for state in states] == [("exited", 11)]

    asyncio.run(body())


def test_a_reused_pid_is_not_adopted(box: Box) -> None:
    async def body() -> None:
        async with box.opened() as runtime:
            spec = box.spec("sleep", "100")
            await runtime.create(spec)
            await runtime.start(spec.id)
            path = box.run / "containers" / spec.id / "state.json"
            raw = json.loads(path.read_text())
            good = path.read_bytes()
            path.write_text(json.dumps({**raw, "start_time": raw["start_time"] - 1}))
            assert records.read(box.run, box.data, spec.id).status == "exited"
            path.write_bytes(good)
            await kill(runtime, spec.id)

    asyncio.run(body())


def test_a_supervisor_that_dies_before_the_gate_takes_the_container_with_it(box: Box) -> None:
    async def body() -> int:
        runtime = Runtime(box.run, box.data, revive=[], on_exit=lambda *_: None)
        await runtime.open()
        spec = box.spec("sleep", "100")
        created = await runtime.create(spec)
        for link in list(runtime._links.by_id.values()):
            runtime._links.drop(link)
        pid = created.state.pid
        await until(lambda: not records.start_time(pid))
        await runtime.remove(spec.id)
        await runtime.close()
        return pid

    assert asyncio.run(body())
    assert cgroups(box.project) == []


def test_a_spawner_that_cannot_run_is_named_and_not_started_for_ever(box: Box) -> None:
    async def body() -> None:
        async with box.opened() as runtime:
            held = box.run / "spawner.lock"
            held.unlink()
            held.mkdir()
            assert runtime._spawner.process is not None
            os.kill(runtime._spawner.process.pid, signal.SIGKILL)
            errors = set()
            for _ in range(8):
                with pytest.raises(RuntimeFailure) as caught:
                    await runtime.create(box.spec("true"))
                errors.add(caught.value.message)
            assert "the process that starts containers ends as soon as it is started" in errors
            assert "Is a directory" in (box.run / "supervisor.log").read_text()
            held.rmdir()
            await until(lambda: runtime._spawner.channel is not None)
            record, _ = await box.finish(runtime, box.spec("true"))
            assert record.code == 0

    asyncio.run(body())


ENTRUSTING = """
import asyncio, json, socket, sys
from pathlib import Path
sys.path[:0] = {path!r}
from runtime.container import Runtime
from runtime.spec import ContainerSpec, from_json

async def main():
    run, data = Path({run!r}), Path({data!r})
    runtime = Runtime(run, data, revive=[], on_exit=lambda id, record: None)
    await runtime.open()
    spec = from_json(ContainerSpec, json.loads({spec!r}))
    await runtime.create(spec)
    await runtime.start(spec.id)
    first, second = (socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) for _ in range(2))
    first.bind("\\0first" + run.name)
    runtime.entrust(spec.id, [first.fileno()])
    second.bind("\\0second" + run.name)
    runtime.entrust(spec.id, [second.fileno()])
    (run / "told").write_text("[1]")
    await asyncio.sleep(1000)

asyncio.run(main())
"""


def test_an_entrusted_socket_outlives_the_supervisor(box: Box) -> None:
    from runtime.spec import to_json

    spec = box.spec("sleep", "100")
    text = ENTRUSTING.format(
        path=[ROOT], run=str(box.run), data=str(box.data), spec=json.dumps(to_json(spec))
    )
    script = box.run.parent / "entrusting.py"
    script.parent.mkdir(parents=True, exist_ok=True)
    script.write_text(text)
    pid = spawn([sys.executable, str(script)])

    async def body() -> None:
        await until(lambda: told(box), 20)
        await asyncio.sleep(0.05)
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as client:
            with pytest.raises(ConnectionRefusedError):  # only what was entrusted last is held
                client.sendto(b"lost", f"\0first{box.run.name}")
            client.sendto(b"kept", f"\0second{box.run.name}")
        async with box.opened() as runtime:
            await runtime.adopt()
            assert received(runtime, spec.id) == b"kept"
            monitor = monitor_of(box, spec.id)
            os.kill(monitor, signal.SIGKILL)
            await replaced(box, spec.id, monitor)
            await until(lambda: holds(box, spec.id, runtime))
            assert runtime.entrusted("0" * 64) == []

    asyncio.run(body())


def received(runtime: Runtime, id: str) -> bytes:
    (fd,) = runtime.entrusted(id)
    with socket.socket(fileno=fd) as server:
        server.setblocking(False)
        return server.recv(100)


def holds(box: Box, id: str, runtime: Runtime) -> bool:
    """Whether the monitor of ``id`` has the socket that was entrusted to it."""
    (fd,) = runtime.entrusted(id)
    wanted = os.fstat(fd).st_ino
    os.close(fd)
    fds = Path(f"/proc/{monitor_of(box, id)}/fd")
    return any(path.stat().st_ino == wanted for path in fds.iterdir() if path.exists())


@pytest.mark.parametrize("moment", range(0, 24, 3))
def test_a_supervisor_killed_while_it_creates_leaves_nothing_and_no_traceback(box: Box, moment: int) -> None:
    async def body() -> None:
        runtime = Runtime(box.run, box.data, revive=[], on_exit=lambda *_: None)
        await runtime.open()
        spec = box.spec("sleep", "100")
        making = asyncio.create_task(runtime.create(spec))
        await asyncio.sleep(moment / 1000)
        making.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await making
        for link in list(runtime._links.by_id.values()):
            runtime._links.drop(link)
        await until(lambda: cgroups(box.project) == [])
        await asyncio.sleep(0.05)
        await until(lambda: cgroups(box.project) == [])
        await runtime.remove(spec.id)
        await runtime.close()
        assert (box.run / "supervisor.log").read_text() == ""

    asyncio.run(body())
