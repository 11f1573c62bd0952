"""Names of images."""

from __future__ import annotations

import pytest

from runtime.image.errors import InvalidReference
from runtime.image.reference import parse

D = "sha256:" + "a" * 64


@pytest.mark.parametrize(
    "text,full,familiar",
    [
        ("postgres", "docker.io/library/postgres:latest", "postgres:latest"),
        ("postgres:15", "docker.io/library/postgres:15", "postgres:15"),
        ("me/app", "docker.io/me/app:latest", "me/app:latest"),
        ("docker.io/postgres", "docker.io/library/postgres:latest", "postgres:latest"),
        ("index.docker.io/a/b", "docker.io/a/b:latest", "a/b:latest"),
        ("localhost/x", "localhost/x:latest", "localhost/x:latest"),
        ("localhost:5000/x:y", "localhost:5000/x:y", "localhost:5000/x:y"),
        ("ghcr.io/a/b/c:v1.2-3_4", "ghcr.io/a/b/c:v1.2-3_4", "ghcr.io/a/b/c:v1.2-3_4"),
        (f"x@{D}", f"docker.io/library/x@{D}", f"x@{D}"),
        (f"x:1@{D}", f"docker.io/library/x:1@{D}", f"x:1@{D}"),
        ("[::1]:5000/x", "[::1]:5000/x:latest", "[::1]:5000/x:latest"),
        ("a__b/c.d-e", "docker.io/a__b/c.d-e:latest", "a__b/c.d-e:latest"),
        ("library/x", "docker.io/library/x:latest", "x:latest"),
    ],
)
def test_references(text: str, full: str, familiar: str) -> None:
    assert str(parse(text)) == full
    assert parse(text).familiar() == familiar
    assert parse(full) == parse(text)


@pytest.mark.parametrize(
    "text",
    ["", ":", "a:", "a b", "A", "a/B", "a//b", "/a", "a/", "a:-x", "a:" + "x" * 129, "a@b", "a@sha256:ff",
     "a..b", "-a", "a" * 64, "a/" * 150 + "a", "http://x/y", "x:y:z", "é", f"x@{D}0"],
)  # fmt: skip
def test_what_is_no_reference(text: str) -> None:
    with pytest.raises(InvalidReference):
        parse(text)


def test_upper_case_gets_a_hint() -> None:
    with pytest.raises(InvalidReference) as caught:
        parse("MyApp:1")
    assert caught.value.hint == "did you mean 'myapp:1'?"
