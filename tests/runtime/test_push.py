"""Pushing to a registry of the test's own: only what is missing, in pieces, over broken connections."""

from __future__ import annotations

import json
import random
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from image_registry import DOCKER, Content, digest, serving

from runtime.errors import ImageError, ImageNotFound, RegistryError
from runtime.image import layer, upload
from runtime.image.errors import RegistryBroken, RegistryDenied
from runtime.image.manifest import Image, ImageConfig
from runtime.image.progress import Progress
from runtime.image.pull import pull
from runtime.image.push import push as push_patiently
from runtime.image.reference import parse
from runtime.image.registry import Registry
from runtime.image.store import Store


@pytest.fixture
def server() -> Iterator[Content]:
    with serving(Content()) as content:
        yield content


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "images")


def made(store: Store, *names: str, **files: bytes) -> Image:
    """An image of one layer per file."""
    layers = []
    for name, data in files.items():
        with store.ingest() as work:
            (work / "diff").mkdir()
            (work / "diff" / name).write_bytes(data)
            found = layer.digest(work / "diff")
            store.commit_layer(work / "diff", found.diff_id, size=found.size)
            layers.append(found.diff_id)
    return store.put_image(ImageConfig(cmd=("sh",), architecture="amd64"), layers, names)


def push(store: Store, name: str, **words: Any) -> str:
    environment = {"HOME": str(store.root)} | words.pop("environment", {})
    return push_patiently(store, name, environment=environment, sleep=lambda _: None, **words)


def test_what_was_pushed_is_pulled_as_the_same_image(server: Content, store: Store, tmp_path: Path) -> None:
    name = f"127.0.0.1:{server.port}/team/x:1"
    image = made(store, name, a=b"1" * 10000, b=b"2")
    found = push(store, name)
    kind, data = server.manifests["1"]
    assert kind == "application/vnd.oci.image.manifest.v1+json" and digest(data) == found
    entries = json.loads(data)["layers"]
    assert {entry["mediaType"] for entry in entries} == {"application/vnd.oci.image.layer.v1.tar+gzip"}
    assert all(len(server.blobs[entry["digest"]]) == entry["size"] for entry in entries)
    again = pull(Store(tmp_path / "other"), name, environment={"HOME": str(tmp_path)})
    assert again.id == image.id
    assert (again.layers[0] / "a").read_bytes() == b"1" * 10000


def test_a_second_push_sends_nothing(server: Content, store: Store) -> None:
    name = f"127.0.0.1:{server.port}/x:1"
    made(store, name, a=b"1", b=b"2")
    push(store, name)
    before = server.count("POST"), server.count("PATCH")
    heard: list[Progress] = []
    push(store, name, events=heard.append)
    assert (server.count("POST"), server.count("PATCH")) == before
    assert {event.text for event in heard} == {"Waiting", "Layer already exists"}


def test_a_layer_shared_with_another_tag_is_not_sent_again(server: Content, store: Store) -> None:
    one, two = f"127.0.0.1:{server.port}/x:1", f"127.0.0.1:{server.port}/x:2"
    made(store, one, a=b"1")
    made(store, two, a=b"1", b=b"2")
    push(store, one)
    before = server.count("POST")
    push(store, two)
    assert server.count("POST") == before + 2  # one layer and the configuration


def test_small_blobs_go_whole(server: Content, store: Store) -> None:
    name = f"127.0.0.1:{server.port}/x:1"
    made(store, name, a=b"1")
    push(store, name)
    assert server.count("PATCH") == 0 and server.count("PUT", "uploads") == 2


def test_a_layer_of_another_repository_is_mounted(server: Content, store: Store) -> None:
    one, two = f"127.0.0.1:{server.port}/one:1", f"127.0.0.1:{server.port}/two:1"
    image = made(store, one, a=b"1")
    push(store, one)
    blob, _, _ = store.index.compressed_of(image.layer_ids[0])[0]
    server.elsewhere[blob] = "one"
    del server.blobs[blob]
    store.tag(one, two)
    heard: list[Progress] = []
    push(store, two, events=heard.append)
    assert "Mounted from one" in {event.text for event in heard}
    assert any(f"mount={blob.replace(':', '%3A')}&from=one" in path for _, path, _ in server.seen)


def test_a_mount_that_is_refused_leaves_no_session_behind(server: Content, store: Store) -> None:
    one, two = f"127.0.0.1:{server.port}/one:1", f"127.0.0.1:{server.port}/two:1"
    made(store, one, a=b"1")
    push(store, one)
    server.blobs.clear()
    store.tag(one, two)
    push(store, two)
    assert not server.uploads and server.count("DELETE") == 1


# --- pieces


def blob(server: Content, data: bytes, **words: Any) -> tuple[str, int]:
    reference = parse(f"127.0.0.1:{server.port}/x")
    with Registry(reference, environment={}, sleep=lambda _: None) as registry:
        return upload.upload(registry, lambda: iter((data,)), sleep=lambda _: None, **words)


DATA = random.Random(7).randbytes(100_000)


