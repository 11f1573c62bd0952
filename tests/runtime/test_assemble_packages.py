"""Indexes, versions, dependencies."""

from __future__ import annotations

import pytest

from runtime.image.assemble.errors import PackageMissing
from runtime.image.assemble.packages import Packages, Suite, alternatives, order
from runtime.image.assemble.resolve import resolve


def stanza(name: str, version: str = "1", **more: str) -> str:
    extra = "".join(f"{key.replace('_', '-')}: {value}\n" for key, value in more.items())
    return (
        f"Package: {name}\nArchitecture: amd64\nVersion: {version}\n{extra}"
        f"Filename: pool/{name}.deb\nSize: 10\nSHA256: {'0' * 64}\n\n"
    )


def packages(*suites: str) -> Packages:
    return Packages(Suite(f"http://{number}", text.encode()) for number, text in enumerate(suites))


@pytest.mark.parametrize(
    ("older", "newer"),
    [
        ("1.0", "1.1"),
        ("1.9", "1.10"),
        ("1.0~rc1", "1.0"),
        ("1.0", "1.0-1"),
        ("1.0-1", "1.0-1+b1"),
        ("1.0-1", "1.0-1.1"),
        ("9", "1:0"),
        ("1.22.1-9", "1.22.1-9+deb12u1"),
        ("1.22.1-9+deb12u9", "1.22.1-9+deb12u10"),
        ("3.0.22-1~deb12u2", "3.0.22-1"),
        ("1.0a", "1.0+"),
        ("2.5.13+dfsg-5", "2.5.13+dfsg-5+b1"),
    ],
)
def test_versions_sort_as_dpkg_sorts_them(older: str, newer: str) -> None:
    assert order(older) < order(newer)


def test_the_newest_version_of_all_suites_counts() -> None:
    found = packages(stanza("nginx", "1.22.1-9+deb12u9"), stanza("nginx", "1.22.1-9+deb12u10")).find("nginx")
    assert found is not None
    assert (found.version, found.url) == ("1.22.1-9+deb12u10", "http://1/pool/nginx.deb")


def test_relations_lose_versions_and_architectures() -> None:
    text = "libc6 (>= 2.36), perl:any, debconf (>= 0.5) | debconf-2.0, awk [amd64]"
    assert alternatives(text) == [("libc6",), ("perl",), ("debconf", "debconf-2.0"), ("awk",)]


def test_essential_and_required_packages_are_the_base() -> None:
    index = packages(
        stanza("a", Essential="yes") + stanza("b", Priority="required") + stanza("c", Priority="optional")
    )
    assert index.base() == ["a", "b"]


def names(wished: list[str], index: Packages, present: set[str] | None = None) -> list[str]:
    return [item.name for item in resolve(wished, index, present or set())]


def test_dependencies_come_along_and_recommendations_do_not() -> None:
    index = packages(
        stanza("web", Depends="lib (>= 2), tool", Recommends="docs")
        + stanza("lib")
        + stanza("tool", Pre_Depends="base")
        + stanza("base")
        + stanza("docs")
    )
    assert names(["web"], index) == ["web", "lib", "tool", "base"]


def test_what_is_below_already_is_left_out() -> None:
    index = packages(stanza("web", Depends="lib") + stanza("lib"))
    assert names(["web"], index, {"lib"}) == ["web"]


def test_of_alternatives_one_that_is_chosen_counts_first() -> None:
    index = packages(stanza("init", Depends="merge | merged") + stanza("merge") + stanza("merged"))
    assert names(["init"], index) == ["init", "merge"]
    assert names(["init", "merged"], index) == ["init", "merged"]


def test_a_virtual_name_is_met_by_a_provider_that_is_there() -> None:
    index = packages(
        stanza("base", Depends="awk") + stanza("gawk", Provides="awk") + stanza("mawk", Provides="awk (= 1)")
    )
    assert names(["base"], index) == ["base", "gawk"]
    assert names(["base", "mawk"], index) == ["base", "mawk"]


def test_circles_end() -> None:
    index = packages(stanza("a", Depends="b") + stanza("b", Depends="a"))
    assert names(["a"], index) == ["a", "b"]


def test_a_missing_package_is_named_with_its_alternatives() -> None:
    with pytest.raises(PackageMissing, match=r"'x \| y'"):
        names(["a"], packages(stanza("a", Depends="x | y")))
