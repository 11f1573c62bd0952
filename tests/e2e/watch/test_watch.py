"""watch and up --watch: files that are saved reach the containers; only what is touched is touched."""

from __future__ import annotations

import signal
import statistics
import subprocess
import time
from pathlib import Path

import pytest

from tests.e2e.stack import Stack, until


def cat(stack: Stack, path: str, index: int = 1) -> str:
    return stack("exec", "-T", "--index", str(index), "web", "cat", path, check=False).stdout


def inside(stack: Stack, index: int, path: str) -> str:
    """The path of the host under which the file of a container can be read at once."""
    return f"/proc/{stack.pid(f'web-{index}')}/root{path}"


def enabled(watch: subprocess.Popen[str]) -> list[str]:
    assert watch.stdout is not None
    lines = []
    while "Watch enabled" not in (lines[-1:] or [""])[0]:
        line = watch.stdout.readline()
        assert line, lines
        lines.append(line)
    return lines


@pytest.fixture
def watched(stack: Stack) -> subprocess.Popen[str]:
    (stack.directory / "conf").mkdir()
    (stack.directory / "run").mkdir()
    stack("up", "-d")
    watch = stack.start("watch", "--no-up")
    enabled(watch)
    return watch


def test_saves_renames_and_deletions_reach_every_replica(
    stack: Stack, watched: subprocess.Popen[str]
) -> None:
    assert [cat(stack, "/app/deep/g", n) for n in (1, 2)] == ["deep\n"] * 2, "initial_sync is complete"
    source = stack.directory / "src"
    (source / "f").write_text("two\n")
    until(lambda: [cat(stack, "/app/f", n) for n in (1, 2)] == ["two\n"] * 2)
    (source / ".f.swp").write_text("not this")
    (source / "f.new").write_text("three\n")
    (source / "f.new").replace(source / "f")
    until(lambda: cat(stack, "/app/f") == "three\n")
    (source / "x.log").write_text("nor this")
    (source / "deep").rename(source / "moved")
    until(lambda: cat(stack, "/app/moved/g") == "deep\n")
    until(lambda: cat(stack, "/app/deep/g") == "")
    (source / "f").unlink()
    until(lambda: stack("exec", "-T", "web", "ls", "-A", "/app").stdout.split() == ["moved"])


def test_a_thousand_files_at_once_arrive_all(stack: Stack, watched: subprocess.Popen[str]) -> None:
    many = stack.directory / "src" / "many"
    many.mkdir()
    for number in range(1000):
        (many / str(number)).write_text(str(number))
    until(lambda: len(list(Path(inside(stack, 2, "/app/many")).iterdir())) == 1000, seconds=30)
    until(lambda: all(open_text(inside(stack, 1, f"/app/many/{n}")) == str(n) for n in range(0, 1000, 50)))


def open_text(path: str) -> str:
    with open(path, encoding="utf-8") as file:
        return file.read()


def test_the_action_is_done_and_the_cause_is_told(stack: Stack, watched: subprocess.Popen[str]) -> None:
    ids, pids = stack.ids(), [stack.pid("web-1"), stack.pid("other-1")]
    (stack.directory / "run" / "x").write_text("42")
    until(lambda: cat(stack, "/run/x", 2) == "42")
    (stack.directory / "conf" / "c").write_text("new")
    until(lambda: stack.pid("web-1") not in (0, pids[0]), seconds=20)
    until(lambda: cat(stack, "/conf/c") == "new")
    assert stack.pid("other-1") == pids[1] and stack.ids() == ids
    time.sleep(0.3)
    watched.send_signal(signal.SIGINT)
    out, _ = watched.communicate(timeout=20)
    assert out.count("told-42") == 2
    assert 'Syncing service "web" after 1 changes were detected: run/x (' in out
    assert 'Syncing service "web" after 1 changes were detected: conf/c (' in out
    assert 'service(s) ["web"] restarted' in out


def test_a_save_arrives_soon(stack: Stack, watched: subprocess.Popen[str]) -> None:
    target, source, took = inside(stack, 1, "/app/f"), stack.directory / "src" / "f", []
    for number in range(9):
        time.sleep(0.2)
        begun = time.monotonic()
        source.write_text(f"{number}")
        until(lambda number=number: open_text(target) == f"{number}", every=0.002)
        took.append(time.monotonic() - begun)
    print(f"from save to file: median {statistics.median(took) * 1000:.0f} ms")  # shown, not asserted


def test_up_watches_beside_the_output(stack: Stack) -> None:
    (stack.directory / "conf").mkdir()
    (stack.directory / "run").mkdir()
    up = stack.start("up", "--watch")
    seen = "".join(enabled(up))
    until(lambda: cat(stack, "/app/f") == "one\n")
    (stack.directory / "src" / "f").write_text("again\n")
    until(lambda: cat(stack, "/app/f") == "again\n")
    up.send_signal(signal.SIGINT)
    out, _ = up.communicate(timeout=30)
    assert "web-1    | started" in seen + out
    assert {row["State"] for row in stack.ps().values()} == {"exited"}


def test_a_service_without_rules_cannot_be_watched(stack: Stack) -> None:
    told = stack("watch", "other", check=False)
    assert told.returncode == 1 and "configured for watch" in told.stderr
