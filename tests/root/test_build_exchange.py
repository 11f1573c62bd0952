"""Build caches that travel by a real registry, and inside images."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from build_bench import bench

sys.path.insert(0, str(Path(__file__).parents[1] / "runtime"))
from real_registry import running

from runtime.image.push import push

pytestmark = pytest.mark.root
FILE = (
    "FROM busybox AS make\nRUN date +%N > /tmp/made\nFROM busybox\nCOPY a /a\n"
    "COPY --from=make /tmp/made /\nRUN date +%N > /last\n"
)


def test_a_registry_keeps_every_step_for_another_machine(scratch: Path, busybox_root: Path) -> None:
    (scratch / "one").mkdir()
    (scratch / "two").mkdir()
    one, two = bench(scratch / "one", busybox_root), bench(scratch / "two", busybox_root)
    for machine in (one, two):
        machine.files(a="1")
    with running(scratch / "registry") as host:
        told = f"type=registry,ref={host}/team/cache:main,mode=max"
        first = one.build(FILE, cache_from=(told,), cache_to=(told,))
        notes = [event.text for event in one.heard if event.kind == "note"]
        assert notes[0].startswith(f"the cache {host}/team/cache:main is not used"), notes
        second = two.build(FILE, cache_from=(told,))
        assert two.steps() == ["CACHED"] * 4 and second.id == first.id
        two.files(a="2")
        two.build(FILE, cache_from=(told,), cache_to=(told,))
        assert sorted(two.steps()) == ["CACHED", "Done", "Done", "Done"]
    assert not [image for image in (*one.store.images(), *two.store.images()) if not image.layer_ids]
    assert one.clean() and two.clean()


@pytest.mark.parametrize("way", ["type=inline", "argument"])
def test_an_image_can_carry_its_own_cache(scratch: Path, busybox_root: Path, way: str) -> None:
    (scratch / "one").mkdir()
    (scratch / "two").mkdir()
    one, two = bench(scratch / "one", busybox_root), bench(scratch / "two", busybox_root)
    for machine in (one, two):
        machine.files(a="1")
    file = "FROM busybox\nCOPY a /a\nRUN date +%N > /last\n"
    with running(scratch / "registry") as host:
        name = f"{host}/app:1"
        if way == "argument":
            one.build(file, tags=(name,), args={"BUILDKIT_INLINE_CACHE": "1"})
        else:
            one.build(file, tags=(name,), cache_to=(way,))
        push(one.store, name)
        made = two.build(file, cache_from=(name,))
        assert two.steps() == ["CACHED"] * 2
        assert made.layer_ids == one.store.resolve(name).layer_ids
        assert two.store.find(name) is None, "the image itself is not pulled"
        one.build(file, tags=("plain",))
        assert not any(
            "pycompose.cache" in line.comment for line in one.store.resolve("plain").config.history
        )


def test_only_the_layers_that_are_needed_are_fetched(scratch: Path, busybox_root: Path) -> None:
    (scratch / "one").mkdir()
    (scratch / "two").mkdir()
    one, two = bench(scratch / "one", busybox_root), bench(scratch / "two", busybox_root)
    file = (
        "FROM busybox AS a\nRUN date +%N > /a\nFROM busybox AS b\nRUN date +%N > /b\n"
        "FROM a\nCOPY --from=b /b /\n"
    )
    with running(scratch / "registry") as host:
        told = f"type=registry,ref={host}/cache,mode=max"
        one.build(file, cache_to=(told,))
        two.build(file, target="a", cache_from=(told,))
    assert two.steps() == ["CACHED"]
    assert len(two.store.index.layers()) == 2, "the base and one step"
