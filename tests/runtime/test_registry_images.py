"""What is pulled: indexes, platforms, names, compressions; and from where: mirrors first."""

from __future__ import annotations

import hashlib
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from image_registry import INDEX, Content, digest, serving

from runtime.image.compress import gzip_machine
from runtime.image.errors import DigestMismatch, InvalidImage
from runtime.image.manifest import Image
from runtime.image.progress import Progress
from runtime.image.pull import look_up
from runtime.image.pull import pull as pull_patiently
from runtime.image.store import Store


@pytest.fixture
def server() -> Iterator[Content]:
    with serving(Content()) as content:
        yield content


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "images")


def pull(store: Store, server: Content, name: str = "x:1", **words: Any) -> Image:
    environment = {"HOME": str(store.root), "PYCOMPOSE_REGISTRY_TIMEOUT": "0.3"} | words.pop(
        "environment", {}
    )
    slept = words.pop("slept", [])
    reference = f"127.0.0.1:{server.port}/{name}"
    return pull_patiently(store, reference, environment=environment, sleep=slept.append, **words)


def biggest(server: Content) -> str:
    return max(server.blobs, key=lambda name: len(server.blobs[name]))


LAYER = {"a": bytes(range(256)) * 4000}


# --- indexes, platforms, names


def test_an_index_in_an_index_is_followed(server: Content, store: Store) -> None:
    inner = server.index("inner", linux_arm64=server.add("b", {"a": b"arm"}, machine="arm64"))
    other = server.index("other", linux_amd64=server.add("a", {"a": b"amd"}))
    entries = [server.entry(inner), server.entry(other)]
    server.put("1", INDEX, {"schemaVersion": 2, "mediaType": INDEX, "manifests": entries})
    image = pull(store, server, platform="linux/amd64")
    assert (image.layers[0] / "a").read_bytes() == b"amd"


def test_indexes_without_end_are_refused(server: Content, store: Store) -> None:
    target = server.index("0", linux_riscv64=server.add("a", {"a": b"1"}))
    for depth in range(1, 8):
        document = {"schemaVersion": 2, "mediaType": INDEX, "manifests": [server.entry(target)]}
        target = server.put(str(depth), INDEX, document)
    with pytest.raises(InvalidImage, match="without end"):
        pull(store, server, "x:7")


def test_attestations_are_no_images(server: Content, store: Store) -> None:
    real, proof = server.add("a", {"a": b"1"}), server.add("b", {"att": b"{}"})
    entries = [
        server.entry(proof, platform={"os": "unknown", "architecture": "unknown"}),
        server.entry(proof, annotations={"vnd.docker.reference.type": "attestation-manifest"}),
        server.entry(real),
    ]
    server.put("1", INDEX, {"schemaVersion": 2, "mediaType": INDEX, "manifests": entries})
    assert (pull(store, server).layers[0] / "a").read_bytes() == b"1"


def test_the_variant_chosen_is_the_nearest_that_runs(server: Content, store: Store) -> None:
    made = {v: server.add(v, {"a": v.encode()}, machine="arm") for v in ("v5", "v6", "v8")}
    server.index("1", **{f"linux_arm_{v}": target for v, target in made.items()})
    assert (pull(store, server, platform="linux/arm/v7").layers[0] / "a").read_bytes() == b"v6"


def test_an_image_for_another_machine_is_an_error_only_when_a_platform_was_asked_for(
    server: Content, store: Store
) -> None:
    server.add("1", {"a": b"1"}, machine="riscv64")
    with pytest.raises(InvalidImage, match="made for linux/riscv64, not for linux/amd64"):
        pull(store, server, platform="linux/amd64")
    heard: list[Progress] = []
    pull(store, server, events=heard.append)
    assert any("is made for linux/riscv64" in event.text for event in heard if event.kind == "note")


def test_a_tag_with_a_digest_is_pulled_by_the_digest(server: Content, store: Store) -> None:
    old = server.add("1", {"a": b"old"})
    server.add("1", {"a": b"new"})
    image = pull(store, server, f"x:1@{old}")
    assert (image.layers[0] / "a").read_bytes() == b"old"
    assert store.resolve(f"127.0.0.1:{server.port}/x:1@{old}").id == image.id
    assert store.resolve(f"127.0.0.1:{server.port}/x@{old}").id == image.id
    assert store.find(f"127.0.0.1:{server.port}/x:1") is None


