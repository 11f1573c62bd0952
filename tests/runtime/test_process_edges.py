"""Where processes of ours meet what a person or a container holds: streams, files, users, environment."""

from __future__ import annotations

import os
import pty
import socket
import stat
import string
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.errors import RuntimeFailure
from runtime.inside import own
from runtime.policy.users import LAST_ID, UnknownUser, User, look_up
from runtime.process import relay, streams
from runtime.process.environment import own_environment

# --- files inside


def link(aim: str, path: str) -> None:
    Path(path).symlink_to(aim)


def test_a_regular_file_is_read_and_a_missing_one_is_empty(tmp_path: Path) -> None:
    (tmp_path / "passwd").write_bytes(b"root:x:0:0\xff\n")
    assert own.text(str(tmp_path / "passwd")) == "root:x:0:0\N{REPLACEMENT CHARACTER}\n"
    assert own.text(str(tmp_path / "none")) == ""
    assert own.text(str(tmp_path / "passwd/below")) == ""


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (os.mkfifo, "a named pipe"),
        (os.mkdir, "a directory"),
        (lambda path: link("/dev/zero", path), "a device"),
        (lambda path: link("/dev/tty", path), "cannot read"),
        (lambda path: socket.socket(socket.AF_UNIX).bind(path), "cannot read"),
        (lambda path: link(path, path), "too many levels"),
        (lambda path: link("/proc/self/fd/0", path), "too many levels"),
        (lambda path: link("/proc/self/exe", path), "too many levels"),
        (lambda path: link("/proc/1/root/etc/passwd", path), "cannot read"),
        (
            lambda path: os.close(os.open(path, os.O_CREAT | os.O_RDWR)) or os.truncate(path, 1 << 40),
            "larger",
        ),
    ],
)
@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_a_strange_file_is_an_error_at_once(make: Callable[[str], object], why: str, tmp_path: Path) -> None:
    path = str(tmp_path / "f")
    make(path)
    with pytest.raises(RuntimeFailure, match=why):
        own.text(path)


def test_the_largest_file_is_read_and_one_byte_more_is_not(tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_bytes(b"x" * own.LARGEST)
    assert len(own.text(str(path))) == own.LARGEST
    path.write_bytes(b"x" * (own.LARGEST + 1))
    with pytest.raises(RuntimeFailure, match="larger than 4 MiB"):
        own.text(str(path))


@pytest.mark.parametrize("path", ["/proc/self/cwd", "/proc/self/root", "/proc/self/fd/{}"])
def test_no_working_directory_is_reached_by_a_magic_link(path: str, tmp_path: Path) -> None:
    fd = os.open("/", os.O_RDONLY)
    here = Path.cwd()
    (tmp_path / "link").symlink_to(path.format(fd))
    try:
        for one in (path.format(fd), str(tmp_path / "link")):
            with pytest.raises(OSError, match="symbolic links"):
                own.change_directory(one)
        assert Path.cwd() == here
    finally:
        os.close(fd)


def test_the_null_device_is_known_by_its_numbers(tmp_path: Path) -> None:
    fd = own.null()
    assert own.is_null(fd)
    os.close(fd)
    with open("/dev/zero", "rb") as zero, open(tmp_path / "f", "wb") as file:
        assert not own.is_null(zero.fileno())
        assert not own.is_null(file.fileno())


# --- users

_PASSWD = """\
root:x:0:0:root:/root:/bin/sh
web:x:1000:1000:web:/home/web:/bin/sh
1000:x:0:0:a name of digits:/evil:/bin/sh
0:x:4321:4321::/evil:/bin/sh
twice:x:7:7::/first:/bin/sh
twice:x:8:8::/second:/bin/sh
broken:x:nine:9::/:/bin/sh
huge:x:99999999999:0::/:/bin/sh
below:x:-1:0::/:/bin/sh
"""
_GROUP = "root:x:0:\nweb:x:1000:\nstaff:x:50:web,1000\n1000:x:0:\nextra:x:60:web\nbad:x:x:\n"


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ("", User(0, 0, (0,), "/root")),
        ("root", User(0, 0, (0,), "/root")),
        ("0", User(0, 0, (0,), "/root")),
        ("00", User(0, 0, (0,), "/root")),
        ("web", User(1000, 1000, (1000, 50, 60), "/home/web")),
        ("1000", User(1000, 1000, (1000, 50, 60), "/home/web")),
        ("01000", User(1000, 1000, (1000, 50, 60), "/home/web")),
        ("1000:1000", User(1000, 1000, (1000,), "/home/web")),
        ("web:0", User(1000, 0, (0,), "/home/web")),
        ("web:staff", User(1000, 50, (50,), "/home/web")),
        ("4321", User(4321, 4321, (4321,), "/evil")),
        ("5555", User(5555, 0, (0,), "")),
        ("5555:staff", User(5555, 50, (50,), "")),
        ("twice", User(7, 7, (7,), "/first")),
        ("8", User(8, 8, (8,), "/second")),
        (str(LAST_ID), User(LAST_ID, 0, (0,), "")),
    ],
)
def test_digits_are_numbers_and_the_rest_names(asked: str, found: User) -> None:
    assert look_up(asked, (), _PASSWD, _GROUP) == found