@pytest.mark.parametrize("piece", [1, 999, 50_000, 99_999, 100_000, 100_001])
def test_a_blob_in_pieces_is_the_same_blob(server: Content, piece: int) -> None:
    data = DATA[: 50 if piece == 1 else len(DATA)]
    assert blob(server, data, piece=piece) == (digest(data), len(data))
    assert server.blobs[digest(data)] == data
    assert server.count("PATCH") == (0 if piece >= len(data) else -(-len(data) // piece))


def test_a_broken_piece_goes_on_where_it_ended(server: Content) -> None:
    server.cuts = [10_000, 0, 5]
    assert blob(server, DATA, piece=30_000) == (digest(DATA), len(DATA))
    assert server.blobs[digest(DATA)] == DATA


def test_a_session_that_is_lost_begins_again(server: Content) -> None:
    server.lost = 2
    assert blob(server, DATA, piece=30_000) == (digest(DATA), len(DATA))
    server.lost = 9
    with pytest.raises(RegistryBroken, match="loses uploads"):
        blob(server, DATA, piece=30_000)


def test_a_registry_that_takes_in_nothing_is_given_up(server: Content) -> None:
    server.cuts = [0] * 99
    with pytest.raises(RegistryError):
        blob(server, DATA, piece=30_000)


def test_a_limit_of_a_proxy_is_told_as_that(server: Content) -> None:
    server.faults["/v2/x/blobs/uploads/0"] = [(413, {"Connection": "close"})]
    with pytest.raises(RegistryError, match="answered with 413") as caught:
        blob(server, DATA, piece=30_000)
    assert "limits the size" in caught.value.hint


def test_an_empty_blob_can_be_sent(server: Content) -> None:
    assert blob(server, b"") == (digest(b""), 0)


def test_uploads_are_not_sent_to_a_file(server: Content) -> None:
    server.relocate = "file:///tmp"
    with pytest.raises(RegistryError, match="file:, which is refused"):
        blob(server, DATA)


def test_uploads_to_another_host_go_without_our_login(server: Content, tmp_path: Path) -> None:
    server.token = "sesame"
    with serving(Content()) as other:
        other.uploads["0"] = bytearray()
        server.relocate = f"http://127.0.0.1:{other.port}"
        assert blob(server, DATA) == (digest(DATA), len(DATA))
        assert other.blobs[digest(DATA)] == DATA
        assert all(authorization == "" for _, _, authorization in other.seen)


# --- who, and what the registry takes


def test_the_token_is_asked_for_to_push(server: Content, store: Store) -> None:
    name = f"127.0.0.1:{server.port}/x:1"
    made(store, name, a=b"1")
    server.token = "sesame"
    push(store, name)
    assert any("scope=repository%3Ax%3Apull%2Cpush" in path for _, path, _ in server.seen)


def test_a_token_that_expires_in_the_middle_is_renewed(server: Content, store: Store) -> None:
    name = f"127.0.0.1:{server.port}/x:1"
    made(store, name, a=b"1", b=b"2", c=b"3")
    server.token, server.uses = "sesame", 5
    push(store, name)
    assert server.count("GET", "/token") == 2


def test_a_push_that_is_denied_says_how_to_log_in(server: Content, store: Store) -> None:
    name = f"127.0.0.1:{server.port}/x:1"
    made(store, name, a=b"1")
    server.basic = "bob:secret"
    with pytest.raises(RegistryDenied) as caught:
        push(store, name)
    assert f"pycompose login 127.0.0.1:{server.port}" in caught.value.hint
    assert not server.manifests


def test_a_registry_without_oci_gets_dockers_types(server: Content, store: Store) -> None:
    name = f"127.0.0.1:{server.port}/x:1"
    made(store, name, a=b"1")
    server.refused = {"application/vnd.oci.image.manifest.v1+json"}
    push(store, name)
    kind, data = server.manifests["1"]
    assert kind == DOCKER
    types = [json.loads(data)["config"]["mediaType"], json.loads(data)["layers"][0]["mediaType"]]
    assert types == [
        "application/vnd.docker.container.image.v1+json",
        "application/vnd.docker.image.rootfs.diff.tar.gzip",
    ]


def test_what_was_pulled_goes_out_by_its_own_manifest(server: Content, store: Store) -> None:
    came = server.add("1", {"a": b"1"}, {"b": b"2"}, kind=DOCKER)
    name = f"127.0.0.1:{server.port}/x:1"
    pull(store, name, environment={})
    store.tag(name, f"127.0.0.1:{server.port}/x:2")
    assert push(store, f"127.0.0.1:{server.port}/x:2") == came
    assert server.manifests["2"][0] == DOCKER


def test_what_was_pulled_elsewhere_keeps_its_identity(server: Content, store: Store) -> None:
    with serving(Content()) as origin:
        origin.add("1", {"a": b"1" * 3000}, {"b": b"2"})
        image = pull(store, f"127.0.0.1:{origin.port}/x:1", environment={})
    name = f"127.0.0.1:{server.port}/x:1"
    push(store, name, image=image.id)
    assert json.loads(server.manifests["1"][1])["config"]["digest"] == image.id
    again = pull(Store(store.root.parent / "other"), name, environment={})
    assert again.id == image.id and again.layer_ids == image.layer_ids


def test_what_is_not_here_or_has_no_tag_is_refused(server: Content, store: Store) -> None:
    with pytest.raises(ImageNotFound, match="to be pushed"):
        push(store, f"127.0.0.1:{server.port}/x:1")
    with pytest.raises(ImageError, match="by its tag"):
        push(store, f"127.0.0.1:{server.port}/x@sha256:{'0' * 64}")
