"""Pulling from registries that stall, break off, lie, redirect or refuse: told apart, nothing kept."""

from __future__ import annotations

import hashlib
import json
import random
import sys
import threading
import time
import zlib
from collections.abc import Iterator
from email.utils import formatdate
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from image_registry import INDEX, Content, digest, serving

from runtime.errors import ImageNotFound, RegistryError
from runtime.image.compress import gzip_machine
from runtime.image.errors import (
    DigestMismatch,
    InvalidImage,
    RegistryBroken,
    RegistryDenied,
    RegistryRateLimited,
)
from runtime.image.manifest import Image
from runtime.image.progress import Progress
from runtime.image.pull import look_up
from runtime.image.pull import pull as pull_patiently
from runtime.image.stop import Stop, Stopped
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


def nothing_left(store: Store) -> bool:
    names = [path.name for path in (store.root / "ingest").iterdir() if not path.name.endswith(".lock")]
    return not names and not store.images() and not any((store.root / "layers").iterdir())


def biggest(server: Content) -> str:
    return max(server.blobs, key=lambda name: len(server.blobs[name]))


LAYER = {"a": bytes(range(256)) * 4000}


# --- stalls and breaks

SHORT = {"PYCOMPOSE_REGISTRY_TIMEOUT": "0.5"}
STALLED = r"stalled|stalls|broke off|does not answer"  # the last where this machine itself is that slow


def test_a_layer_that_stalls_is_given_up_and_nothing_kept(server: Content, store: Store) -> None:
    server.add("1", LAYER)
    server.stalls[f"/v2/x/blobs/{biggest(server)}"] = 100
    with pytest.raises(RegistryError, match=STALLED):
        pull(store, server, environment=SHORT, policy="registry")
    assert nothing_left(store)


def test_a_manifest_that_stalls_is_given_up(server: Content, store: Store) -> None:
    server.add("1", LAYER)
    for name in server.manifests:
        server.stalls[f"/v2/x/manifests/{name}"] = 10
    with pytest.raises(RegistryError, match=STALLED):
        pull(store, server, environment=SHORT, policy="registry")
    assert nothing_left(store)


def test_a_download_that_breaks_often_gets_on_as_long_as_something_comes(
    server: Content, store: Store
) -> None:
    server.add("1", {"a": random.Random(1).randbytes(2_000_000)})
    name = biggest(server)
    server.breaks[name] = [70_000] * 20
    pull(store, server)
    assert server.count("GET", name) == 21


def test_a_registry_without_ranges_sends_it_all_again_and_what_is_known_is_passed_over(
    server: Content, store: Store
) -> None:
    server.add("1", LAYER)
    server.ranges = False
    server.breaks[biggest(server)] = [700, 900]
    image = pull(store, server)
    assert (image.layers[0] / "a").read_bytes() == LAYER["a"]


def test_a_connection_that_never_gets_on_is_an_error(server: Content, store: Store) -> None:
    server.add("1", LAYER)
    server.breaks[biggest(server)] = [0] * 50
    with pytest.raises(RegistryBroken, match="after 0 of"):
        pull(store, server)
    assert nothing_left(store)


def test_a_layer_that_is_busy_for_a_moment_is_asked_for_again(server: Content, store: Store) -> None:
    server.add("1", LAYER)
    server.faults[f"/v2/x/blobs/{biggest(server)}"] = [(503, {}), (429, {"Retry-After": "7"}), (500, {})]
    slept: list[float] = []
    pull(store, server, slept=slept)
    assert 7.0 in slept and len(slept) == 3


def test_a_blob_that_the_registry_has_lost_is_told_as_that(server: Content, store: Store) -> None:
    server.add("1", LAYER)
    del server.blobs[biggest(server)]
    with pytest.raises(ImageNotFound, match="has lost layer sha256"):
        pull(store, server)
    assert nothing_left(store)


# --- lies


@pytest.mark.parametrize("lie", ["size", "longer"])
def test_a_manifest_that_lies_about_a_size_is_found_out(server: Content, store: Store, lie: str) -> None:
    server.add("1", LAYER, lie=lie)
    with pytest.raises(InvalidImage, match="promised"):
        pull(store, server)
    assert nothing_left(store)


def test_one_bad_layer_leaves_none_of_the_image(server: Content, store: Store) -> None:
    server.add("1", {"a": b"1"}, {"b": b"2"}, LAYER)
    name = biggest(server)
    server.blobs[name] = server.blobs[name][:-1] + b"x"
    with pytest.raises(InvalidImage):
        pull(store, server)
    assert not store.images()


def test_a_digest_that_is_none_is_not_asked_for(server: Content, store: Store) -> None:
    server.add("1", LAYER)
    server.faults["/v2/x/manifests/1"] = [(200, {"Docker-Content-Digest": "../../../secret"})]
    pull(store, server)
    assert not any("secret" in path for _, path, _ in server.seen)


def test_a_page_instead_of_a_manifest_is_refused(server: Content, store: Store) -> None:
    page = b"<html>please log in to the hotel's network</html>"
    server.manifests["1"] = server.manifests[digest(page)] = ("text/html", page)
    with pytest.raises(InvalidImage, match="is not JSON"):
        pull(store, server)
    assert nothing_left(store)


# --- redirects


@pytest.mark.parametrize("target", ["file:///etc/passwd?", "ftp://127.0.0.1/x", "gopher://127.0.0.1/x"])
def test_redirects_to_anything_but_http_are_refused(server: Content, store: Store, target: str) -> None:
    server.add("1", LAYER)
    server.redirect = target
    with pytest.raises(RegistryError, match="refused"):
        pull(store, server)
    assert nothing_left(store)