@pytest.mark.parametrize(
    "asked",
    [
        *("nobody", "broken", "huge", "below", "-1", "+0", "0x0", "\u0660", "\u00b2"),
        *("web:none", "web:bad", "web:-1", "root:x"),
        *(" 0", "0 ", "web\n", str(LAST_ID + 1), "9" * 30, f"0:{LAST_ID + 1}"),
    ],
)
def test_what_is_neither_is_refused(asked: str) -> None:
    with pytest.raises(UnknownUser):
        look_up(asked, (), _PASSWD, _GROUP)


@settings(max_examples=300, deadline=None)
@given(st.integers(0, LAST_ID), st.text(max_size=400), st.text(max_size=400))
def test_whatever_the_files_say_a_number_is_that_user(number: int, passwd: str, group: str) -> None:
    try:
        assert look_up(str(number), (), passwd, group).uid == number
    except UnknownUser:
        pass  # the group of the entry is none


# --- environment


def test_of_the_callers_environment_little_is_kept() -> None:
    kept = {"PATH": "/bin", "HOME": "/root", "LANG": "C", "TZ": "UTC", "PYCOMPOSE_RUN": "/r"}
    given_up = (
        "CI_TOKEN",
        "LD_PRELOAD",
        "LD_LIBRARY_PATH",
        "PYTHONPATH",
        "PYTHONHOME",
        "PYTHONSTARTUP",
        "BASH_ENV",
    )
    given_up += ("GCONV_PATH", "MALLOC_ARENA_MAX", "DOCKER_AUTH_CONFIG", "pycompose_run", "IFS", "ENV", "")
    assert own_environment({**kept, **dict.fromkeys(given_up, "x")}) == kept


# --- streams


