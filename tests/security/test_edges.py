"""Attempts where privileged code meets what a container controls; each says what came through."""

from __future__ import annotations

import pytest

from tests.security.edges import EDGES, SLOW
from tests.security.engine import Engine

pytestmark = pytest.mark.root


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] if name in SLOW else []) for name in EDGES]
)
def test_nothing_comes_through(name: str, engine: Engine) -> None:
    assert EDGES[name](engine) == ""
