"""Where to ask for an image, by which way, and as whom: settings, proxies, logins, challenges. No network."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path

import pytest

from runtime.errors import ImageError
from runtime.image import credentials
from runtime.image.access import read_challenge
from runtime.image.credentials import Login
from runtime.image.login import host_of
from runtime.image.manifest import matches
from runtime.image.proxy import proxy
from runtime.image.reference import parse
from runtime.image.refusal import length, nearest, retry_after
from runtime.image.settings import Settings, endpoints, read
from runtime.image.trust import directories

# --- settings


def settings(tmp_path: Path, text: str, **words: str) -> Settings:
    (tmp_path / "config.toml").write_text(text)
    return read({"PYCOMPOSE_CONFIG": str(tmp_path / "config.toml"), **words})


def test_mirrors_come_before_the_registry(tmp_path: Path) -> None:
    found = settings(
        tmp_path, '[registry."docker.io"]\nmirrors = ["m.example", "http://10.0.0.5:5000/hub/", "https://n"]'
    )
    places = endpoints(parse("busybox"), found)
    assert [(p.scheme, p.host, p.prefix, p.mirror) for p in places] == [
        ("https", "m.example", "", True),
        ("http", "10.0.0.5:5000", "hub/", True),
        ("https", "n", "", True),
        ("https", "registry-1.docker.io", "", False),
    ]
    assert len(endpoints(parse("quay.io/x/y"), found)) == 1


def test_insecure_registries_come_from_file_and_variable(tmp_path: Path) -> None:
    text = '[registry."a:5000"]\ninsecure = true\n[registry."b"]\ninsecure = false'
    found = settings(tmp_path, text, PYCOMPOSE_INSECURE_REGISTRIES="b, c:1")
    assert found.insecure == {"a:5000", "c:1"}
    for name, scheme, verified in [("a:5000/x", "", False), ("d.e/x", "https", True), ("c:1/x", "", False)]:
        place = endpoints(parse(name), found)[-1]
        assert (place.scheme, place.verified) == (scheme, verified)


@pytest.mark.parametrize("host", ["localhost", "localhost:5000", "127.0.0.1:5000", "127.1.2.3", "[::1]:5000"])
def test_this_machine_may_speak_plain_http_but_its_certificate_counts(host: str) -> None:
    place = endpoints(parse(f"{host}/x"), Settings())[0]
    assert (place.scheme, place.verified) == ("", True)


def test_the_users_file_comes_over_the_systems(tmp_path: Path) -> None:
    (tmp_path / "pycompose").mkdir()
    (tmp_path / "pycompose/config.toml").write_text('[registry."x"]\nca = "ca.crt"')
    found = read({"XDG_CONFIG_HOME": str(tmp_path)})
    assert found.authorities == {"x": str(tmp_path / "pycompose/ca.crt")}


@pytest.mark.parametrize(
    "text,words",
    [
        ("nonsense", "is not TOML"),
        ("registry = 3", "is not a table"),
        ('[registry."x"]\nmirror = []', "unknown key 'mirror'"),
        ('[registry."x"]\nmirrors = "y"', "'mirrors' that is no list"),
        ('[registry."x"]\nmirrors = [3]', "a mirror that is no text"),
        ('[registry."x"]\ninsecure = "yes"', "'insecure' that is no bool"),
    ],
)
def test_a_wrong_file_is_named(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(ImageError) as caught:
        settings(tmp_path, text)
    assert words in caught.value.message and "config.toml" in caught.value.message


def test_a_mirror_that_is_none_is_refused() -> None:
    with pytest.raises(ImageError, match="is not a mirror"):
        endpoints(parse("x"), Settings(mirrors={"docker.io": ("ftp://x",)}))


def test_certificates_lie_where_docker_and_containers_keep_them() -> None:
    found = [str(path) for path in directories("r:5000", {"XDG_CONFIG_HOME": "/h/.config"})]
    assert found == [
        "/etc/docker/certs.d/r:5000",
        "/etc/containers/certs.d/r:5000",
        "/h/.config/docker/certs.d/r:5000",
        "/h/.config/containers/certs.d/r:5000",
    ]


# --- proxies


@pytest.mark.parametrize(
    "variables,host,expected",
    [
        ({}, "a.example", ""),
        ({"HTTPS_PROXY": "http://p:1"}, "a.example", "http://p:1"),
        ({"https_proxy": "p:1", "HTTPS_PROXY": "http://q:1"}, "a.example", "http://p:1"),
        ({"HTTP_PROXY": "http://p:1"}, "a.example", ""),
        ({"ALL_PROXY": "http://p:1"}, "a.example", "http://p:1"),
        ({"HTTPS_PROXY": "http://p:1"}, "localhost", ""),
        ({"HTTPS_PROXY": "http://p:1"}, "127.3.2.1", ""),
        ({"HTTPS_PROXY": "http://p:1"}, "::1", ""),
        ({"HTTPS_PROXY": "http://p:1", "NO_PROXY": "*"}, "a.example", ""),
        ({"HTTPS_PROXY": "http://p:1", "NO_PROXY": "b, a.example"}, "a.example", ""),
        ({"HTTPS_PROXY": "http://p:1", "NO_PROXY": "example"}, "a.example", ""),
        ({"HTTPS_PROXY": "http://p:1", "NO_PROXY": "ample"}, "a.example", "http://p:1"),
        ({"HTTPS_PROXY": "http://p:1", "no_proxy": ".example"}, "a.example", ""),
        ({"HTTPS_PROXY": "http://p:1", "no_proxy": ".a.example"}, "a.example", "http://p:1"),
        ({"HTTPS_PROXY": "http://p:1", "NO_PROXY": "*.example"}, "a.example", ""),
        ({"HTTPS_PROXY": "http://p:1", "NO_PROXY": "a.example:443"}, "a.example", ""),
        ({"HTTPS_PROXY": "http://p:1", "NO_PROXY": "a.example:80"}, "a.example", "http://p:1"),
        ({"HTTPS_PROXY": "http://p:1", "NO_PROXY": "10.0.0.0/8"}, "10.1.2.3", ""),
        ({"HTTPS_PROXY": "http://p:1", "NO_PROXY": "10.0.0.0/8"}, "11.1.2.3", "http://p:1"),
        ({"HTTPS_PROXY": "http://p:1", "NO_PROXY": "10.0.0.0/99"}, "10.1.2.3", "http://p:1"),
        ({"HTTPS_PROXY": "http://p:1", "NO_PROXY": "fd00::/8"}, "fd00::1", ""),
    ],
)
def test_proxies_by_the_usual_variables(variables: dict[str, str], host: str, expected: str) -> None:
    assert proxy("https", host, 443, variables) == expected


# --- logins


def kept(path: Path, **config: object) -> dict[str, str]:
    path.mkdir(exist_ok=True)
    (path / "config.json").write_text(json.dumps(config))
    return {"DOCKER_CONFIG": str(path), "HOME": str(path), "PATH": str(path)}


def helper(path: Path, name: str, script: str) -> None:
    path.mkdir(exist_ok=True)
    program = path / f"docker-credential-{name}"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)


BOB = "Ym9iOnNlY3JldDp3aXRoOmNvbG9ucw=="


def test_logins_stand_under_several_names(tmp_path: Path) -> None:
    for name in ("r:1", "https://r:1", "https://r:1/v1/", "https://r:1/v2/", "http://r:1"):
        found = credentials.find("r:1", kept(tmp_path, auths={name: {"auth": BOB}}))
        assert found == Login("bob", "secret:with:colons"), name
    for name in ("https://index.docker.io/v1/", "docker.io", "index.docker.io"):
        assert credentials.find("docker.io", kept(tmp_path, auths={name: {"auth": BOB}}))
    assert credentials.find("r:2", kept(tmp_path, auths={"r:1": {"auth": BOB}})) is None


def test_the_narrowest_entry_of_auth_json_counts(tmp_path: Path) -> None:
    auths = {"q.io": {"username": "a", "password": "1"}, "q.io/team": {"username": "b", "password": "2"}}
    environment = kept(tmp_path, auths=auths)
    assert credentials.find("q.io", environment, repository="team/app") == Login("b", "2")
    assert credentials.find("q.io", environment, repository="teams/app") == Login("a", "1")


@pytest.mark.parametrize("where", ["REGISTRY_AUTH_FILE", "XDG_RUNTIME_DIR", "XDG_CONFIG_HOME", "HOME"])
def test_containers_auth_json_is_found_everywhere(tmp_path: Path, where: str) -> None:
    place = {
        "REGISTRY_AUTH_FILE": tmp_path / "any.json",
        "XDG_RUNTIME_DIR": tmp_path / "containers/auth.json",
        "XDG_CONFIG_HOME": tmp_path / "containers/auth.json",
        "HOME": tmp_path / ".config/containers/auth.json",
    }[where]
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(json.dumps({"auths": {"r:1": {"auth": BOB}}}))
    value = str(place) if where == "REGISTRY_AUTH_FILE" else str(tmp_path)
    assert credentials.find("r:1", {where: value}) == Login("bob", "secret:with:colons")


def test_a_helper_is_asked_for_its_registry_only(tmp_path: Path) -> None:
    helper(tmp_path, "one", """read server; echo "{\\"Username\\":\\"u\\",\\"Secret\\":\\"$server\\"}" """)
    helper(tmp_path, "two", 'echo "credentials not found in native keychain"; exit 1')
    environment = kept(tmp_path, credHelpers={"r:1": "one"}, credsStore="two", auths={})
    assert credentials.find("r:1", environment) == Login("u", "r:1")
    assert credentials.find("r:2", environment) is None


def test_a_helper_may_give_an_identity_token(tmp_path: Path) -> None:
    helper(tmp_path, "one", """echo '{"Username":"<token>","Secret":"abc"}'""")
    assert credentials.find("r:1", kept(tmp_path, credsStore="one")) == Login("", "", "abc")


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{", '{"auths": 3}', '{"auths": {"r:1": 3}}', '{"auths": {"r:1": {"auth": "%%"}}}', '"x"'],
)
def test_a_damaged_file_has_no_logins(tmp_path: Path, text: str) -> None:
    (tmp_path / "config.json").write_text(text)
    assert credentials.find("r:1", {"DOCKER_CONFIG": str(tmp_path)}) is None


def test_keeping_a_login_leaves_the_rest_of_the_file(tmp_path: Path) -> None:
    environment = kept(tmp_path, auths={"other": {"auth": BOB}}, psFormat="table", proxies={"default": {}})
    (tmp_path / "config.json").chmod(0o644)
    assert credentials.keep("r:1", Login("bob", "x"), environment) == str(tmp_path / "config.json")
    found = json.loads((tmp_path / "config.json").read_text())
    assert found["psFormat"] == "table" and found["proxies"] == {"default": {}}
    assert set(found["auths"]) == {"other", "r:1"}
    assert stat.S_IMODE((tmp_path / "config.json").stat().st_mode) == 0o600
    assert credentials.find("r:1", environment) == Login("bob", "x")
    assert credentials.forget("r:1", environment) and not credentials.forget("r:1", environment)
    assert set(json.loads((tmp_path / "config.json").read_text())["auths"]) == {"other"}
    assert [path.name for path in tmp_path.iterdir()] == ["config.json"]


def test_the_hub_is_kept_under_its_old_name(tmp_path: Path) -> None:
    environment = {"DOCKER_CONFIG": str(tmp_path / "new")}
    credentials.keep("docker.io", Login("bob", "x"), environment)
    found = json.loads((tmp_path / "new/config.json").read_text())
    assert list(found["auths"]) == ["https://index.docker.io/v1/"]
    assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o700


def test_a_helper_keeps_and_forgets(tmp_path: Path) -> None:
    script = f"""case $1 in
