"""The escape table: what a program inside tries is refused in every form in which a container runs one.

The same table beside another engine's: ``python -m bench.escape``.
"""

from __future__ import annotations

import pytest

from tests.security import table
from tests.security.calls import CALLS
from tests.security.engine import Engine
from tests.security.files import SCRIPTS

pytestmark = pytest.mark.root

# What root in a container may, with Docker as with us.
OPEN = {
    "TIOCSTI on the own terminal",  # one of the container's own, whose other side only copies
    *(f"read /proc/{name}" for name in ("kpagecount", "kpageflags", "kpagecgroup")),
    *(f"read /proc/{name}" for name in ("vmallocinfo", "slabinfo", "pagetypeinfo")),
}


@pytest.fixture(scope="module")
def outcomes(engine: Engine) -> dict[str, dict[str, table.Outcome]]:
    return table.rounds(engine)


@pytest.mark.parametrize("form", table.FORMS)
def test_no_attempt_passes(form: str, outcomes: dict[str, dict[str, table.Outcome]]) -> None:
    passed = {name: one.note for name, one in outcomes[form].items() if one.passed and name not in OPEN}
    assert passed == {}


def test_there_are_as_many_attempts_as_we_say() -> None:
    assert len(CALLS) + len(SCRIPTS) >= 330
