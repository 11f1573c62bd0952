"""The store under kill -9 at every change of the file system, and under a disk that is full at every page.

Not by chance: a child counts its own changes (audit events of the interpreter) and kills itself at the n-th
one; a tmpfs is filled so that exactly n pages, or n files, are left.
"""

from __future__ import annotations

import errno
import functools
import io
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from runtime.errors import ImageError, ImageNotFound
from runtime.image import archive, garbage, layer, tar
from runtime.image.errors import ImageInUse, StoreFull
from runtime.image.manifest import ImageConfig
from runtime.image.rootfs import adopt
from runtime.image.save import FORMS, save_to
from runtime.image.store import Store
from runtime.kernel.mounts import Mount, mount, umount2
from tests.support.children import Child, Died, in_child

pytestmark = pytest.mark.root
sys.path.insert(0, str(Path(__file__).parent.parent / "runtime"))
from hostile import END, docker, entry, layout  # noqa: E402

ONE = (
    entry("etc/one", b"1" * 5000)
    + entry("bin/a", b"a" * 100)
    + entry("b", type=tar.HARDLINK, link=b"bin/a")
    + END
)
TWO = entry("etc/.wh.one") + entry("twice", b"old") + entry("twice", b"new" * 3000) + END
CHANGES = frozenset(
    (
        *("os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.link", "os.symlink", "os.chmod", "os.chown"),
        *("os.setxattr", "os.utime", "os.truncate", "shutil.rmtree", "sqlite3.connect", "fcntl.flock"),
    )
)


def taken(store: Store) -> None:
    """What is tried again and again: an image of two layers by load, one by import."""
    archive.load(store, io.BytesIO(docker(ONE, TWO, tags=["two:1"])))
    adopt(store, io.BytesIO(ONE), ImageConfig(), ["one:1"])


def whole(store: Store) -> None:
    """Every image, layer and blob that the store shows is what its digest says."""
    for image in store.images():
        for diff in image.layer_ids:
            assert sum(map(len, layer.stream(store.layer(diff).parent, diff)))
        assert all(store.resolve(name).id == image.id for name in image.references)
    for path in (store.root / "layers").iterdir():
        assert (path / "diff").is_dir()
        assert sum(map(len, layer.stream(path, f"sha256:{path.name}")))
    for path in (store.root / "blobs/sha256").iterdir():
        store.blob(f"sha256:{path.name}")


def left(store: Store) -> list[str]:
    """What lies in the making."""
    return [path.name for path in (store.root / "ingest").iterdir() if path.is_dir()]


def die_at(number: int, body: Callable[[], None]) -> bool:
    """Run ``body`` in a child that kills itself before its change ``number``; whether it came that far."""
    count, counting = 0, True

    def hear(event: str, words: tuple[object, ...]) -> None:
        nonlocal count
        writes = event == "open" and isinstance(words[2], int) and words[2] & (os.O_WRONLY | os.O_RDWR)
        if counting and (event in CHANGES or writes):
            count += 1
            if count == number:
                os.kill(os.getpid(), signal.SIGKILL)

    def counted() -> None:
        nonlocal counting
        sys.addaudithook(hear)
        try:
            body()
        finally:
            counting = False  # what happened is told

    try:
        in_child(counted)
    except Died as died:
        assert died.code == -signal.SIGKILL, died
        return True
    return False


@pytest.fixture
def memory(scratch: Path) -> Path:
    """A place where fsync(2) costs nothing; the mount namespace of the test takes it along when it ends."""
    return scratch / "memory"


def test_killed_at_any_change_the_store_is_whole_and_the_next_one_finishes(memory: Path) -> None:
    with small_disk(memory, "size=200m"):
        for number in range(1, 1000):
            root = memory / f"s{number}"
            if not die_at(number, lambda root=root: taken(Store(root))):  # type: ignore[misc]
                break
            store = Store(root)
            whole(store)
            taken(store)
            whole(store)
            assert left(store) == []
            assert {store.resolve(name).references[0][-5:] for name in ("one:1", "two:1")} == {
                "one:1",
                "two:1",
            }
        assert number > 50


def test_killed_while_removing_nothing_is_half_there(memory: Path) -> None:
    with small_disk(memory, "size=200m"):
        for number in range(1, 1000):
            store = Store(memory / f"s{number}")
            taken(store)
            if not die_at(number, lambda store=store: store.remove("two:1")):  # type: ignore[misc]
                break
            whole(store)
            store.collect()
            whole(store)
            assert store.find("one:1")
            assert left(store) == [] and list((store.root / "trash").iterdir()) == []
        assert number > 5


def test_killed_while_saving_the_file_is_whole_or_not_there(scratch: Path) -> None:
    store = Store(scratch / "images")
    taken(store)
    for number in range(1, 1000):
        target = scratch / f"{number}.tar"
        if not die_at(number, lambda target=target: save_to(store, ["two:1"], target)):  # type: ignore[misc]
            break
        if target.exists():
            assert archive.load(Store(scratch / f"s{number}"), target)
    assert number > 3
    whole(store)


