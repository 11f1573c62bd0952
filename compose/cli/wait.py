"""``pycompose wait``: block until containers of services stop."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from compose.cli import report
from compose.cli.options import Argument, Option, Texts
from compose.cli.scope import Scope
from compose.errors import UsageError

if TYPE_CHECKING:
    from compose.cli.containers import Container

RECORD_SECONDS = 3.0


def run(
    scope: Scope,
    services: Annotated[Texts, Argument("SERVICE [SERVICE...]", at_least=1, complete="services")],
    *,
    down_project: Annotated[
        bool, Option("--down-project", help="Take the project down when the first container stops")
    ] = False,
) -> int:
    """Block until containers of all (or specified) services stop"""
    from compose.cli.down import run as down
    from compose.cli.lifecycle import chosen
    from compose.engine.follow import Follower

    name = scope.identity().name
    ids = [c.spec.id for c in chosen(scope, services) if c.status != "created"]
    if not ids:
        raise UsageError(f'no containers for project "{name}"')
    code = 0
    unrecorded: dict[str, float] = {}
    run_directory = scope.places.project_run(name)
    with Follower(scope.places.project_data(name) / "logs", wanted=lambda log: False) as follower:
        for id in ids:
            follower.watch(Path(run_directory, "containers", id))
        while ids:
            now = {c.spec.id: c for c in chosen(scope, services)}
            for id in [i for i in ids if i not in now or ended(now[i], unrecorded)]:
                ids.remove(id)
                code = told(id, now.get(id))
                if down_project:
                    return down(scope) or code
            # an exit record may follow the end of its process: look again after a second at the latest then
            if ids:
                soon = bool(unrecorded) or any(c.undecided for c in now.values())
                follower.wait(timeout=1.0 if soon else None)
    return code


def ended(container: "Container", unrecorded: dict[str, float]) -> bool:
    """Whether it has ended and how is known; its record may follow the end of the process by a moment.

    unrecorded: until when (monotonic) to wait for the records that are missing, by id; kept up to date.
    """
    if container.status != "exited" or container.state.exit is not None:
        unrecorded.pop(container.spec.id, None)
        return container.status == "exited"
    return time.monotonic() > unrecorded.setdefault(container.spec.id, time.monotonic() + RECORD_SECONDS)


def told(id: str, container: "Container | None") -> int:
    """Print how a container ended and give its exit code; 0 for one that was removed, 255 for unknown."""
    end = container.state.exit if container else None
    code = 0 if container is None else 255 if end is None or end.code is None else end.code
    report.tell(f'container "{id}" exited with status code {code}')
    return code
