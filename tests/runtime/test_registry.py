"""Pulling: from a registry of the test's own with every fault a registry can have, and from the store."""

from __future__ import annotations

import base64
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from image_registry import DOCKER, Content, digest, serving

from runtime.errors import ImageError, ImageNotFound, RegistryError
from runtime.image.errors import (
    DigestMismatch,
    InvalidImage,
    RegistryDenied,
    RegistryRateLimited,
    RegistryUnreachable,
)
from runtime.image.manifest import Image
from runtime.image.progress import Progress
from runtime.image.pull import pull as pull_patiently
from runtime.image.store import Store


@pytest.fixture(autouse=True)
def quiet(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in (
        "http_proxy",
        "HTTP_PROXY",
        "https_proxy",
        "HTTPS_PROXY",
        "DOCKER_CONFIG",
        "REGISTRY_AUTH_FILE",
    ):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))


def pull(store: Store, reference: str, **words: Any) -> Image:
    return pull_patiently(store, reference, sleep=lambda _: None, **words)


@pytest.fixture
def server() -> Iterator[Content]:
    with serving(Content()) as content:
        yield content


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "images")


def nothing_left(store: Store) -> bool:
    names = [path.name for path in (store.root / "ingest").iterdir() if not path.name.endswith(".lock")]
    return not names and not store.images()


def test_an_image_is_pulled_with_all_its_layers(server: Content, store: Store) -> None:
    server.add("1", {"a": b"1"}, {"b": b"2"})
    heard: list[Progress] = []
    image = pull(store, f"127.0.0.1:{server.port}/x:1", events=heard.append)
    assert [sorted(p.name for p in layer.iterdir()) for layer in image.layers] == [["a"], ["b"]]
    assert image.config.cmd == ("sh",)
    assert image.references == (f"127.0.0.1:{server.port}/x:1",)
    assert {event.text for event in heard} == {"Waiting", "Downloading", "Unpacking", "Done"}
    assert store.resolve(f"127.0.0.1:{server.port}/x:1").id == image.id


def test_what_is_there_is_not_fetched_again(server: Content, store: Store) -> None:
    server.add("1", {"a": b"1"}, {"b": b"2"})
    server.add("2", {"a": b"1"}, {"c": b"3"})
    pull(store, f"127.0.0.1:{server.port}/x:1")
    before = len(server.seen)
    pull(store, f"127.0.0.1:{server.port}/x:1", refresh=False)
    assert len(server.seen) == before
    pull(store, f"127.0.0.1:{server.port}/x:2")
    assert sum("/blobs/" in path for _, path, _ in server.seen[before:]) == 2
    before = len(server.seen)
    pull(store, f"127.0.0.1:{server.port}/x:2")
    assert [method for method, _, _ in server.seen[before:]] == ["HEAD"]


def test_an_index_is_read_by_platform(server: Content, store: Store) -> None:
    amd, arm = server.add("a", {"a": b"amd"}), server.add("b", {"a": b"arm"}, machine="arm64")
    server.index("1", linux_amd64=amd, linux_arm64=arm)
    image = pull(store, f"127.0.0.1:{server.port}/x:1", platform="linux/arm64")
    assert (image.layers[0] / "a").read_bytes() == b"arm"
    with pytest.raises(InvalidImage) as caught:
        pull(store, f"127.0.0.1:{server.port}/x:1", platform="linux/riscv64")
    assert "linux/amd64, linux/arm64" in caught.value.hint


def test_docker_schema_2_and_digests_are_understood(server: Content, store: Store) -> None:
    name = server.add("1", {"a": b"1"}, kind=DOCKER)
    image = pull(store, f"127.0.0.1:{server.port}/x@{name}")
    assert store.resolve(f"127.0.0.1:{server.port}/x@{name}").id == image.id


def test_a_broken_download_goes_on_where_it_ended(server: Content, store: Store) -> None:
    server.add("1", {"a": bytes(range(256)) * 4000})
    blob = max(server.blobs, key=lambda name: len(server.blobs[name]))
    server.breaks[blob] = [700, 50]
    image = pull(store, f"127.0.0.1:{server.port}/x:1")
    assert len((image.layers[0] / "a").read_bytes()) == 1_024_000
    assert sum(blob in path for _, path, _ in server.seen) == 3


def test_a_busy_registry_is_asked_again(server: Content, store: Store) -> None:
    server.add("1", {"a": b"1"})
    server.faults["/v2/x/manifests/1"] = [(429, {"Retry-After": "1"}), (503, {})]
    pull(store, f"127.0.0.1:{server.port}/x:1")


