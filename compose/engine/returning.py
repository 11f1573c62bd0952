"""Services that a plan under way stops and starts again, said on disk: who follows them stays.

Comes in:  a Plan that is about to be executed.
Goes out:  RUN/<project>/returning.json while it is; the names in it for attached commands.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from compose.plan.steps import Kind, Plan
from runtime.state import write_json

FILE = "returning.json"


def of(plan: Plan) -> frozenset[str]:
    """Services with a container that ``plan`` stops and one that it starts. Pure."""
    stopped = {s.service for s in plan.steps if s.kind in (Kind.STOP, Kind.REMOVE)}
    return frozenset(stopped & {s.service for s in plan.steps if s.kind is Kind.START})


@contextmanager
def announced(run: Path, plan: Plan) -> Iterator[None]:
    """Say so for as long as the block lasts. run: RUN/<project>."""
    names = of(plan)
    if not names:
        yield
        return
    write_json(run / FILE, {"services": sorted(names)})
    try:
        yield
    finally:
        forget(run)


def forget(run: Path) -> None:
    """Nothing returns (any more); a supervisor that takes over knows of no plan."""
    (run / FILE).unlink(missing_ok=True)


def services(run: Path) -> frozenset[str]:
    """Names of services that are about to come back."""
    try:
        return frozenset(json.loads((run / FILE).read_bytes())["services"])
    except (OSError, ValueError, KeyError, TypeError):
        return frozenset()
