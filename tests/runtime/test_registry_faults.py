"""Pulling from registries that stall, break off, lie, redirect or refuse: told apart, nothing kept."""

from __future__ import annotations

import json
import random
import sys
import threading
import time
from collections.abc import Iterator
from email.utils import formatdate
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from image_registry import Content, digest, serving

from runtime.errors import ImageNotFound, RegistryError
from runtime.image.errors import (
    InvalidImage,
    RegistryBroken,
    RegistryDenied,
    RegistryRateLimited,
)
from runtime.image.manifest import Image
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
