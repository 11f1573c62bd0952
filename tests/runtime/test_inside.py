"""Paths inside a root: whatever links it holds, what is opened or made lies within it. Needs no rights."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.build import stubs
from runtime.errors import RuntimeFailure
from runtime.image.errors import InvalidImage
from runtime.image.layer import pack
from runtime.image.view import View
from runtime.inside import attach
from runtime.inside.paths import PLAIN, below, directory, enter, file, name_of, own_directory
from runtime.inside.remove import delete, remove_empty, remove_tree
from runtime.inside.walk import open_below, open_file, usage, walk

NAMES = st.sampled_from(["a", "b", "c", "..", ".", "proc", "etc"])
PATHS = st.builds(
    lambda lead, parts: lead + "/".join(parts),
    st.sampled_from(["", "/"]),
    st.lists(NAMES, min_size=1, max_size=6),
)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("dir"), PATHS, st.just("")),
        st.tuples(st.just("file"), PATHS, st.just("")),
        st.tuples(st.just("link"), PATHS, PATHS),
    ),
    max_size=12,
)


class Farm:
    """A root beside a file of "the host", filled with what the steps say."""

    def __init__(self, steps: list[tuple[str, str, str]]) -> None:
        self.home = Path(tempfile.mkdtemp())
        self.root = self.home / "one/two/root"
        self.root.mkdir(parents=True)
        (self.home / "etc").mkdir()
        (self.home / "etc/a").write_text("host")
        self.fd = os.open(self.root, os.O_PATH | os.O_DIRECTORY)
        for kind, path, aim in steps:
            parts = [part for part in path.split("/") if part not in ("", ".", "..")]
            if not parts:
                continue
            place = self.root.joinpath(*parts)
            try:
                for parent in reversed(place.relative_to(self.root).parents[:-1]):
                    here = self.root / parent
                    if here.is_symlink() or here.is_file():
                        break
                    here.mkdir(exist_ok=True)
                else:
                    if kind == "dir":
                        place.mkdir()
                    elif kind == "file":
                        place.open("x").close()
                    else:
                        place.symlink_to(aim)
            except FileExistsError:
                continue

    def outside(self) -> list[str]:
        """What lies beside the root."""
        return sorted(
            str(path.relative_to(self.home))
            for path in self.home.rglob("*")
            if self.root not in path.parents and path != self.root
        )

    def close(self) -> None:
        os.close(self.fd)
        shutil.rmtree(self.home)


@settings(max_examples=250, deadline=None)
@given(STEPS, PATHS, st.sampled_from(["enter", "directory", "file", "below", "remove", "point"]))
def test_whatever_is_opened_or_made_lies_within_the_root(
    steps: list[tuple[str, str, str]], path: str, how: str
) -> None:
    farm = Farm(steps)
    before = farm.outside()
    try:
        fd = {
            "enter": lambda: enter(farm.fd, path),
            "directory": lambda: directory(farm.fd, path),
            "file": lambda: file(farm.fd, path),
            "below": lambda: below(farm.fd, path),
            "remove": lambda: -int(remove_empty(farm.fd, path)) - 1,
            "point": lambda: attach.mount_point(farm.fd, path, is_directory=True),
        }[how]()
        if fd >= 0:
            place = Path(f"/proc/self/fd/{fd}").readlink()
            os.close(fd)
            assert place == farm.root or farm.root in place.parents
    except (OSError, RuntimeFailure):
        pass
    finally:
        after = farm.outside()
        farm.close()
    assert after == before


@settings(max_examples=80, deadline=None)
@given(STEPS)
def test_a_walk_names_each_file_once_and_reads_nothing_of_the_host(steps: list[tuple[str, str, str]]) -> None:
    farm = Farm(steps)
    try:
        top = os.open(farm.root, os.O_RDONLY)
        seen = [path for path, *_ in walk(top, living=False)]
        os.close(top)
        wanted = sorted(os.fsencode(path.relative_to(farm.root)) for path in _every(farm.root))
        assert sorted(seen) == wanted and usage(farm.root) >= 0
        delete(farm.root)
        assert not farm.root.exists() and (farm.home / "etc/a").read_text() == "host"
    finally:
        farm.close()


def _every(root: Path) -> list[Path]:
    found = []
    for here, directories, files in os.walk(root):
        found += [Path(here) / name for name in (*directories, *files)]
    return found


def test_a_link_of_the_image_in_place_of_proc_gives_way(tmp_path: Path) -> None:
    root = os.open(tmp_path, os.O_PATH | os.O_DIRECTORY)
    (tmp_path / "etc").mkdir()
    (tmp_path / "proc").symlink_to("etc")
    os.close(own_directory(root, "/proc"))
    assert (tmp_path / "proc").is_dir() and not (tmp_path / "proc").is_symlink()
    os.close(root)


def test_a_dangling_link_is_made_inside(tmp_path: Path) -> None:
    (tmp_path / "root/etc").mkdir(parents=True)
    (tmp_path / "root/etc/resolv.conf").symlink_to("../run/resolve/stub.conf")
    root = os.open(tmp_path / "root", os.O_PATH | os.O_DIRECTORY)
    fd = file(root, "/etc/resolv.conf")
    assert name_of(root, fd) == "/run/resolve/stub.conf"
    assert (tmp_path / "root/etc/resolv.conf").is_symlink()
    os.close(fd)
    os.close(root)


def test_the_umask_of_the_caller_does_not_count(tmp_path: Path) -> None:
    root, before = os.open(tmp_path, os.O_PATH | os.O_DIRECTORY), os.umask(0o077)
    try:
        os.close(directory(root, "/a/b", mode=0o1777))
        os.close(file(root, "/c/d"))
    finally:
        os.umask(before)
        os.close(root)
    modes = [(tmp_path / name).stat().st_mode & 0o7777 for name in ("a", "a/b", "c", "c/d")]
    assert modes == [0o755, 0o1777, 0o755, 0o644]


def test_cve_2017_1002101_a_subpath_that_leads_out_is_refused_with_the_reason(tmp_path: Path) -> None:
    volume = tmp_path / "volume"
    (volume / "real").mkdir(parents=True)
    (volume / "abs").symlink_to("/")
    (volume / "up").symlink_to("../..")
    (volume / "good").symlink_to("real")
    fd = os.open(volume, os.O_PATH | os.O_DIRECTORY)
    for name in ("abs", "up", "abs/etc", "../volume", "real/../../x"):
        with pytest.raises(RuntimeFailure, match="leads out of it"):
            attach.subpath(fd, name, "the volume")
    with pytest.raises(RuntimeFailure, match="subpath 'none' of the volume: no such file or directory"):
        attach.subpath(fd, "none", "the volume")
    os.close(attach.subpath(fd, "good", "the volume"))
    os.close(fd)


def test_a_file_where_a_directory_is_needed_is_told_in_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "f").touch()
    (tmp_path / "d").mkdir()
    root = os.open(tmp_path, os.O_PATH | os.O_DIRECTORY)
    with pytest.raises(RuntimeFailure, match="cannot mount on '/f/x': a file is in the way"):
        attach.mount_point(root, "/f/x", is_directory=True)
    with pytest.raises(RuntimeFailure, match="cannot mount a file on '/d', which is a directory"):
        attach.mount_point(root, "/d", is_directory=False)
    os.close(root)


def test_a_tree_of_any_depth_and_breadth_is_removed(tmp_path: Path) -> None:
    """mkdir and chdir make trees that no path can name: recursion and descriptors would run out."""
    home = tmp_path / "home"
    home.mkdir()
    before, start = os.open(".", os.O_RDONLY), home
    os.chdir(start)
    for number in range(3000):
        Path("d").mkdir()
        Path(f"f{number}").touch()
        os.chdir("d")
    os.fchdir(before)
    os.close(before)
    top = os.open(home, os.O_RDONLY)
    with pytest.raises(OSError, match="too long"):
        list(walk(top, living=False))
    os.close(top)
    parent = os.open(tmp_path, os.O_RDONLY)
    remove_tree(parent, "home")
    os.close(parent)
    assert not home.exists()


def test_a_walk_goes_as_deep_as_a_path_can_be(tmp_path: Path) -> None:
    top = os.open(tmp_path, os.O_RDONLY)
    here = tmp_path
    for _ in range(400):
        here = here / "d"
        here.mkdir()
    (here / "f").write_text("deep")
    (tmp_path / "e").touch()
    paths = [path for path, *_ in walk(top, living=False)]
    assert len(paths) == 402 and paths[400] == b"d/" * 400 + b"f" and paths[-1] == b"e"
    fd = open_below(top, paths[400])
    assert os.read(fd, 9) == b"deep"
    os.close(fd)
    os.close(top)


def test_only_regular_files_are_opened(tmp_path: Path) -> None:
    """A pipe in place of a file would keep the reader waiting for ever, a device might act."""
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("/etc/passwd")
    fd = os.open(tmp_path, os.O_RDONLY)
    for name in (b"pipe", b"link", b"none"):
        with pytest.raises(FileNotFoundError):
            open_file(fd, name)
    with pytest.raises(OSError, match="symbolic links"):
        enter(fd, "link", resolve=PLAIN)
    os.close(fd)


def test_what_vanishes_from_a_living_tree_is_left_out(tmp_path: Path) -> None:
    for name in ("a", "b/x", "c"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    fd = os.open(tmp_path, os.O_RDONLY)
    seen = []
    for path, *_ in walk(fd, living=True):
        seen.append(path)
        if path == b"a":
            shutil.rmtree(tmp_path / "b")
    assert seen == [b"a", b"c"]
    os.close(fd)


def test_taking_out_mount_points_follows_no_link_of_the_program(tmp_path: Path) -> None:
    """What ran replaced the directories above its mount points by links to the host's."""
    host, upper, layer = (tmp_path / name for name in ("host", "upper", "layer"))
    for directory_ in (host / "empty", upper / "own", layer):
        directory_.mkdir(parents=True)
    (host / "file").touch()
    (upper / "own/file").touch()
    (upper / "run").symlink_to(host)
    stubs.prune(upper, ["/run/file", "/run/empty", "/own/file", "/none/x"], View([layer]))
    assert (host / "file").exists() and (host / "empty").exists() and not (upper / "own/file").exists()


def test_a_file_that_shrinks_under_the_reader_is_filled_up(tmp_path: Path) -> None:
    (tmp_path / "big").write_bytes(b"x" * 3000)
    parts = pack(tmp_path, living=True)
    header = next(parts)
    os.truncate(tmp_path / "big", 10)
    rest = b"".join(parts)
    assert len(header) == 512 and rest[:10] == b"x" * 10 and set(rest[10:3000]) == {0}
    with pytest.raises(InvalidImage, match="'big' became shorter"):
        strict = pack(tmp_path)
        next(strict)
        os.truncate(tmp_path / "big", 0)
        list(strict)
