"""cp: files and directories both ways, by docker's rules of what becomes of them; nothing leads out."""

from __future__ import annotations

import io
import os
import subprocess
import tarfile
from pathlib import Path

import pytest

from tests.e2e.stack import Stack


def say(stack: Stack, command: str, index: int = 1) -> str:
    return stack("exec", "-T", "--index", str(index), "box", "sh", "-c", command).stdout


@pytest.fixture
def box(stack: Stack) -> Stack:
    (stack.directory / "d").mkdir()
    (stack.directory / "d" / "x").write_text("x")
    (stack.directory / "f").write_text("hello")
    (stack.directory / "l").symlink_to("f")
    os.chown(stack.directory / "f", 7, 8)
    (stack.directory / "f").chmod(0o640)
    stack("up", "-d")
    return stack


def test_files_go_into_every_replica_unless_one_is_named(box: Stack) -> None:
    box("cp", "f", "box:/tmp/g")
    assert [say(box, "cat /tmp/g; stat -c %u:%g:%a /tmp/g", n) for n in (1, 2)] == ["hello0:0:640\n"] * 2
    box("cp", "-a", "--index", "2", "f", "box:/tmp")
    assert say(box, "stat -c %u:%g /tmp/f", 2) == "7:8\n"
    assert say(box, "ls /tmp/f 2>&1 || true", 1).startswith("ls: /tmp/f")


def test_links_are_copied_or_followed(box: Stack) -> None:
    box("cp", "l", "box:/tmp/l")
    box("cp", "-L", "l", "box:/tmp/m")
    assert say(box, "readlink /tmp/l; test -L /tmp/m || cat /tmp/m") == "f\nhello"
    say(box, "ln -sf /etc/hostname /tmp/n")
    box("cp", "-L", "box:/tmp/n", "n")
    assert (box.directory / "n").read_text() == say(box, "cat /etc/hostname")


@pytest.mark.parametrize(
    ("source", "target", "found"),
    [
        ("d", "box:/tmp/new", "/tmp/new/x"),
        ("d", "box:/tmp", "/tmp/d/x"),
        ("d/.", "box:/tmp", "/tmp/x"),
        ("d", "box:/data", "/data/d/x"),
        ("f", "box:/tmp/", "/tmp/f"),
    ],
)
def test_what_a_copy_is_called(box: Stack, source: str, target: str, found: str) -> None:
    box("cp", source, target)
    assert say(box, f"test -e {found} && echo yes") == "yes\n"


@pytest.mark.parametrize(
    "words",
    [
        ("nosuch", "box:/tmp"),
        ("box:/nosuch", "."),
        ("f", "box:/no/such/f"),
        ("f", "box:/nosuch/"),
        ("d", "box:/etc/passwd"),
        ("f", "nosuch:/tmp"),
        ("f", "g"),
        ("box:/a", "box:/b"),
        ("box:/etc", "f"),
    ],
)
def test_what_cannot_be_copied_is_an_error(box: Stack, words: tuple[str, str]) -> None:
    assert box("cp", *words, check=False).returncode == 1


def test_directories_and_streams_come_out(box: Stack) -> None:
    say(box, "mkdir -p /tmp/o/p; echo in > /tmp/o/p/q; ln /tmp/o/p/q /tmp/o/r; ln -s /etc/passwd /tmp/o/s")
    box("cp", "box:/tmp/o", "out")
    assert (box.directory / "out/p/q").read_text() == "in\n"
    assert (box.directory / "out/r").samefile(box.directory / "out/p/q")
    assert os.readlink(box.directory / "out/s") == "/etc/passwd"  # noqa: PTH115
    done = subprocess.run(
        box.argv("cp", "box:/tmp/o/p/q", "-"),
        cwd=box.directory,
        env=box.environment,
        capture_output=True,
        check=True,
    )
    with tarfile.open(fileobj=io.BytesIO(done.stdout)) as archive:
        assert archive.getnames() == ["q"]


def test_a_hostile_archive_stays_inside(box: Stack, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w") as archive:
        link = tarfile.TarInfo("way")
        link.type, link.linkname = tarfile.SYMTYPE, str(outside)
        archive.addfile(link)
        inner = tarfile.TarInfo("way/file")
        inner.size = 3
        archive.addfile(inner, io.BytesIO(b"abc"))
    words = box.argv("cp", "--index", "1", "-", "box:/tmp")
    subprocess.run(words, cwd=box.directory, env=box.environment, input=raw.getvalue(), check=True)
    assert list(outside.iterdir()) == []
    assert say(box, f"cat {outside}/file") == "abc"
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("../up"))
    refused = subprocess.run(words, cwd=box.directory, env=box.environment, input=raw.getvalue(), check=False)
    assert refused.returncode == 1


def test_a_stopped_container_is_copied_from_and_to_with_its_volumes(box: Stack) -> None:
    say(box, "echo kept > /data/k; echo here > /tmp/h")
    box("stop")
    box("cp", "--index", "1", "box:/data/k", "k")
    box("cp", "box:/tmp/h", "h")
    assert (box.directory / "k").read_text() + (box.directory / "h").read_text() == "kept\nhere\n"
    box("cp", "f", "box:/tmp/late")
    box("start")
    assert [say(box, "cat /tmp/late", n) for n in (1, 2)] == ["hello"] * 2
