"""Which names can be assembled."""

from __future__ import annotations

import pytest

from runtime.image.assemble import closest, offers
from runtime.image.assemble.catalog import LINES, find


@pytest.mark.parametrize(
    "name",
    [
        "debian",
        "debian:bookworm",
        "debian:bookworm-slim",
        "debian:12-slim",
        "debian:trixie-slim",
        "python:3.11",
        "python:3.11-slim",
        "python:3.11-slim-bookworm",
        "python:3.11-bookworm",
        "python:3.11.2-slim",
        "python:3.13-slim",
        "postgres:15",
        "postgres:15-bookworm",
        "postgres:15.20",
        "docker.io/library/postgres:15",
        "redis:7",
        "redis:7.0.15",
        "nginx:1.22",
        "nginx:1.22.1-bookworm",
        "node:18",
        "node:18-slim",
        "node:18.20-bookworm-slim",
        "node:18.20.4-bookworm",
        "node:20-trixie",
        "busybox",
        "busybox:1.35.0",
    ],
)
def test_offered(name: str) -> None:
    assert offers(name)


@pytest.mark.parametrize(
    "name",
    [
        "postgres",
        "postgres:16",
        "postgres:15-alpine",
        "postgres:150",
        "postgres:15.x",
        "python:3",
        "python:3.12-slim",
        "redis:7.2",
        "nginx",
        "node",
        "node:22",
        "node:20-bookworm",
        "node:18-alpine",
        "alpine",
        "mysql:8",
        "bitnami/postgres:15",
        "ghcr.io/library/postgres:15",
        f"postgres:15@sha256:{'0' * 64}",
        "not a name",
    ],
)
def test_not_offered(name: str) -> None:
    assert not offers(name)


def test_what_comes_closest_is_named() -> None:
    assert closest("python:3.12-slim")[:2] == ("python:3.11-slim", "python:3.13-slim")
    assert set(closest("postgres:16")) == {"postgres:15", "postgres:17"}
    assert closest("somebody/else") == ()
    assert closest("not a name") == ()


def test_a_patch_release_is_remembered_to_be_checked() -> None:
    found = [find(name) for name in ("postgres:15.20-bookworm", "postgres:15")]
    assert [offer.exact for offer in found if offer] == ["15.20", ""]


def test_every_line_makes_a_recipe_with_its_own_title() -> None:
    for line in LINES:
        for tag in line.tags():
            offer = find(f"{line.repository}:{tag}")
            assert offer is not None
            assert offer.make().title == f"{line.repository}:{tag}"