store) cat > {tmp_path}/kept;;
get) [ -e {tmp_path}/kept ] && cat {tmp_path}/kept;;
erase) rm {tmp_path}/kept;;
esac"""
    helper(tmp_path, "one", script)
    environment = kept(tmp_path, credsStore="one") | {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    assert credentials.keep("r:1", Login("bob", "x"), environment) == ""
    assert json.loads((tmp_path / "kept").read_text()) == {
        "ServerURL": "r:1",
        "Username": "bob",
        "Secret": "x",
    }
    assert "x" not in json.loads((tmp_path / "config.json").read_text())["auths"]["r:1"]
    assert credentials.find("r:1", environment) == Login("bob", "x")
    assert credentials.forget("r:1", environment)
    assert not (tmp_path / "kept").exists()


def test_a_file_that_is_no_configuration_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("precious")
    with pytest.raises(ImageError, match="cannot be read"):
        credentials.keep("r:1", Login("bob", "x"), {"DOCKER_CONFIG": str(tmp_path)})
    assert (tmp_path / "config.json").read_text() == "precious"


def test_passwords_stay_out_of_tracebacks() -> None:
    assert "secret" not in repr(Login("bob", "secret", "secret"))


@pytest.mark.parametrize(
    "server,host",
    [
        ("", "docker.io"),
        ("docker.io", "docker.io"),
        ("https://index.docker.io/v1/", "docker.io"),
        ("r.example:5000", "r.example:5000"),
        ("https://r.example/v2/", "r.example"),
        ("http://localhost:5000", "localhost:5000"),
        ("r.example/some/path", "r.example"),
    ],
)
def test_a_server_may_be_written_in_many_ways(server: str, host: str) -> None:
    assert host_of(server) == host


# --- answers


@pytest.mark.parametrize(
    "text,expected",
    [
        ('Basic realm="x"', ("basic", {"realm": "x"})),
        ('Bearer realm="https://t/x",service="s"', ("bearer", {"realm": "https://t/x", "service": "s"})),
        (
            'bearer  realm="https://t/x" , scope="repository:a:pull,push"',
            ("bearer", {"realm": "https://t/x", "scope": "repository:a:pull,push"}),
        ),
        ('Basic realm="x", Bearer realm="https://t"', ("bearer", {"realm": "https://t"})),
        ('Bearer realm="https://t", Basic realm="x"', ("bearer", {"realm": "https://t"})),
        ("Bearer realm=https://t", ("bearer", {"realm": "https://t"})),
        ('Negotiate, Basic realm="a \\"b\\""', ("basic", {"realm": 'a "b"'})),
        ("Negotiate", ("", {})),
    ],
)
def test_challenges_are_read(text: str, expected: tuple[str, dict[str, str]]) -> None:
    assert read_challenge(text) == expected


@pytest.mark.parametrize(
    "headers,expected",
    [
        ({}, None),
        ({"retry-after": "12"}, 12.0),
        ({"retry-after": "Thu, 01 Jan 1970 00:16:50 GMT"}, 10.0),
        ({"retry-after": "soon"}, None),
        ({"x-ratelimit-reset": "40"}, 40.0),
        ({"x-ratelimit-reset": "2000000000"}, 1999999000.0),
    ],
)
def test_when_to_ask_again(headers: dict[str, str], expected: float | None) -> None:
    assert retry_after(headers, now=1000.0) == expected


def test_waiting_times_in_words() -> None:
    assert [length(n) for n in (1, 40, 60, 90, 3600, 9000)] == [
        "1 second",
        "40 seconds",
        "1 minute",
        "1.5 minutes",
        "1 hour",
        "2.5 hours",
    ]


def test_the_nearest_tags() -> None:
    tags = ["1.2", "1.2.3", "1.2.3-alpine", "latest", "stable"]
    assert nearest("1.2.4", tags)[0] == "1.2.3"
    assert nearest("1.2.3-alpin", tags)[0] == "1.2.3-alpine"
    assert nearest("lastest", tags)[0] == "latest"
    assert nearest("zzz", tags) == []


@pytest.mark.parametrize(
    "made,wanted,expected",
    [
        ("linux/amd64", "linux/amd64", True),
        ("linux/amd64", "linux/amd64/v3", True),
        ("linux/amd64/v3", "linux/amd64", False),
        ("linux/arm64", "linux/arm64/v8", True),
        ("linux/arm/v6", "linux/arm/v7", True),
        ("linux/arm/v7", "linux/arm/v6", False),
        ("linux/arm", "linux/arm/v7", True),
        ("windows/amd64", "linux/amd64", False),
        ("linux/x86_64", "linux/amd64", True),
        ("linux/s390x", "linux/amd64", False),
        ("", "linux/amd64", False),
    ],
)
def test_which_platform_serves_which(made: str, wanted: str, expected: bool) -> None:
    assert matches(made, wanted) is expected
