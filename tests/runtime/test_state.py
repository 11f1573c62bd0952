"""Records on disk, volumes, log lines."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from compose.model.places import Places
from runtime import state, volume
from runtime.errors import RuntimeFailure
from runtime.kernel.mounts import Mount
from runtime.process.log import Log, PipeSource, Record, lines, stamp
from runtime.spec import ContainerSpec, ContainerState, ExitRecord

ID = "a" * 64
SPEC = ContainerSpec(id=ID, name="box", argv=("true",), layers=())


def written(tmp_path: Path, value: ContainerState) -> ContainerState:
    place = state.Place(tmp_path / "run", tmp_path / "data", ID)
    place.record.mkdir(parents=True, exist_ok=True)
    place.kept.mkdir(parents=True, exist_ok=True)
    state.write_json(place.kept / "spec.json", SPEC)
    state.write_json(place.record / "state.json", value)
    return state.read(tmp_path / "run", tmp_path / "data", ID)


def test_a_living_process_with_the_right_start_is_running(tmp_path: Path) -> None:
    pid = os.getpid()
    value = ContainerState(id=ID, name="box", status="running", pid=pid, start_time=state.start_time(pid))
    assert written(tmp_path, value) == value
    assert state.containers(tmp_path / "run", tmp_path / "data") == [(SPEC, value)]


def test_a_reused_pid_is_not_running(tmp_path: Path) -> None:
    value = ContainerState(id=ID, name="box", status="running", pid=os.getpid(), start_time=1)
    assert written(tmp_path, value).status == "exited"


def test_an_exit_record_wins(tmp_path: Path) -> None:
    pid = os.getpid()
    value = ContainerState(id=ID, name="box", status="running", pid=pid, start_time=state.start_time(pid))
    (tmp_path / "run/containers" / ID).mkdir(parents=True)
    state.write_json(tmp_path / "run/containers" / ID / "exit.json", ExitRecord(code=3), durable=True)
    found = written(tmp_path, value)
    assert (found.status, found.pid, found.exit) == ("exited", 0, ExitRecord(code=3))


def test_after_a_reboot_what_ran_has_ended(tmp_path: Path) -> None:
    (tmp_path / "data/containers" / ID).mkdir(parents=True)
    state.write_json(tmp_path / "data/containers" / ID / "spec.json", SPEC)
    assert state.read(tmp_path / "run", tmp_path / "data", ID).status == "exited"
    with pytest.raises(RuntimeFailure, match="no such container"):
        state.read(tmp_path / "run", tmp_path / "data", "b" * 64)


def test_a_volume_comes_and_goes(tmp_path: Path) -> None:
    data = volume.create(tmp_path, "db", {"tier": "x"})
    (data / "file").write_text("kept")
    assert volume.create(tmp_path, "db") == data
    assert [(v.name, dict(v.labels)) for v in volume.list(tmp_path)] == [("db", {"tier": "x"})]
    volume.remove(tmp_path, "db")
    volume.remove(tmp_path, "db")
    assert not volume.exists(tmp_path, "db")
    assert list(tmp_path.iterdir()) == []
    for name in ("", "../x", ".hidden", "a/b"):
        with pytest.raises(RuntimeFailure):
            volume.create(tmp_path, name)


NOW = 1_700_000_000_123_456_789
STAMP = b"2023-11-14T22:13:20.123456789Z"


def test_lines_share_a_time_and_an_unfinished_one_is_marked() -> None:
    assert stamp(NOW) == STAMP
    assert lines(b"a\n\nb", "stdout", NOW) == (
        STAMP + b" stdout F a\n" + STAMP + b" stdout F \n" + STAMP + b" stdout P b\n"
    )
    assert lines(b"", "stdout", NOW) == b""


@pytest.mark.parametrize("step", ["appended", "recorded", "consumed"])
def test_a_copier_that_died_after_any_step_neither_loses_nor_doubles(tmp_path: Path, step: str) -> None:
    os.mkfifo(tmp_path / "fifo")
    keeper = os.open(tmp_path / "fifo", os.O_RDWR)
    os.write(keeper, b"one\ntwo\n")
    log, record = Log(str(tmp_path / "log"), 0, 1), Record(tmp_path / "record")
    log.append(lines(b"one\ntwo\n", "stdout", NOW))
    if step != "appended":
        record.logged(0, b"one\ntwo\n", log.size)
    if step == "consumed":
        os.read(keeper, 8)
    log.close()
    record.close()
    os.write(keeper, b"three\n")
    log, record = Log(str(tmp_path / "log"), 0, 1), Record(tmp_path / "record")
    log.cut(record.log_size)
    source = PipeSource(os.open(tmp_path / "fifo", os.O_RDWR | os.O_NONBLOCK), 0, log, record)
    while source.copy():
        pass
    text = (tmp_path / "log").read_text().splitlines()
    assert [line.split(" ", 3)[3] for line in text] == ["one", "two", "three"]
    source.close()
    record.close()
    log.close()
    os.close(keeper)


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o7777


def test_directories_are_closed_whatever_the_umask_and_whoever_made_them(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        state.close(tmp_path / "new/deep")
        volume.create(tmp_path / "volumes", "v")
        state.write_json(tmp_path / "record.json", {})
    finally:
        os.umask(before)
    assert [mode(tmp_path / name) for name in ("new", "new/deep", "volumes", "volumes/v")] == [0o700] * 4
    assert mode(tmp_path / "volumes/v/_data") == 0o755 and mode(tmp_path / "record.json") == 0o600
    (tmp_path / "old").mkdir()
    (tmp_path / "old").chmod(0o755)
    state.close(tmp_path / "old")
    assert mode(tmp_path / "old") == 0o700


def test_a_directory_that_is_shared_stays_open(tmp_path: Path) -> None:
    """PYCOMPOSE_DATA=/tmp must not close /tmp; what lies below it is closed."""
    (tmp_path / "shared/volumes").mkdir(parents=True)
    (tmp_path / "shared").chmod(0o1777)
    (tmp_path / "shared/volumes").chmod(0o755)
    Places(tmp_path / "run", tmp_path / "shared").secure()
    assert [mode(tmp_path / name) for name in ("shared", "shared/volumes", "run")] == [0o1777, 0o700, 0o700]


def test_options_of_a_volume_are_those_of_mount() -> None:
    assert volume.mount_words("rw,nosuid,size=1m,noexec,mode=700,defaults") == (
        Mount.NOSUID | Mount.NOEXEC,
        "size=1m,mode=700",
    )
    assert volume.is_bind({"o": "ro,rbind"}) and not volume.is_bind({"o": "robind"})


def test_a_bound_directory_stays_when_its_volume_goes(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data/d").touch()
    options = {"type": "none", "o": "bind,ro", "device": str(tmp_path / "data")}
    assert list(volume.create(tmp_path / "v", "x", {}, options).iterdir())
    assert not volume.needs_mount(tmp_path / "v", "x")
    assert volume.is_read_only(tmp_path / "v", "x") and not volume.is_read_only(tmp_path / "v", "none")
    volume.remove(tmp_path / "v", "x")
    assert (tmp_path / "data/d").exists() and not volume.exists(tmp_path / "v", "x")
