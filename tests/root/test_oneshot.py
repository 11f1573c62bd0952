"""One-shot containers: from an ordinary process to an exit record."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from boxes import Box

from runtime.cgroup.layout import find
from runtime.errors import CommandNotFound, RuntimeFailure
from runtime.process.oneshot import run
from runtime.spec import ContainerSpec, ExitRecord, Limits

pytestmark = pytest.mark.root


@pytest.fixture
def box(scratch: Path, busybox_root: Path) -> Box:
    return Box(scratch, busybox_root)


def once(
    box: Box, scratch: Path, *argv: str, heard: Callable[[bytes], object] = bool, **changes: object
) -> tuple[ExitRecord, str, Path]:
    upper, work = scratch / "upper", scratch / "work"
    upper.mkdir(exist_ok=True)
    work.mkdir(exist_ok=True)
    parts: list[bytes] = []

    def output(data: bytes) -> None:
        parts.append(data)
        heard(data)

    spec = box.spec(*argv, upper=str(upper), **changes)
    record = run(spec, scratch=work, output=output)
    return record, b"".join(parts).decode(), upper


def test_it_returns_output_code_and_what_was_written(box: Box, scratch: Path) -> None:
    record, output, upper = once(box, scratch, "sh", "-c", "echo out; echo err >&2; echo x > /made; exit 4")
    assert record.code == 4
    assert sorted(output.split()) == ["err", "out"]
    assert (upper / "made").read_text() == "x\n"
    assert sorted(path.name for path in (scratch / "work").iterdir()) == ["root", "work"]


def test_all_of_a_large_output_arrives(box: Box, scratch: Path) -> None:
    _, output, _ = once(box, scratch, "seq", "200000")
    assert output.split() == [str(n) for n in range(1, 200001)]


def test_the_network_is_connected_before_the_program_runs(box: Box, scratch: Path) -> None:
    work = scratch / "scratch"
    work.mkdir()
    seen: list[str] = []

    def connect(netns: Path) -> None:
        seen.append(str(netns.readlink()))

    parts: list[bytes] = []
    spec = box.spec("readlink", "/proc/self/ns/net", upper=str(scratch / "upper2"))
    (scratch / "upper2").mkdir()
    run(spec, scratch=work, connect=connect, output=parts.append)
    assert seen == [b"".join(parts).decode().strip()]
    assert seen != [str(Path("/proc/self/ns/net").readlink())]


def test_errors_are_those_of_a_start(box: Box, scratch: Path) -> None:
    with pytest.raises(CommandNotFound):
        once(box, scratch, "nope")


def test_a_memory_limit_is_reported(box: Box, scratch: Path) -> None:
    record, _, _ = once(
        box, scratch, "sh", "-c", "x=a; while true; do x=$x$x; done", limits=Limits(memory=16 << 20)
    )
    assert (record.code, record.oom) == (137, True)


def test_ctrl_c_kills_the_container(box: Box, scratch: Path) -> None:
    threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT)).start()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        once(box, scratch, "sleep", "4243")
    assert time.monotonic() - began < 5
    others = [path.name for path in Path("/proc").glob("[0-9]*") if int(path.name) != os.getpid()]
    assert others == []


def test_several_at_once_from_threads(box: Box, scratch: Path) -> None:
    codes: dict[int, int | None] = {}

    def one(number: int, spec: ContainerSpec, work: Path) -> None:
        codes[number] = run(spec, scratch=work).code

    threads = []
    for number in range(4):
        upper, work = scratch / f"u{number}", scratch / f"w{number}"
        upper.mkdir()
        work.mkdir()
        spec = box.spec("sh", "-c", f"exit {number}", upper=str(upper))
        threads.append(threading.Thread(target=one, args=(number, spec, work)))
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert codes == {0: 0, 1: 1, 2: 2, 3: 3}


def test_the_control_group_of_a_killed_helper_goes_with_the_next_one(box: Box, scratch: Path) -> None:
    groups = [root / "pycompose/oneshot" for root in find().roots()]

    def left() -> set[Path]:
        return {path for root in groups for path in root.glob("[0-9a-f]" * 12 + ".[1-9]*")}

    before, killed = left(), []

    def kill_helper(data: bytes) -> None:
        (group, *_) = left() - before
        os.kill(int(group.suffix[1:]), signal.SIGKILL)
        killed.append(group)

    with pytest.raises(RuntimeFailure, match="died"):
        once(box, scratch, "sh", "-c", "echo up; sleep 100", heard=kill_helper)
    assert killed
    assert killed[0].exists()
    once(box, scratch, "true")
    assert left() <= before
