"""A full disk, a broken server, a directory that is no cache: a build that fails leaves what was there."""

from __future__ import annotations

from pathlib import Path

import pytest
from build_bench import Bench, bench, text

from runtime.errors import BuildFailed, ImageError
from runtime.image.errors import StoreFull
from runtime.kernel.mounts import mount

pytestmark = pytest.mark.root


def small(scratch: Path, busybox_root: Path) -> Bench:
    """A store on a file system of 24 MB."""
    (scratch / "disk").mkdir()
    mount("tmpfs", scratch / "disk", "tmpfs", data="size=24m")  # gone with the namespace of the test
    return bench(scratch / "disk", busybox_root)


def test_a_disk_that_fills_up_in_a_copy_leaves_nothing(scratch: Path, busybox_root: Path) -> None:
    b = small(scratch, busybox_root)
    (scratch / "more").mkdir()
    for n in range(5):
        (scratch / f"more/{n}").write_bytes(bytes(6 << 20))
    contexts = {"more": str(scratch / "more")}
    first = b.build("FROM busybox\nRUN echo 1 > /1\n", tags=("app",))
    with pytest.raises((StoreFull, BuildFailed), match="no space left"):
        b.build("FROM app\nCOPY --from=more . /more/\n", tags=("app",), additional_contexts=contexts)
    assert b.clean()
    assert b.store.resolve("app").id == first.id, "the name stays with what it named"
    image = b.build("FROM app\nRUN echo 2 > /2\n", tags=("app",))
    assert text(image, "/2") == "2\n"


def test_a_disk_that_fills_up_in_a_run_leaves_nothing(scratch: Path, busybox_root: Path) -> None:
    b = small(scratch, busybox_root)
    with pytest.raises(ImageError, match=r"exit code 1(.|\n)*No space left"):
        b.build("FROM busybox\nRUN dd if=/dev/zero of=/big bs=1M count=40\n")
    assert b.clean()
    assert text(b.build("FROM busybox\nRUN echo 2 > /2\n"), "/2") == "2\n"


def test_a_cache_is_not_written_over_other_files(scratch: Path, busybox_root: Path) -> None:
    b = bench(scratch, busybox_root)
    (scratch / "home").mkdir()
    (scratch / "home/letter").write_text("dear")
    with pytest.raises(BuildFailed, match="is not empty and holds no cache"):
        b.build("FROM busybox\nRUN true\n", cache_to=(f"type=local,dest={scratch}/home",))
    assert (scratch / "home/letter").read_text() == "dear"
    assert [path.name for path in (scratch / "home").iterdir()] == ["letter"]
    b.build("FROM busybox\nRUN true\n", cache_to=(f"type=local,dest={scratch}/home,ignore-error=true",))
    with pytest.raises(BuildFailed, match="type 's3' cannot be written"):
        b.build("FROM busybox\nRUN true\n", cache_to=("type=s3,bucket=b",))
    assert b.clean()


def test_a_damaged_layer_of_a_cache_is_refused_and_made_anew(scratch: Path, busybox_root: Path) -> None:
    (scratch / "one").mkdir()
    (scratch / "two").mkdir()
    one, two = bench(scratch / "one", busybox_root), bench(scratch / "two", busybox_root)
    place = f"{scratch}/cache"
    one.build("FROM busybox\nRUN echo x > /x\n", cache_to=(f"type=local,dest={place}",))
    for blob in Path(place, "blobs/sha256").iterdir():
        if blob.read_bytes()[:2] == b"\x1f\x8b":
            blob.write_bytes(blob.read_bytes()[:-20] + bytes(20))
    image = two.build("FROM busybox\nRUN echo x > /x\n", cache_from=(f"type=local,src={place}",))
    assert text(image, "/x") == "x\n" and two.steps() == ["Done"]
    assert any("cannot be had" in event.text for event in two.heard if event.kind == "note")
    assert two.clean()
