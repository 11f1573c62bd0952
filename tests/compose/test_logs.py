"""Log files are read in order of time, in whole lines, and followed through rotation and re-creation."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

import pytest

from compose.engine import logs
from compose.engine.follow import Follower
from compose.engine.logs import LONGEST, Joiner, Line, moment, read


def record(second: int, text: str, *, stream: str = "stdout", tag: str = "F") -> str:
    return f"2026-11-21T02:14:{second:02}.000000000Z {stream} {tag} {text}\n"


def texts(lines: object) -> list[str]:
    assert not isinstance(lines, str)
    return [line.text.decode() for line in lines]  # type: ignore[attr-defined]


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    (tmp_path / "shop-web-1.log").write_text(record(1, "one") + record(3, "three"))
    (tmp_path / "shop-db-1.log").write_text(record(2, "two", stream="stderr") + record(4, ""))
    return tmp_path


def test_lines_of_all_containers_are_merged_by_time(directory: Path) -> None:
    found = list(read(directory, ["shop-web-1", "shop-db-1"]))
    assert texts(found) == ["one", "two", "three", ""]
    assert [line.name for line in found] == ["shop-web-1", "shop-db-1", "shop-web-1", "shop-db-1"]
    assert found[1] == Line("2026-11-21T02:14:02.000000000Z", "shop-db-1", "stderr", b"two")


def test_a_container_without_a_log_has_no_lines(directory: Path) -> None:
    assert list(read(directory, ["nobody"])) == []
    assert list(read(directory, ["nobody"], tail=3)) == []


def test_tail_counts_lines_of_each_container(directory: Path) -> None:
    assert texts(read(directory, ["shop-web-1", "shop-db-1"], tail=1)) == ["three", ""]
    assert texts(read(directory, ["shop-web-1"], tail=0)) == []
    assert texts(read(directory, ["shop-web-1"], tail=99)) == ["one", "three"]


def test_tail_reads_a_large_file_from_its_end(tmp_path: Path) -> None:
    lines = [record(n % 60, f"{n} " + "x" * (n % 300)) for n in range(5000)]
    (tmp_path / "a.log").write_text("".join(lines))
    whole = texts(read(tmp_path, ["a"]))
    for count in (1, 2, 700, 4999):
        assert texts(read(tmp_path, ["a"], tail=count)) == whole[-count:]


def test_tail_does_not_count_what_the_text_looks_like(tmp_path: Path) -> None:
    (tmp_path / "a.log").write_text("".join(record(n, f"{n} F F F ") for n in range(50)))
    assert texts(read(tmp_path, ["a"], tail=2)) == ["48 F F F ", "49 F F F "]


def test_since_and_until_bound_the_time(directory: Path) -> None:
    names = ["shop-web-1", "shop-db-1"]
    since = "2026-11-21T02:14:02.000000000Z"
    assert texts(read(directory, names, since=since)) == ["two", "three", ""]
    assert texts(read(directory, names, until=since)) == ["one", "two"]


def test_rotated_files_come_first(tmp_path: Path) -> None:
    (tmp_path / "a.log.2").write_text(record(1, "oldest"))
    (tmp_path / "a.log.1").write_text(record(2, "older"))
    (tmp_path / "a.log").write_text(record(3, "new"))
    assert texts(read(tmp_path, ["a"])) == ["oldest", "older", "new"]
    assert texts(read(tmp_path, ["a"], tail=2)) == ["older", "new"]


def test_partial_records_of_a_stream_are_joined() -> None:
    joiner = Joiner("a")
    data = record(1, "par", tag="P") + record(2, "err", stream="stderr") + record(3, "tial", tag="F")
    assert texts(joiner.feed(data.encode())) == ["err", "partial"]
    assert texts(joiner.flush()) == []


def test_the_time_of_a_joined_line_is_that_of_its_beginning() -> None:
    joiner = Joiner("a")
    (line,) = joiner.feed((record(1, "par", tag="P") + record(9, "tial")).encode())
    assert line.time.startswith("2026-11-21T02:14:01")


def test_the_last_words_of_a_dead_program_are_shown(tmp_path: Path) -> None:
    (tmp_path / "a.log").write_text(record(1, "no newline", tag="P"))
    assert texts(read(tmp_path, ["a"])) == ["no newline"]
    assert texts(read(tmp_path, ["a"], tail=5)) == ["no newline"]


def test_a_line_without_end_is_given_out_in_pieces() -> None:
    joiner = Joiner("a")
    piece = "x" * (LONGEST // 2)
    data = "".join(record(n, piece, tag="P") for n in range(4)).encode()
    assert [len(line.text) for line in joiner.feed(data)] == [LONGEST // 2 * 3]


@pytest.mark.parametrize("size", [1, 7, 64, 1000])
def test_records_may_be_cut_anywhere(size: int) -> None:
    data = "".join(record(n, f"äöü {n}") for n in range(20)).encode()
    joiner = Joiner("a")
    found = [line for at in range(0, len(data), size) for line in joiner.feed(data[at : at + size])]
    assert texts(found) == [f"äöü {n}" for n in range(20)]


def test_bytes_that_are_no_text_pass_through(tmp_path: Path) -> None:
    (tmp_path / "a.log").write_bytes(b"2026-11-21T02:14:01.000000000Z stdout F \xff\xfe\n")
    assert [line.text for line in read(tmp_path, ["a"])] == [b"\xff\xfe"]


NOON = 1795262400.0  # 2026-11-21T12:00:00Z


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("42m", "2026-11-21T11:18:00.000000000Z"),
        ("1h30m", "2026-11-21T10:30:00.000000000Z"),
        ("1.5s", "2026-11-21T11:59:58.500000000Z"),
        ("100ms", "2026-11-21T11:59:59.900000000Z"),
        ("2026-01-02T13:23:37Z", "2026-01-02T13:23:37.000000000Z"),
        ("2026-01-02T13:23:37+01:00", "2026-01-02T12:23:37.000000000Z"),
        ("2026-01-02", "2026-01-02T00:00:00.000000000Z"),
        ("1795262400", "2026-11-21T12:00:00.000000000Z"),
    ],
)
def test_a_moment_is_a_time_or_a_duration_ago(text: str, expected: str) -> None:
    assert moment(text, NOON) == expected


@pytest.mark.parametrize("text", ["x", "1x", "m", "h1", "12:00", "-"])
def test_what_is_no_moment_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        moment(text, NOON)


def append(path: Path, text: str) -> None:
    with path.open("a") as file:
        file.write(text)


def everything(_: str) -> bool:
    return True


def test_a_follower_begins_at_the_end_and_gives_what_comes(directory: Path) -> None:
    with Follower(directory, wanted=everything) as follower:
        assert follower.lines() == []
        append(directory / "shop-web-1.log", record(5, "five"))
        append(directory / "shop-db-1.log", record(4, "four"))
        follower.wait(timeout=5)
        assert texts(follower.lines()) == ["four", "five"]
        assert follower.lines() == []


def test_a_follower_finds_logs_that_appear_later_and_only_wanted_ones(tmp_path: Path) -> None:
    with Follower(tmp_path / "logs", wanted=lambda name: name == "a") as follower:
        append(tmp_path / "logs" / "a.log", record(1, "mine"))
        append(tmp_path / "logs" / "b.log", record(1, "other"))
        follower.wait(timeout=5)
        assert texts(follower.lines()) == ["mine"]


def test_a_follower_loses_nothing_over_rotation(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    append(path, record(1, "old"))
    with Follower(tmp_path, wanted=everything) as follower:
        append(path, record(2, "two"))
        path.rename(tmp_path / "a.log.1")
        append(path, record(3, "three"))
        assert texts(follower.lines()) == ["two", "three"]
        append(path, record(4, "four"))
        assert texts(follower.lines()) == ["four"]


def test_a_follower_goes_on_after_removal_and_truncation(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    append(path, record(1, "one"))
    with Follower(tmp_path, wanted=everything, at_end=False) as follower:
        assert texts(follower.lines()) == ["one"]
        path.unlink()
        assert follower.lines() == []
        append(path, record(2, "two"))
        assert texts(follower.lines()) == ["two"]
        os.truncate(path, 0)
        append(path, record(3, "3"))
        assert texts(follower.lines()) == ["3"]


def test_a_follower_is_woken_and_does_not_poll(tmp_path: Path) -> None:
    with Follower(tmp_path, wanted=everything) as follower:
        writer = threading.Timer(0.1, append, (tmp_path / "a.log", record(1, "hello")))
        writer.start()
        begun = time.monotonic()
        follower.wait(timeout=10)
        assert time.monotonic() - begun < 5
        writer.join()
        assert texts(follower.lines()) == ["hello"]


def test_a_follower_tells_changes_elsewhere_from_new_lines(tmp_path: Path) -> None:
    logs_directory, states = tmp_path / "logs", tmp_path / "states"
    states.mkdir()
    with Follower(logs_directory, wanted=everything) as follower:
        assert follower.watch(states)
        assert not follower.watch(tmp_path / "nowhere")
        append(logs_directory / "a.log", record(1, "x"))
        assert not follower.wait(timeout=5)
        (states / ".tmp").write_text("{}")
        (states / ".tmp").rename(states / "exit.json")
        assert follower.wait(timeout=5)


def test_last_words_are_given_once(tmp_path: Path) -> None:
    with Follower(tmp_path, wanted=everything) as follower:
        append(tmp_path / "a.log", record(1, "bye", tag="P"))
        assert follower.lines() == []
        assert texts(follower.last_words("a")) == ["bye"]
        assert follower.last_words("a") == []
        assert follower.last_words("nobody") == []


def test_every_file_of_a_log_is_found(tmp_path: Path) -> None:
    current = logs.path_of(tmp_path, "a")
    for number in (1, 2, 4):
        current.with_name(f"a.log.{number}").touch()
    assert [path.name for path in logs.rotated(current)] == ["a.log.2", "a.log.1", "a.log"]