def test_processes_that_load_remove_and_collect_at_once_leave_a_whole_store(memory: Path) -> None:
    with small_disk(memory, "size=100m"):
        store = Store(memory / "images")
        bodies = (loading, loading, removing, collecting)
        for child in [Child(functools.partial(body, store)) for body in bodies]:
            child.outcome()
        whole(store)
        taken(store)
        store.collect()
        whole(store)
        assert left(store) == [] and store.find("two:1") and store.find("one:1")


def test_what_a_living_process_is_about_to_use_is_not_removed(scratch: Path) -> None:
    store = Store(scratch / "images")
    taken(store)
    image = store.resolve("two:1")
    ready, wait = os.pipe(), os.pipe()

    def holder() -> None:
        store.hold([image.id])
        os.write(ready[1], b"x")
        os.read(wait[0], 1)

    child = Child(holder)
    os.read(ready[0], 1)
    with pytest.raises(ImageInUse):
        store.remove("two:1")
    assert garbage.prune(store, garbage.Wish(all=True), ())[0][-1].startswith("deleted: ")
    assert store.find("two:1") and not store.find("one:1")
    store.index.drop_image(image.id)  # as by a process that had looked before
    store.collect()
    assert all(layer.is_dir() for layer in image.layers) and store.blob(image.id)
    os.write(wait[1], b"x")
    child.outcome()
    store.collect()
    assert not any(layer.exists() for layer in image.layers)
    with pytest.raises(ImageNotFound, match="removed meanwhile"):
        store.hold([image.id])


def loading(store: Store) -> None:
    for _ in range(15):
        taken(store)


def removing(store: Store) -> None:
    for _ in range(40):
        with suppress(ImageNotFound):
            store.remove("two:1")


def collecting(store: Store) -> None:
    for _ in range(40):
        store.collect()
        store.sweep()


@contextmanager
def small_disk(place: Path, options: str) -> Iterator[None]:
    place.mkdir(exist_ok=True)
    mount("tmpfs", place, "tmpfs", Mount.NONE, options)
    try:
        yield
    finally:
        umount2(place)


def leave(place: Path, pages: int) -> None:
    """Fill the file system at ``place`` until ``pages`` pages are left."""
    (place / "filler").unlink(missing_ok=True)
    state = os.statvfs(place)
    size = (state.f_bavail - pages) * state.f_frsize
    fd = os.open(place / "filler", os.O_WRONLY | os.O_CREAT)
    try:
        if size > 0:
            os.posix_fallocate(fd, 0, size)
    finally:
        os.close(fd)


def full_disks(scratch: Path, body: Callable[[Store], None]) -> int:
    """Run ``body`` with 0, 1, 2 ... pages left until it works; each failure is told and leaves nothing."""
    for pages in range(1000):
        with small_disk(scratch / "disk", "size=2m"):
            store = Store(scratch / "disk/images")
            leave(scratch / "disk", pages)
            try:
                body(store)
                return pages
            except StoreFull as error:
                assert "free" in error.message and error.hint
            (scratch / "disk/filler").unlink()
            whole(store)
            assert left(store) == []
            body(store)
            whole(store)
    raise AssertionError("it never works")


def test_a_disk_that_is_full_at_any_page_keeps_nothing_half_made(scratch: Path) -> None:
    assert full_disks(scratch, taken) > 10


def test_a_disk_that_is_full_at_any_page_of_a_layout(scratch: Path) -> None:
    def body(store: Store) -> None:
        archive.load(store, io.BytesIO(layout(ONE)))

    assert full_disks(scratch, body) > 5


def test_a_disk_without_room_for_another_file_keeps_nothing_half_made(scratch: Path) -> None:
    done = 0
    for files in range(60):
        with small_disk(scratch / "disk", f"size=4m,nr_inodes={20 + files}"):
            try:
                store = Store(scratch / "disk/images")
                taken(store)
                done += 1
            except StoreFull:
                assert left(store) == []
                whole(store)
            except OSError as error:
                assert error.errno == errno.ENOSPC  # the store itself could not be made
    assert 0 < done < 60


@pytest.mark.parametrize("form", FORMS)
def test_a_full_disk_where_an_archive_is_written_is_told_and_nothing_stays(scratch: Path, form: str) -> None:
    store = Store(scratch / "images")
    taken(store)
    for pages in range(1000):
        with small_disk(scratch / "disk", "size=1m"):
            leave(scratch / "disk", pages)
            before = sorted(path.name for path in (scratch / "disk").iterdir())
            try:
                save_to(store, ["two:1"], scratch / "disk/saved", form=form)
                break
            except ImageError as error:
                assert not isinstance(error, StoreFull) and "where the archive is written" in error.message
            assert sorted(path.name for path in (scratch / "disk").iterdir()) == before
    assert pages > 1
    assert left(store) == []


def test_a_new_store_on_a_full_disk_works_once_there_is_room(scratch: Path) -> None:
    for pages in range(40):
        with small_disk(scratch / "disk", "size=1m"):
            leave(scratch / "disk", pages)
            try:
                Store(scratch / "disk/images")
                whole_at_once = True
            except (StoreFull, OSError) as error:
                whole_at_once = False
                assert isinstance(error, StoreFull) or error.errno == errno.ENOSPC
            (scratch / "disk/filler").unlink()
            taken(Store(scratch / "disk/images"))
            if whole_at_once:
                return
    raise AssertionError("it never works")
