"""``pycompose wait``: block until containers of services stop."""

from pathlib import Path
from typing import Annotated

from compose.cli.options import Argument, Option, Texts
from compose.cli.scope import Scope
from compose.errors import UsageError


def run(
    scope: Scope,
    services: Annotated[Texts, Argument("SERVICE [SERVICE...]", at_least=1, complete="services")],
    *,
    down_project: Annotated[
        bool, Option("--down-project", help="Take the project down when the first container stops")
    ] = False,
) -> int:
    """Block until containers of all (or specified) services stop"""
    from compose.cli.lifecycle import chosen
    from compose.engine.follow import Follower

    name = scope.identity().name
    ids = [c.spec.id for c in chosen(scope, services) if c.running or c.status == "restarting"]
    if not ids:
        raise UsageError(f'no containers for project "{name}"')
    code = 0
    run_directory = scope.places.project_run(name)
    with Follower(scope.places.project_data(name) / "logs", wanted=lambda log: False) as follower:
        for id in ids:
            follower.watch(Path(run_directory, "containers", id))
        while ids:
            now = {c.spec.id: c for c in chosen(scope, services)}
            for id in [
                i for i in ids if i not in now or not (now[i].running or now[i].status == "restarting")
            ]:
                ids.remove(id)
                end = now[id].state.exit if id in now else None
                code = (end.code if end and end.code is not None else 255) if id in now else 0
                print(f"{code}", flush=True)
                if down_project:
                    from compose.cli.down import run as down

                    down(scope)
                    return code
            if ids:
                while not follower.wait():
                    pass
    return code
