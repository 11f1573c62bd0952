"""Archives and registries of others: docker-registry, skopeo; podman and buildah where they are installed."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import shutil
import socket
import subprocess
import tarfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from runtime.errors import ImageError
from runtime.image import archive, layer
from runtime.image.errors import RegistryDenied
from runtime.image.manifest import Image, ImageConfig
from runtime.image.pull import pull
from runtime.image.save import FORMS, save_to
from runtime.image.store import Store
from tests.support.programs import need

pytestmark = pytest.mark.root


def store_with(root: Path, name: str = "local/app:1") -> tuple[Store, Image]:
    """An image of two layers, with a hard link, a whiteout, a set-id program and an attribute."""
    store = Store(root)
    layers = []
    for n in range(2):
        with store.ingest() as work:
            diff = work / "diff"
            (diff / "etc").mkdir(parents=True)
            (diff / f"etc/file{n}").write_text(f"text {n}\n" * 1000)
            os.link(diff / f"etc/file{n}", diff / f"twin{n}")
            if n:
                os.mknod(diff / "etc/file0", 0o600 | 0o020000, 0)
                os.setxattr(diff / "etc", "trusted.overlay.opaque", b"y")
            (diff / "sudo").write_text("x")
            os.chown(diff / "sudo", 0, 5)
            (diff / "sudo").chmod(0o6755)
            made = layer.digest(diff)
            store.commit_layer(diff, made.diff_id, size=made.size)
            layers.append(made.diff_id)
    return store, store.put_image(ImageConfig(cmd=("sh",), env=("A=b",)), layers, [name])


@pytest.mark.parametrize("form", FORMS)
def test_an_image_survives_saving_and_loading(scratch: Path, form: str) -> None:
    store, image = store_with(scratch / "one")
    save_to(store, ["local/app:1"], scratch / "saved", form=form)
    other = Store(scratch / "two")
    (loaded,) = archive.load(other, scratch / "saved")
    if form == "docker-dir":
        assert loaded.references == ()  # skopeo's "dir" has no names
        loaded = other.tag(loaded.id, "local/app:1")
    assert (loaded.id, loaded.layer_ids, loaded.references) == (image.id, image.layer_ids, image.references)
    assert [layer.digest(place).diff_id for place in loaded.layers] == list(image.layer_ids)
    assert (loaded.layers[1] / "sudo").stat().st_mode & 0o7777 == 0o6755


def test_a_directory_is_loaded_as_well(scratch: Path) -> None:
    store, image = store_with(scratch / "one")
    save_to(store, ["local/app:1"], scratch / "x.tar", form="oci-archive")
    with tarfile.open(scratch / "x.tar") as packed:
        packed.extractall(scratch / "layout", filter="data")
    (loaded,) = archive.load(Store(scratch / "two"), scratch / "layout")
    assert loaded.id == image.id


@pytest.mark.parametrize("damage", ["manifest.json", "layer", "missing", "other", "escape"])
def test_a_damaged_archive_is_refused_and_leaves_nothing(scratch: Path, damage: str) -> None:
    store, image = store_with(scratch / "one")
    save_to(store, ["local/app:1"], scratch / "x.tar")
    home = scratch / "open"
    with tarfile.open(scratch / "x.tar") as packed:
        packed.extractall(home, filter="data")
    first = home / "blobs/sha256" / image.layer_ids[0][7:]
    if damage != "layer":
        (home / "index.json").unlink()
    if damage == "manifest.json":
        (home / "manifest.json").write_text('[{"Config": 1}]')
    elif damage == "layer":
        first.write_bytes(first.read_bytes().replace(b"text 0", b"text x", 1))
    elif damage == "missing":
        first.unlink()
    elif damage == "other":
        (home / "manifest.json").unlink()
    else:
        first.unlink()
        first.symlink_to("/etc/passwd")
    other = Store(scratch / "two")
    with pytest.raises(ImageError):
        archive.load(other, home)
    assert other.images() == []
    assert [path for path in (other.root / "ingest").iterdir() if path.is_dir()] == []


def foreign(scratch: Path) -> Path:
    """A docker-archive whose layer GNU tar has made, in an order and with padding of its own."""
    home = scratch / "foreign"
    (home / "files/zoo").mkdir(parents=True)
    (home / "files/zoo/file").write_text("text" * 5000)
    os.link(home / "files/zoo/file", home / "files/twin")
    (home / "files/a").symlink_to("zoo/file")
    words = ["tar", "--format=gnu", "-b", "9", "-C", str(home / "files"), "-cf", str(home / "layer.tar")]
    subprocess.run([*words, "./zoo", "./twin", "./a"], check=True)
    digest = hashlib.sha256((home / "layer.tar").read_bytes()).hexdigest()
    rootfs = {"type": "layers", "diff_ids": [f"sha256:{digest}"]}
    document = {
        "architecture": "amd64",
        "os": "linux",
        "config": {"Cmd": ["sh"]},
        "rootfs": rootfs,
        "odd": [1],
    }
    (home / "c.json").write_text(json.dumps(document, indent=3))
    entry = {"Config": "c.json", "RepoTags": ["local/foreign:1"], "Layers": ["layer.tar"]}
    (home / "manifest.json").write_text(json.dumps([entry]))
    shutil.rmtree(home / "files")
    return home


SKOPEO = {  # our form: (what skopeo calls ours, what it is to write)
    "docker-archive": ("docker-archive:{ours}", "docker-archive:{theirs}:local/foreign:1"),
    "oci-archive": ("oci-archive:{ours}", "oci-archive:{theirs}:local/foreign:1"),
    "oci-dir": ("oci:{ours}", "oci:{theirs}:local/foreign:1"),
    "docker-dir": ("dir:{ours}", "dir:{theirs}"),
}


@pytest.mark.parametrize("form", FORMS)
def test_an_image_goes_through_skopeo_and_back_and_keeps_its_id(scratch: Path, form: str) -> None:
    need("skopeo")
    store = Store(scratch / "one")
    (image,) = archive.load(store, foreign(scratch))
    save_to(store, ["local/foreign:1"], scratch / "ours", form=form)
    places = {"ours": scratch / "ours", "theirs": scratch / "theirs"}
    skopeo("copy", *(text.format(**places) for text in SKOPEO[form]))
    (back,) = archive.load(Store(scratch / "two"), scratch / "theirs")
    assert (back.id, back.layer_ids) == (image.id, image.layer_ids)
    found = json.loads(skopeo("inspect", "--config", "--raw", SKOPEO[form][0].format(**places)))
    assert found["odd"] == [1]


def test_several_images_go_into_one_archive_and_share_their_layers(scratch: Path) -> None:
    store, image = store_with(scratch / "one")
    store.tag(image.id, "other/name:2")
    save_to(store, ["local/app:1", "other/name:2"], scratch / "x.tar")
    with tarfile.open(scratch / "x.tar") as packed:
        names = packed.getnames()
        documents = json.load(packed.extractfile("manifest.json"))  # type: ignore[arg-type]
    assert len(names) == len(set(names)) and len(documents) == 1
    assert documents[0]["RepoTags"] == ["local/app:1", "other/name:2"]
    other = Store(scratch / "two")
    archive.load(other, scratch / "x.tar")
    assert other.resolve("other/name:2").id == other.resolve("local/app:1").id == image.id


@pytest.mark.parametrize("tool", ["podman", "buildah"])
def test_podman_and_buildah_take_our_archives_and_give_them_back(scratch: Path, tool: str) -> None:
    need(tool)
    store = Store(scratch / "one")
    (image,) = archive.load(store, foreign(scratch))
    save_to(store, ["local/foreign:1"], scratch / "ours.tar")
    base = [tool, "--root", f"{scratch}/root", "--runroot", "/run/c", "--storage-driver", "vfs"]
    policy = scratch / "policy.json"
    policy.write_text('{"default": [{"type": "insecureAcceptAnything"}]}')
    command("mount", "-t", "tmpfs", "none", "/run")  # of this test's own mount namespace
    if tool == "podman":
        command(*base, "load", "--signature-policy", str(policy), "-i", f"{scratch}/ours.tar")
        for form in ("docker-archive", "oci-archive"):
            target = ["--format", form, "-o", f"{scratch}/{form}"]
            command(*base, "save", "-q", *target, "docker.io/local/foreign:1")
    else:
        pulled = command(
            *base, "pull", "-q", "--signature-policy", str(policy), f"docker-archive:{scratch}/ours.tar"
        )
        for form in ("docker-archive", "oci-archive"):
            aim = ["-q", "--signature-policy", str(policy), pulled.split()[-1]]
            command(*base, "push", *aim, f"{form}:{scratch}/{form}:local/foreign:1")
    for form in ("docker-archive", "oci-archive"):
        (back,) = archive.load(Store(scratch / f"from-{form}"), scratch / form)
        assert back.layer_ids == image.layer_ids
        assert form == "oci-archive" or back.id == image.id


def command(*words: str) -> str:
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def skopeo(*words: str) -> str:
    return command("skopeo", "--insecure-policy", *words)


@contextmanager
def docker_registry(home: Path, *, auth: bool) -> Iterator[str]:
    """Debian's docker-registry on a free port of 127.0.0.1; bob's password is secret."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    config = {
        "version": 0.1,
        "log": {"level": "error"},
        "storage": {"filesystem": {"rootdirectory": str(home / "registry")}},
        "http": {"addr": address},
    }
    if auth:
        subprocess.run(
            ["htpasswd", "-Bbc", str(home / "passwd"), "bob", "secret"], check=True, capture_output=True
        )
        config["auth"] = {"htpasswd": {"realm": "test", "path": str(home / "passwd")}}
    (home / "registry.json").write_text(json.dumps(config))
    with subprocess.Popen(
        ["docker-registry", "serve", str(home / "registry.json")],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as server:
        try:
            wait_for(address)
            yield address
        finally:
            server.kill()


def wait_for(address: str) -> None:
    host, _, port = address.partition(":")
    for _ in range(200):
        try:
            socket.create_connection((host, int(port)), 1).close()
            return
        except OSError:
            time.sleep(0.05)
    raise AssertionError("docker-registry does not start")


@pytest.mark.parametrize("auth", [False, True])
@pytest.mark.parametrize("format", ["oci", "v2s2"])
def test_an_image_comes_from_debians_registry(
    scratch: Path, auth: bool, format: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    need("docker-registry", "skopeo", "htpasswd")
    store, image = store_with(scratch / "one")
    save_to(store, ["local/app:1"], scratch / "ours.tar")
    monkeypatch.setenv("HOME", str(scratch))
    monkeypatch.delenv("DOCKER_CONFIG", raising=False)
    with docker_registry(scratch, auth=auth) as address:
        login = ["--dest-creds=bob:secret"] if auth else []
        words = [*login, "--dest-tls-verify=false", f"--format={format}"]
        skopeo("copy", *words, f"docker-archive:{scratch}/ours.tar", f"docker://{address}/app:1")
        other = Store(scratch / "two")
        if auth:
            with pytest.raises(RegistryDenied):
                pull(other, f"{address}/app:1")
            (scratch / ".docker").mkdir()
            word = base64.b64encode(b"bob:secret").decode()
            (scratch / ".docker/config.json").write_text(json.dumps({"auths": {address: {"auth": word}}}))
        pulled = pull(other, f"{address}/app:1")
        assert pulled.layer_ids == image.layer_ids
        again = pull(Store(scratch / "three"), f"{address}/app@{pulled.digests[0]}")
        assert again.id == pulled.id
