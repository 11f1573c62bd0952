"""Registries and tools of others: Debian's docker-registry and skopeo, with every way to log in, over TLS."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from real_registry import Authority, TokenServer, passwords, running, skopeo

from compose.cli import main
from runtime.errors import ImageNotFound
from runtime.image import archive, credentials, layer
from runtime.image.errors import RegistryDenied, RegistryTLS
from runtime.image.manifest import Image, ImageConfig
from runtime.image.progress import Progress
from runtime.image.pull import pull
from runtime.image.push import push
from runtime.image.save import save_to
from runtime.image.store import Store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "images")


@pytest.fixture
def other(tmp_path: Path) -> Store:
    return Store(tmp_path / "other")


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with running(tmp_path_factory.mktemp("registry")) as host:
        yield host


def made(store: Store, *names: str, **files: bytes) -> Image:
    layers = []
    for name, data in files.items():
        with store.ingest() as work:
            (work / "diff" / "etc").mkdir(parents=True)
            (work / "diff" / "etc" / name).write_bytes(data)
            (work / "diff" / "link").symlink_to("etc")
            found = layer.digest(work / "diff")
            store.commit_layer(work / "diff", found.diff_id, size=found.size)
            layers.append(found.diff_id)
    config = ImageConfig(cmd=("sh",), env=("A=b",), labels={"l": "v"}, architecture="amd64")
    return store.put_image(config, layers, names)


def home(path: Path, **more: str) -> dict[str, str]:
    return {"HOME": str(path), "PATH": os.environ["PATH"], **more}


# --- plain


def test_skopeo_reads_what_we_push(plain: str, store: Store, other: Store, tmp_path: Path) -> None:
    name = f"{plain}/team/app:1"
    image = made(store, name, a=os.urandom(20 << 20), b=b"2")
    assert push(store, name, environment=home(tmp_path))
    seen = json.loads(skopeo("inspect", "--tls-verify=false", f"docker://{name}"))
    assert seen["Labels"] == {"l": "v"} and seen["RepoTags"] == ["1"] and len(seen["Layers"]) == 2
    skopeo("copy", "-q", "--src-tls-verify=false", f"docker://{name}", f"oci:{tmp_path}/layout:{name}")
    loaded = archive.load(other, tmp_path / "layout")
    assert [found.id for found in loaded] == [image.id]


@pytest.mark.smoke("docker-registry", "skopeo")
@pytest.mark.parametrize("kind,packing", [("oci", "gzip"), ("oci", "zstd"), ("v2s2", "gzip")])
def test_we_pull_what_skopeo_writes(
    plain: str, store: Store, other: Store, tmp_path: Path, kind: str, packing: str
) -> None:
    image = made(store, "localhost/app:1", a=b"1" * 5000, b=b"2")
    save_to(store, ["localhost/app:1"], tmp_path / "app.tar")
    name = f"{plain}/skopeo/{kind}-{packing}:1"
    skopeo("copy", "-q", "--dest-tls-verify=false", f"--format={kind}", f"--dest-compress-format={packing}",
           f"docker-archive:{tmp_path}/app.tar", f"docker://{name}")  # fmt: skip
    found = pull(other, name, environment=home(tmp_path))
    assert found.layer_ids == image.layer_ids
    assert (found.layers[0] / "etc" / "a").read_bytes() == b"1" * 5000
    seen = json.loads(skopeo("inspect", "--tls-verify=false", f"docker://{name}"))
    assert seen["Digest"] in found.digests


def test_a_layer_is_mounted_from_another_repository(plain: str, store: Store, tmp_path: Path) -> None:
    one, two = f"{plain}/mount/one:1", f"{plain}/mount/two:1"
    made(store, one, a=os.urandom(100_000))
    first = push(store, one, environment=home(tmp_path))
    store.tag(one, two)
    heard: list[Progress] = []
    assert push(store, two, environment=home(tmp_path), events=heard.append) == first
    assert "Mounted from mount/one" in {event.text for event in heard}


def test_a_missing_tag_names_the_nearest(plain: str, store: Store, tmp_path: Path) -> None:
    made(store, f"{plain}/tags/app:1.22", a=b"1")
    push(store, f"{plain}/tags/app:1.22", environment=home(tmp_path))
    with pytest.raises(ImageNotFound) as caught:
        pull(store, f"{plain}/tags/app:1.23", environment=home(tmp_path))
    assert f"did you mean '{plain}/tags/app:1.22'?" in caught.value.hint
    with pytest.raises(ImageNotFound) as nothing:
        pull(store, f"{plain}/tags/none:1", environment=home(tmp_path))
    assert "no repository of that name" in nothing.value.hint


def test_config_pins_by_what_the_registry_has(
    plain: str,
    store: Store,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    name = f"{plain}/pin/app:1"
    made(store, name, a=b"1")
    found = push(store, name, environment=home(tmp_path))
    (tmp_path / "compose.yaml").write_text(f"name: p\nservices: {{web: {{image: '{name}'}}}}\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert main(["config", "--resolve-image-digests"]) == 0
    assert f"{name}@{found}" in capsys.readouterr().out
    assert main(["config", "--lock-image-digests"]) == 0
    assert f"{name}@{found}" in capsys.readouterr().out


# --- with passwords


@pytest.mark.smoke("htpasswd")
def test_passwords_by_htpasswd(
    store: Store,
    other: Store,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "docker"))
    with running(tmp_path / "registry", *passwords(tmp_path / "registry", "bob", "s:cret")) as host:
        name = f"{host}/app:1"
        image = made(store, name, a=b"1")
        with pytest.raises(RegistryDenied) as caught:
            push(store, name)
        assert caught.value.hint == f"try 'pycompose login {host}'"
        assert main(["login", "-u", "bob", "-p", "wrong", host]) == 1
        assert "refuses this login" in capsys.readouterr().err
        assert not (tmp_path / "docker/config.json").exists()
        assert main(["login", "-u", "bob", "-p", "s:cret", host]) == 0
        assert capsys.readouterr().out == "Login Succeeded\n"
        push(store, name)
        assert pull(other, name).id == image.id
        authfile = f"--authfile={tmp_path}/docker/config.json"
        assert json.loads(skopeo("inspect", authfile, "--tls-verify=false", f"docker://{name}"))
        assert main(["login", host]) == 0, "the login that is kept is good"
        assert main(["logout", host]) == 0
        assert f"Removing login credentials for {host}\n" in capsys.readouterr().out
        with pytest.raises(RegistryDenied):
            pull(Store(tmp_path / "third"), name)
        assert main(["logout", host]) == 0
        assert capsys.readouterr().out == f"Not logged in to {host}\n"


# --- with a token server


def test_a_token_server_of_its_own(store: Store, other: Store, tmp_path: Path) -> None:
    tokens = TokenServer(Authority(tmp_path / "ca"), "bob", "secret")
    with tokens.serving(), running(tmp_path / "registry", *tokens.lines()) as host:
        one, two = f"{host}/public/app:1", f"{host}/private/app:1"
        image = made(store, one, a=os.urandom(100_000))
        store.tag(one, two)
        nobody, bob = home(tmp_path / "nobody"), home(tmp_path / "bob")
        with pytest.raises(RegistryDenied, match="wants a login"):
            push(store, one, environment=nobody)
        credentials.keep(host, credentials.Login("bob", "secret"), bob)
        push(store, one, environment=bob)
        assert pull(other, one, environment=nobody).id == image.id
        heard: list[Progress] = []
        push(store, two, environment=bob, events=heard.append)
        assert "Mounted from public/app" in {event.text for event in heard}
        assert {"repository:private/app:pull,push", "repository:public/app:pull"} <= {
            scope for query in tokens.asked for scope in query.get("scope", ())
        }
        with pytest.raises(RegistryDenied):
            pull(other, two, environment=nobody)
        credentials.keep(host, credentials.Login("bob", "wrong"), bob)
        with pytest.raises(RegistryDenied, match="login was refused"):
            pull(Store(tmp_path / "third"), two, environment=bob)


def test_login_asks_the_token_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "docker"))
    tokens = TokenServer(Authority(tmp_path / "ca"), "bob", "secret")
    with tokens.serving(), running(tmp_path / "registry", *tokens.lines()) as host:
        assert main(["login", "-u", "bob", "-p", "wrong", host]) == 1
        assert "the login was refused" in capsys.readouterr().err
        assert main(["login", "-u", "bob", "-p", "secret", host]) == 0
    assert tokens.asked[-1]["account"] == ["bob"] and tokens.asked[-1]["service"] == ["tests"]


# --- over TLS


@pytest.mark.smoke("openssl")
def test_a_private_authority(store: Store, other: Store, tmp_path: Path) -> None:
    authority = Authority(tmp_path / "ca")
    certificate, key = authority.issue("registry", "IP:127.0.0.1")
    tls = f"  tls: {{certificate: {certificate}, key: {key}}}"
    with running(tmp_path / "registry", tls) as host:
        name = f"{host}/app:1"
        image = made(store, name, a=b"1")
        with pytest.raises(RegistryTLS, match="is not trusted") as caught:
            push(store, name, environment=home(tmp_path))
        assert f"/etc/docker/certs.d/{host}/ca.crt" in caught.value.hint
        push(store, name, environment=home(tmp_path, SSL_CERT_FILE=str(authority.file)))
        place = tmp_path / ".config/containers/certs.d" / host
        place.mkdir(parents=True)
        (place / "ca.crt").write_bytes(authority.file.read_bytes())
        assert pull(other, name, environment=home(tmp_path)).id == image.id
        (place / "ca.crt").unlink()
        for line in (f'ca = "{authority.file}"', "insecure = true"):
            (tmp_path / "config.toml").write_text(f'[registry."{host}"]\n{line}\n')
            settings = home(tmp_path, PYCOMPOSE_CONFIG=str(tmp_path / "config.toml"))
            found = pull(Store(tmp_path / f"store {line[:2]}"), name, environment=settings)
            assert found.id == image.id


def test_a_certificate_for_another_name(store: Store, tmp_path: Path) -> None:
    authority = Authority(tmp_path / "ca")
    certificate, key = authority.issue("registry", "DNS:other.example")
    with running(tmp_path / "registry", f"  tls: {{certificate: {certificate}, key: {key}}}") as host:
        with pytest.raises(RegistryTLS) as caught:
            pull(store, f"{host}/app:1", environment=home(tmp_path, SSL_CERT_FILE=str(authority.file)))
        assert "made for another name" in caught.value.hint


def test_a_registry_that_wants_our_certificate(store: Store, tmp_path: Path) -> None:
    authority = Authority(tmp_path / "ca")
    certificate, key = authority.issue("registry", "IP:127.0.0.1")
    tls = f"  tls: {{certificate: {certificate}, key: {key}, clientcas: [{authority.file}]}}"
    ours, our_key = authority.issue("client", "DNS:client")
    with running(tmp_path / "registry", tls) as host:
        name = f"{host}/app:1"
        made(store, name, a=b"1")
        place = tmp_path / ".config/docker/certs.d" / host
        place.mkdir(parents=True)
        (place / "ca.crt").write_bytes(authority.file.read_bytes())
        (place / "client.cert").write_bytes(ours.read_bytes())
        (place / "client.key").write_bytes(our_key.read_bytes())
        push(store, name, environment=home(tmp_path))
        (place / "client.key").unlink()
        with pytest.raises(RegistryTLS, match=r"client\.cert cannot be used"):
            push(store, name, environment=home(tmp_path))