def test_a_registry_that_stays_busy_is_told_apart(server: Content, store: Store) -> None:
    server.faults["/v2/x/manifests/1"] = [(429, {})] * 9
    with pytest.raises(RegistryRateLimited):
        pull(store, f"127.0.0.1:{server.port}/x:1")


def test_a_missing_image_is_not_found_and_never_assembled(server: Content, store: Store) -> None:
    with pytest.raises(ImageNotFound, match="has no image"):
        pull(store, f"127.0.0.1:{server.port}/x:1")
    assert nothing_left(store)


def test_a_token_is_fetched_where_one_is_wanted(server: Content, store: Store) -> None:
    server.add("1", {"a": b"1"})
    server.token = "sesame"
    pull(store, f"127.0.0.1:{server.port}/x:1")
    assert sum(path.startswith("/token") for _, path, _ in server.seen) == 1
    assert any("scope=repository%3Ax%3Apull" in path for _, path, _ in server.seen)


def test_a_login_of_dockers_config_is_used_for_the_token(
    server: Content, store: Store, tmp_path: Path
) -> None:
    server.add("1", {"a": b"1"})
    server.token = "sesame"
    word = base64.b64encode(b"bob:secret").decode()
    (tmp_path / ".docker").mkdir()
    config = {"auths": {f"127.0.0.1:{server.port}": {"auth": word}}}
    (tmp_path / ".docker/config.json").write_text(json.dumps(config))
    pull(store, f"127.0.0.1:{server.port}/x:1")
    assert [auth for _, path, auth in server.seen if path.startswith("/token")] == [f"Basic {word}"]


def test_authorization_stays_with_its_host(server: Content, store: Store) -> None:
    server.add("1", {"a": b"1"})
    server.token = "sesame"
    with serving(Content(blobs=server.blobs)) as other:
        server.redirect = f"http://127.0.0.1:{other.port}"
        server.manifests = dict(server.manifests)
        pull(store, f"127.0.0.1:{server.port}/x:1")
        assert other.seen and all(auth == "" for _, _, auth in other.seen)


def test_a_redirect_to_a_file_is_refused(server: Content, store: Store) -> None:
    server.add("1", {"a": b"1"})
    server.redirect = "file:///etc/passwd?"
    with pytest.raises(RegistryError, match="refused"):
        pull(store, f"127.0.0.1:{server.port}/x:1")
    assert nothing_left(store)


def test_denied_is_told_apart(server: Content, store: Store) -> None:
    server.faults["/v2/x/manifests/1"] = [(403, {})]
    with pytest.raises(RegistryDenied):
        pull(store, f"127.0.0.1:{server.port}/x:1")
    server.faults["/v2/x/manifests/1"] = [(401, {"WWW-Authenticate": 'Basic realm="x"'})]
    with pytest.raises(RegistryDenied, match="wants a login"):
        pull(store, f"127.0.0.1:{server.port}/x:1")


@pytest.mark.parametrize(
    "lie,error", [("blob", DigestMismatch), ("diff", DigestMismatch), ("size", ImageError)]
)
def test_a_registry_that_lies_leaves_nothing(server: Content, store: Store, lie: str, error: type) -> None:
    server.add("1", {"a": b"1" * 5000}, lie=lie)
    with pytest.raises(error):
        pull(store, f"127.0.0.1:{server.port}/x:1")
    assert nothing_left(store)


def test_a_manifest_of_another_digest_is_refused(server: Content, store: Store) -> None:
    server.add("1", {"a": b"1"})
    wrong = "sha256:" + "0" * 64
    server.manifests[wrong] = server.manifests["1"]
    with pytest.raises(DigestMismatch):
        pull(store, f"127.0.0.1:{server.port}/x@{wrong}")


@pytest.mark.parametrize(
    "text", [b"", b"[]", b"{}", b"nonsense", b'{"layers":1}', b'{"layers":[{}],"config":{}}']
)
def test_a_malformed_manifest_is_refused(server: Content, store: Store, text: bytes) -> None:
    server.manifests["1"] = server.manifests[digest(text or b" ")] = ("x", text or b" ")
    with pytest.raises(InvalidImage):
        pull(store, f"127.0.0.1:{server.port}/x:1")


def test_nobody_there_is_unreachable_and_says_what_could_be_assembled(store: Store) -> None:
    with pytest.raises(RegistryUnreachable) as caught:
        pull(store, "127.0.0.1:1/postgres:15")
    assert "127.0.0.1:1 cannot be reached" in caught.value.message
    with pytest.raises(RegistryUnreachable, match=r"registry\.invalid cannot be found"):
        pull(store, "registry.invalid/x", policy="registry")
    with pytest.raises(ImageNotFound) as missing:
        pull(store, "python:3.12", policy="assemble")
    assert "python:3.11" in missing.value.hint
