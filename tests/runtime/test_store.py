"""The store: names, ids, removal, what a crash or a full disk leaves."""

from __future__ import annotations

import errno
import multiprocessing
import os
import subprocess
import sys
from pathlib import Path

import pytest

from runtime.errors import ImageError, ImageNotFound
from runtime.image import layer
from runtime.image.errors import DigestMismatch, ImageInUse, InvalidReference, StoreFull
from runtime.image.manifest import HealthCheck, History, Image, ImageConfig, read_config, write_config
from runtime.image.store import Store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "images")


def add(store: Store, name: str, **files: str) -> Image:
    with store.ingest() as work:
        (work / "diff").mkdir()
        for file, text in files.items():
            (work / "diff" / file).write_text(text)
            os.utime(work / "diff" / file, (1, 1))
        made = layer.digest(work / "diff")
        store.commit_layer(work / "diff", made.diff_id, size=made.size)
    return store.put_image(ImageConfig(env=(f"NAME={name}",)), [made.diff_id], [name])


def test_an_image_is_found_by_every_spelling_of_its_name_and_by_its_id(store: Store) -> None:
    image = add(store, "postgres:15", a="1")
    for text in (
        "postgres:15",
        "docker.io/library/postgres:15",
        "library/postgres:15",
        image.id,
        image.id[7:19],
    ):
        found = store.find(text)
        assert found is not None and found.id == image.id
    assert store.find("postgres") is None
    with pytest.raises(ImageNotFound, match="'postgres:16' is not in the store"):
        store.resolve("postgres:16")
    with pytest.raises(InvalidReference):
        store.find("No/Such")


def test_layers_are_shared(store: Store) -> None:
    one, two = add(store, "one", a="1"), add(store, "two", a="1")
    assert one.layers == two.layers
    assert one.id != two.id


def test_a_name_moves_and_the_image_stays(store: Store) -> None:
    one, two = add(store, "x", a="1"), add(store, "y", a="2")
    store.tag("y", "x")
    assert store.resolve("x").id == two.id
    assert store.resolve(one.id).references == ()
    assert {image.id for image in store.images()} == {one.id, two.id}


def test_removing_the_last_name_removes_the_image_and_its_layers(store: Store) -> None:
    image = add(store, "x", a="1")
    store.tag("x", "y:2")
    assert store.remove("x") == ["Untagged: x:latest"]
    assert image.layers[0].is_dir()
    assert store.remove("y:2") == ["Untagged: y:2", f"Deleted: {image.id}"]
    assert store.images() == []
    assert list((store.root / "layers").iterdir()) == []
    assert list((store.root / "blobs/sha256").iterdir()) == []
    assert list((store.root / "trash").iterdir()) == []


def test_a_used_image_is_not_removed(store: Store) -> None:
    image = add(store, "x", a="1")
    with pytest.raises(ImageInUse):
        store.remove("x", in_use={image.id})
    with pytest.raises(ImageInUse):
        store.remove(image.id, in_use={image.id})
    assert store.remove("x", in_use={image.id}, force=True) == ["Untagged: x:latest"]
    assert image.layers[0].is_dir()
    with pytest.raises(ImageInUse):  # no name is left: nothing that force could take
        store.remove(image.id, in_use={image.id}, force=True)
    assert store.remove(image.id) == [f"Deleted: {image.id}"]
    assert not image.layers[0].exists()


def test_an_id_with_several_names_needs_force(store: Store) -> None:
    image = add(store, "x", a="1")
    store.tag("x", "y")
    with pytest.raises(ImageInUse):
        store.remove(image.id)
    store.remove(image.id[7:19], force=True)
    assert store.images() == []


def test_a_damaged_blob_is_noticed(store: Store) -> None:
    image = add(store, "x", a="1")
    (store.root / "blobs/sha256" / image.id[7:]).write_text("{}")
    with pytest.raises(DigestMismatch):
        store.find("x")
    other = add(store, "y", a="2")
    assert [found.id for found in store.images()] == [other.id]
    with pytest.raises(ImageError) as caught:
        store.remove("x")
    assert "rmi -f x" in caught.value.hint
    assert store.remove("x", force=True) == [f"Deleted: {image.id}"]
    assert store.find("x") is None and not image.layers[0].exists() and other.layers[0].is_dir()


def test_an_image_needs_its_layers(store: Store) -> None:
    with pytest.raises(ImageNotFound):
        store.put_image(ImageConfig(), ["sha256:" + "0" * 64], ["x"])
    with pytest.raises(ImageError):
        store.layer("sha256:../../etc")


def test_an_ingest_is_deleted_whatever_happens(store: Store) -> None:
    with pytest.raises(RuntimeError), store.ingest() as work:
        (work / "x").mkdir()
        raise RuntimeError
    with pytest.raises(StoreFull, match="no space left"), store.ingest() as work:
        raise OSError(errno.ENOSPC, "No space left on device")
    assert list((store.root / "ingest").iterdir()) == []


def test_what_a_killed_process_left_is_swept_and_what_a_living_one_has_is_not(store: Store) -> None:
    code = (
        "import sys, time; from pathlib import Path; from runtime.image.store import Store\n"
        "with Store(Path(sys.argv[1])).ingest() as work:\n"
        "    (work / 'x').mkdir(); print('ready', flush=True); time.sleep(60)\n"
    )
    with subprocess.Popen([sys.executable, "-c", code, str(store.root)], stdout=subprocess.PIPE) as child:
        assert child.stdout is not None and child.stdout.readline() == b"ready\n"
        store.sweep()
        assert len(list((store.root / "ingest").iterdir())) == 1
        child.kill()
    store.sweep()
    assert list((store.root / "ingest").iterdir()) == []


def test_nothing_is_collected_while_an_image_is_made(store: Store) -> None:
    image = add(store, "x", a="1")
    store.index.drop_image(image.id)
    with store.using():
        assert not store.collect()
        assert image.layers[0].is_dir()
    assert store.collect()
    assert not image.layers[0].exists()


def _add_many(root: Path, start: int) -> None:
    store = Store(root)
    for n in range(20):
        add(store, f"name{(start + n) % 25}", a=str(n % 7))


def test_processes_may_write_at_once(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=_add_many, args=(tmp_path / "images", 5 * n)) for n in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
        assert worker.exitcode == 0
    store = Store(tmp_path / "images")
    assert len([store.resolve(f"name{n}") for n in range(25)]) == 25
    assert len(list((store.root / "layers").iterdir())) == 7
    assert list((store.root / "ingest").iterdir()) == []


def test_a_configuration_survives_its_json() -> None:
    config = ImageConfig(
        env=("A=b=c",),
        entrypoint=("/e",),
        cmd=("a", "b"),
        user="1:2",
        working_dir="/w",
        volumes=("/v",),
        exposed_ports=("80/tcp",),
        labels={"x": "y"},
        stop_signal="SIGINT",
        healthcheck=HealthCheck(test=("CMD", "x"), interval=1.5, retries=3),
        shell=("/bin/bash", "-c"),
        on_build=("RUN x",),
        architecture="amd64",
        created="2026-01-01T00:00:00Z",
        history=(History(created_by="RUN x", empty=True),),
    )
    layers = ("sha256:" + "1" * 64,)
    assert read_config(write_config(config, layers)) == (config, layers)