def test_a_redirect_in_a_circle_ends(server: Content, store: Store) -> None:
    server.add("1", LAYER)
    server.redirect = f"http://127.0.0.1:{server.port}"
    with pytest.raises(RegistryError, match="circle"):
        pull(store, server)


def test_a_token_server_by_file_is_refused(server: Content, store: Store) -> None:
    server.add("1", LAYER)
    server.token, server.realm = "sesame", "file:///etc/passwd"
    with pytest.raises(RegistryError, match="token server 'file:"):
        pull(store, server)


# --- who we are


def test_a_token_that_expires_in_the_middle_is_renewed(server: Content, store: Store) -> None:
    server.add("1", {"a": b"1"}, {"b": b"2"}, {"c": b"3"}, {"d": b"4"})
    server.token, server.uses = "sesame", 3
    pull(store, server)
    assert server.count("GET", "/token") == 2


def test_an_identity_token_is_exchanged_by_post(server: Content, store: Store, tmp_path: Path) -> None:
    server.add("1", {"a": b"1"})
    server.token = "sesame"
    config = {"auths": {f"127.0.0.1:{server.port}": {"identitytoken": "refresh-me"}}}
    (tmp_path / "config.json").write_text(json.dumps(config))
    pull(store, server, environment={"DOCKER_CONFIG": str(tmp_path)})
    assert server.forms[0]["grant_type"] == ["refresh_token"]
    assert server.forms[0]["refresh_token"] == ["refresh-me"]
    assert server.forms[0]["scope"] == ["repository:x:pull"]


def test_basic_is_spoken_where_it_is_wanted(server: Content, store: Store, tmp_path: Path) -> None:
    server.add("1", {"a": b"1"})
    server.basic = "bob:secret"
    config = {"auths": {f"127.0.0.1:{server.port}/x": {"auth": "Ym9iOnNlY3JldA=="}}}
    (tmp_path / "auth.json").write_text(json.dumps(config))
    pull(store, server, environment={"REGISTRY_AUTH_FILE": str(tmp_path / "auth.json")})


def test_a_refused_login_says_how_to_log_in(server: Content, store: Store) -> None:
    server.basic = "bob:secret"
    with pytest.raises(RegistryDenied) as caught:
        pull(store, server)
    assert caught.value.hint == f"try 'pycompose login 127.0.0.1:{server.port}'"


# --- no such image, limits


def test_a_missing_tag_names_the_nearest(server: Content, store: Store) -> None:
    for tag in ("1.2.3", "1.3", "2.0", "latest"):
        server.add(tag, {"a": b"1"})
    with pytest.raises(ImageNotFound) as caught:
        pull(store, server, "x:1.2.4")
    assert f"did you mean '127.0.0.1:{server.port}/x:1.2.3'?" in caught.value.hint
    with pytest.raises(ImageNotFound) as far:
        pull(store, server, "x:zzzz")
    assert "its tags are 1.2.3, 1.3, 2.0, latest" in far.value.hint


def test_a_missing_repository_is_told_as_that(server: Content, store: Store) -> None:
    with pytest.raises(ImageNotFound) as caught:
        pull(store, server)
    assert "no repository of that name" in caught.value.hint


def test_a_limit_says_when_it_ends_and_is_not_waited_for(server: Content, store: Store) -> None:
    headers = {"Retry-After": "3600", "RateLimit-Limit": "100;w=21600"}
    server.faults["/v2/x/manifests/1"] = [(429, headers)] * 3
    slept: list[float] = []
    with pytest.raises(RegistryRateLimited, match="it ends in 1 hour, at") as caught:
        pull(store, server, slept=slept)
    assert not slept
    assert "100 in 6 hours" in caught.value.hint and "login" in caught.value.hint


def test_a_limit_may_be_a_date(server: Content, store: Store) -> None:
    server.faults["/v2/x/manifests/1"] = [(429, {"Retry-After": formatdate(4e9, usegmt=True)})]
    with pytest.raises(RegistryRateLimited, match="hours"):
        pull(store, server)


def test_what_the_registry_says_is_passed_on(server: Content, store: Store) -> None:
    server.said = b'{"errors":[{"code":"DENIED","message":"not \\u001b[31myours"}]}'
    server.faults["/v2/x/manifests/1"] = [(200, {"Docker-Content-Digest": "sha256:" + "0" * 64})]
    server.faults["/v2/x/manifests/sha256:" + "0" * 64] = [(403, {})]
    with pytest.raises(RegistryDenied, match=r"\(not \[31myours\)"):
        pull(store, server)


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


# --- giving up


def test_a_pull_that_is_stopped_ends_at_once_and_leaves_nothing(server: Content, store: Store) -> None:
    server.add("1", LAYER, {"b": b"2"})
    name = f"127.0.0.1:{server.port}/x:1"
    server.stalls[f"/v2/x/blobs/{biggest(server)}"] = 100
    stop = Stop()
    caught: list[BaseException] = []

    def work() -> None:
        try:
            pull_patiently(store, name, environment={}, stop=stop)
        except Stopped as error:
            caught.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    while not server.count("GET", biggest(server)):
        assert thread.is_alive()
        time.sleep(0.01)
    stop.set()
    thread.join(60)
    assert len(caught) == 1
    assert server.count("GET", biggest(server)) == 1
    assert not store.images() and not [p for p in (store.root / "ingest").iterdir() if p.suffix != ".lock"]