def test_digests_by_sha512_are_verified(server: Content, store: Store) -> None:
    server.add("1", {"a": b"1"})
    kind, data = server.manifests["1"]
    good, bad = f"sha512:{hashlib.sha512(data).hexdigest()}", f"sha512:{hashlib.sha512(b'x').hexdigest()}"
    server.manifests[good] = server.manifests[bad] = (kind, data)
    image = pull(store, server, f"x@{good}")
    assert store.resolve(f"127.0.0.1:{server.port}/x@{good}").id == image.id
    with pytest.raises(DigestMismatch):
        pull(store, server, f"x@{bad}")
    with pytest.raises(InvalidImage, match="cannot be verified"):
        pull(store, server, "x@md5:" + "0" * 32)


def test_a_known_digest_under_another_name_costs_one_head(server: Content, store: Store) -> None:
    server.add("1", {"a": b"1"})
    server.manifests["2"] = server.manifests["1"]
    first = pull(store, server)
    before = len(server.seen)
    assert pull(store, server, "x:2").id == first.id
    assert [method for method, _, _ in server.seen[before:]] == ["HEAD"]


def test_head_comes_before_get(server: Content, store: Store) -> None:
    server.add("1", {"a": b"1"})
    pull(store, server)
    assert [m for m, path, _ in server.seen if "/manifests/" in path] == ["HEAD", "GET"]


# --- compressions


def zstd(data: bytes) -> bytes:
    if sys.version_info >= (3, 14):
        from compression import zstd as module
    else:
        from backports import zstd as module
    return bytes(module.compress(data))


def isal(data: bytes) -> bytes:
    machine = gzip_machine(2)
    return bytes(machine.compress(data) + machine.flush())


@pytest.mark.parametrize("pack", [zstd, isal, bytes, lambda data: zlib.compress(data, wbits=31)])
def test_layers_come_in_every_compression(server: Content, store: Store, pack: Any) -> None:
    server.add("1", LAYER, {"b": b"2"}, pack=pack)
    image = pull(store, server)
    assert (image.layers[0] / "a").read_bytes() == LAYER["a"]


# --- mirrors


def mirrored(tmp_path: Path, server: Content, *mirrors: str) -> dict[str, str]:
    path = tmp_path / "config.toml"
    words = ", ".join(f'"{mirror}"' for mirror in mirrors)
    path.write_text(f'[registry."127.0.0.1:{server.port}"]\nmirrors = [{words}]\n')
    return {"PYCOMPOSE_CONFIG": str(path)}


def test_a_mirror_is_asked_first_below_its_path(server: Content, store: Store, tmp_path: Path) -> None:
    with serving(Content()) as mirror:
        mirror.add("1", {"a": b"1"})
        pull(store, server, environment=mirrored(tmp_path, server, f"127.0.0.1:{mirror.port}/hub"))
        assert mirror.count("GET", "/v2/hub/x/manifests/") == 1
    assert not server.seen
    assert store.images()[0].references == (f"127.0.0.1:{server.port}/x:1",)


def test_a_digest_is_looked_up_at_the_mirror_and_else_at_home(server: Content, tmp_path: Path) -> None:
    here = server.add("1", {"a": b"home"})
    name = f"127.0.0.1:{server.port}/x:1"
    with serving(Content()) as mirror:
        environment = mirrored(tmp_path, server, f"127.0.0.1:{mirror.port}")
        assert look_up(name, environment) == here
        there = mirror.add("1", {"a": b"mirror"})
        assert look_up(name, environment) == there != here


@pytest.mark.parametrize("fault", ["empty", "gone", "broken", "lying"])
def test_a_mirror_that_fails_is_passed_over(
    server: Content, store: Store, tmp_path: Path, fault: str
) -> None:
    server.add("1", LAYER)
    heard: list[Progress] = []
    with serving(Content()) as mirror:
        if fault == "broken":
            mirror.faults["/v2/x/manifests/1"] = [(500, {})] * 9
        if fault == "lying":
            mirror.manifests, mirror.blobs = dict(server.manifests), dict(server.blobs)
            name = biggest(server)
            mirror.blobs[name] = mirror.blobs[name][:-1] + b"?"
        where = "127.0.0.1:1" if fault == "gone" else f"127.0.0.1:{mirror.port}"
        image = pull(store, server, events=heard.append, environment=mirrored(tmp_path, server, where))
    assert (image.layers[0] / "a").read_bytes() == LAYER["a"]
    assert any("passed over" in event.text for event in heard)


def test_progress_has_bytes_and_belongs_to_an_image(server: Content, store: Store) -> None:
    server.add("1", LAYER)
    heard: list[Progress] = []
    pull(store, server, events=heard.append)
    name, size = f"127.0.0.1:{server.port}/x:1", len(server.blobs[biggest(server)])
    layers = [event for event in heard if event.kind == "layer"]
    assert {event.part_of for event in layers} == {name}
    assert (size, size) in {(event.current, event.total) for event in layers}
    assert digest(server.blobs[biggest(server)])[7:19] == layers[-1].id and layers[-1].text == "Done"
