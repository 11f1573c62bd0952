"""Where packages come from, by what the host's apt is told."""

from __future__ import annotations

from pathlib import Path

import pytest

from runtime.image.assemble.sources import entries, settings, sources

DEB822 = """\
# of the installer
Types: deb
URIs: http://mirror.example/debian/
Suites: bookworm bookworm-updates
Components: main contrib
Signed-By: /x

Types: deb deb-src
URIs: http://mirror.example/debian-security
Suites: bookworm-security
Components:
 main

Types: deb
Enabled: no
URIs: http://off.example/debian
Suites: bookworm
Components: main
"""


def host(root: Path, *, name: str = "debian", files: dict[str, str] | None = None) -> Path:
    """An /etc of a host."""
    for path, text in {"os-release": f"NAME=x\nID={name}\n", **(files or {})}.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)
    return root


def places(etc: Path, codename: str = "bookworm", **environment: str) -> list[str]:
    found = sources(codename, environment, etc)
    return [f"{suite.uri} {suite.name}" for suite in found.suites]


def test_deb822_sources_are_followed(tmp_path: Path) -> None:
    etc = host(tmp_path, files={"apt/sources.list.d/debian.sources": DEB822})
    assert places(etc) == [
        "http://mirror.example/debian bookworm",
        "http://mirror.example/debian bookworm-updates",
        "http://mirror.example/debian-security bookworm-security",
    ]


def test_one_line_sources_are_followed(tmp_path: Path) -> None:
    lines = (
        "# deb http://no.example/debian bookworm main\n"
        "deb [arch=amd64 signed-by=/k] http://a.example/debian bookworm main # x\n"
    )
    etc = host(tmp_path, files={"apt/sources.list": lines})
    assert places(etc)[0] == "http://a.example/debian bookworm"


def test_third_parties_do_not_count_as_debian(tmp_path: Path) -> None:
    etc = host(
        tmp_path,
        files={
            "apt/sources.list": "deb http://apt.vendor.example/stuff bookworm main\n",
            "apt/sources.list.d/debian.sources": DEB822,
        },
    )
    assert places(etc)[0] == "http://mirror.example/debian bookworm"


def test_another_release_comes_from_the_same_mirror(tmp_path: Path) -> None:
    etc = host(tmp_path, files={"apt/sources.list.d/debian.sources": DEB822})
    assert places(etc, "trixie")[0] == "http://mirror.example/debian trixie"


def test_a_mirror_list_in_a_file_is_read(tmp_path: Path) -> None:
    listed = tmp_path / "debian.list"
    listed.write_text("http://first.example/debian\thint:x\nhttps://second.example/debian\n")
    text = f"Types: deb\nURIs: mirror+file://{listed}\nSuites: bookworm\nComponents: main\n"
    etc = host(tmp_path, files={"apt/sources.list.d/debian.sources": text})
    assert [entry.uri for entry in entries(etc)] == [
        "http://first.example/debian",
        "https://second.example/debian",
    ]


@pytest.mark.parametrize("name", ["ubuntu", "fedora"])
def test_hosts_that_are_not_debian_use_the_public_mirror(tmp_path: Path, name: str) -> None:
    etc = host(
        tmp_path, name=name, files={"apt/sources.list": "deb http://archive.ubuntu.com/ubuntu noble main\n"}
    )
    found = sources("bookworm", {}, etc)
    assert (found.suites[0].uri, found.origin) == ("http://deb.debian.org/debian", "the public default")


def test_a_host_with_no_apt_at_all_uses_the_public_mirror(tmp_path: Path) -> None:
    assert places(tmp_path)[0] == "http://deb.debian.org/debian bookworm"


def test_the_environment_overrides_all(tmp_path: Path) -> None:
    etc = host(tmp_path, files={"apt/sources.list.d/debian.sources": DEB822})
    found = sources("bookworm", {"PYCOMPOSE_DEBIAN_MIRROR": "https://m.example/debian/"}, etc)
    assert found.suites[0].uri == "https://m.example/debian"
    assert found.suites[-1].uri == "https://m.example/debian-security"
    assert found.origin == "PYCOMPOSE_DEBIAN_MIRROR"


def test_apt_configuration_is_read_in_both_its_forms() -> None:
    text = """
    // comment
    Acquire::Check-Valid-Until "false"; # another
    Acquire { http { Proxy "http://proxy:3142"; Proxy::deb.debian.org "DIRECT"; }; Retries 3; };
    /* APT::X "1"; */
    """
    assert settings(text) == {
        "acquire::check-valid-until": "false",
        "acquire::http::proxy": "http://proxy:3142",
        "acquire::http::proxy::deb.debian.org": "DIRECT",
        "acquire::retries": "3",
    }


def test_proxy_of_apt_counts_before_that_of_the_environment(tmp_path: Path) -> None:
    etc = host(tmp_path, files={"apt/apt.conf.d/01proxy": 'Acquire::http::Proxy "http://apt:1";\n'})
    assert sources("bookworm", {"http_proxy": "http://env:2"}, etc).proxy == "http://apt:1"
    assert sources("bookworm", {"http_proxy": "http://env:2"}, tmp_path / "none").proxy == "http://env:2"
    assert (
        sources("bookworm", {"http_proxy": "http://e:2", "no_proxy": ".debian.org"}, tmp_path / "none").proxy
        == ""
    )


def test_dates_are_checked_unless_apt_or_the_environment_says_no(tmp_path: Path) -> None:
    assert sources("bookworm", {}, tmp_path).check_dates
    assert not sources("bookworm", {"PYCOMPOSE_CHECK_VALID_UNTIL": "no"}, tmp_path).check_dates
    etc = host(tmp_path, files={"apt/apt.conf.d/99x": 'Acquire::Check-Valid-Until "false";\n'})
    assert not sources("bookworm", {}, etc).check_dates