def in_child(body: Callable[[], bytes]) -> bytes:
    """Run ``body`` in a forked child and return what it returned."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        answer = os.dup2(writer, 60)
        os.closerange(3, 60)
        os.write(answer, body() or b"")
        os._exit(0)
    os.close(writer)
    with open(reader, "rb") as pipe:
        text = pipe.read()
    assert os.waitpid(pid, 0)[1] == 0, text
    return text


@pytest.mark.parametrize("order", [(10, 11, 12), (12, 11, 10), (0, 1, 2), (2, 1, 0), (1, 1, 1), (2, 2, 0)])
def test_the_three_streams_are_taken_whatever_their_numbers(order: tuple[int, int, int]) -> None:
    def body() -> bytes:
        pipes = {fd: os.pipe() for fd in {*order}}
        wanted = {fd: os.dup2(os.dup(pair[1]), 40 + fd) for fd, pair in pipes.items()}
        for fd, moved in wanted.items():
            os.dup2(moved, fd)
        inodes = [os.fstat(fd).st_ino for fd in order]
        streams.take(order, 60)
        assert [os.fstat(fd).st_ino for fd in range(3)] == inodes
        return " ".join(str(fd) for fd in range(200) if _is_open(fd)).encode()

    assert in_child(body).split() == [b"0", b"1", b"2", b"60"]


@pytest.mark.parametrize("kept", [(3,), (4, 60), (60, 5, 3), (59, 60)])
def test_only_what_is_to_be_kept_stays_open(kept: tuple[int, ...]) -> None:
    def body() -> bytes:
        for fd in range(3, 60):
            os.dup2(0, fd)
        streams.take((0, 1, 2), 60, *kept)
        return " ".join(str(fd) for fd in range(3, 200) if _is_open(fd)).encode()

    assert in_child(body).split() == [str(fd).encode() for fd in sorted({60, *kept})]


def _is_open(fd: int) -> bool:
    try:
        os.fstat(fd)
        return True
    except OSError:
        return False


@pytest.mark.parametrize("stdio", [(), (streams.NULL,) * 3])
def test_no_streams_are_null_devices(stdio: tuple[int, ...]) -> None:
    def body() -> bytes:
        streams.take(stdio, 60)
        return b"".join(b"n" if own.is_null(fd) else b"?" for fd in range(3))

    assert in_child(body) == b"nnn"


# --- relay


@contextmanager
def standard(inputs: bytes) -> Iterator[dict[str, int]]:
    """Standard streams of this process replaced: input from a pipe, outputs into files."""
    saved = [os.dup(fd) for fd in range(3)]
    reader, writer = os.pipe()
    files = {"out": os.memfd_create("out"), "err": os.memfd_create("err")}
    try:
        os.dup2(reader, 0)
        os.dup2(files["out"], 1)
        os.dup2(files["err"], 2)
        feeder = threading.Thread(target=_feed, args=(writer, inputs))
        feeder.start()
        yield files
        feeder.join()
    finally:
        for fd, kept in enumerate(saved):
            os.dup2(kept, fd)
            os.close(kept)
        os.close(reader)
        for fd in files.values():
            os.close(fd)


def _feed(writer: int, data: bytes) -> None:
    with open(writer, "wb") as pipe:
        try:
            pipe.write(data)
        except BrokenPipeError:
            pass


def content(fd: int) -> bytes:
    return os.pread(fd, 1 << 26, 0)


@pytest.mark.parametrize("size", [0, 1, 70_000, 3_000_000])
def test_everything_is_copied_both_ways(size: int) -> None:
    data = os.urandom(size)
    with standard(data) as files:
        copy = relay.Streams()
        end, ended = os.pipe()
        reader, output, error = copy.theirs
        pid = os.fork()
        if pid == 0:
            for target, fd in enumerate((reader, output, error)):
                os.dup2(fd, target)
            os.dup2(ended, 3)
            os.closerange(4, 100)
            with open(0, "rb", closefd=False) as source, open(1, "wb", closefd=False) as target_file:
                target_file.write(source.read())
            os.write(2, b"done")
            os._exit(0)
        os.close(ended)
        copy.hand_over()
        copy.run(end, lambda: os.waitpid(pid, 0)[1] == 0)
        assert (content(files["out"]), content(files["err"])) == (data, b"done")
        copy.close()
        os.close(end)


def test_nothing_of_the_callers_is_handed_over() -> None:
    with standard(b""):
        copy = relay.Streams()
        mine = {os.fstat(fd).st_ino for fd in range(3)}
        assert not mine & {os.fstat(fd).st_ino for fd in copy.theirs}
        assert all(stat.S_ISFIFO(os.fstat(fd).st_mode) for fd in copy.theirs)
        assert not any(os.get_inheritable(fd) for fd in (*copy.theirs, *copy.ours))
        copy.close()


def test_outputs_that_are_one_file_stay_one() -> None:
    with standard(b""):
        os.dup2(1, 2)
        copy = relay.Streams(interactive=False)
        assert copy.theirs[1] == copy.theirs[2]
        assert len(copy.outputs) == 1
        copy.close()


def test_a_reader_that_goes_away_does_not_stop_the_rest() -> None:
    with standard(b"x" * 20_000) as files:
        copy = relay.Streams()
        end, ended = os.pipe()
        os.close(copy.theirs[0])
        os.write(copy.theirs[1], b"said")
        copy.theirs = copy.theirs[1:]
        copy.hand_over()
        os.close(ended)
        copy.run(end, lambda: True)
        assert content(files["out"]) == b"said"
        copy.close()
        os.close(end)


def test_a_terminal_gets_raw_bytes_and_the_size_of_ours() -> None:
    ours, theirs = pty.openpty(), pty.openpty()
    relay.resize(theirs[0])  # without a terminal of ours nothing happens
    for fd in (*ours, *theirs):
        os.close(fd)


@given(st.text(string.printable, max_size=50).map(str.encode))
@settings(max_examples=20, deadline=None)
def test_all_of_a_text_is_written(data: bytes) -> None:
    reader, writer = os.pipe()
    relay.write_all(writer, data)
    os.close(writer)
    with open(reader, "rb") as pipe:
        assert pipe.read() == data
