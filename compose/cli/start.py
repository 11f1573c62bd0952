"""``pycompose start``: start containers that exist, dependencies first."""

from typing import Annotated

from compose.cli.lifecycle import ask, chosen
from compose.cli.options import Option, Services
from compose.cli.scope import Scope
from compose.cli.stored import project_or_records
from compose.errors import UsageError


def run(
    scope: Scope,
    services: Services = (),
    *,
    wait: Annotated[bool, Option("--wait", help="Wait until all is running or healthy")] = False,
    wait_timeout: Annotated[
        int | None, Option("--wait-timeout", metavar="INT", help="Seconds to wait for that")
    ] = None,
) -> int:
    """Start services"""
    from compose.cli.remote import model

    loaded, from_file = project_or_records(scope, services)
    if not from_file and not loaded.project.services:
        raise UsageError(f'no container found for project "{loaded.project.name}"')
    services = tuple(dict.fromkeys((*services, *sorted(loaded.order.dependencies(services)))))
    there = chosen(scope, services)
    if scope.dry_run:
        from compose.cli import plans
        from compose.plan import teardown

        order = loaded.order.nodes
        return plans.show(
            teardown.start(loaded.project, order, plans.observed(scope, loaded.project.name, services))
        )
    if wait or any(not c.running or c.status == "paused" for c in there):
        ask(
            scope,
            "start",
            {**model(loaded), "services": list(services), "wait": wait, "wait_timeout": wait_timeout},
        )
    have = {c.service for c in there}
    for name in services or loaded.project.services:
        if name not in have:
            raise UsageError(
                f'service "{name}" has no container to start', hint=f"make one: pycompose up -d {name}"
            )
    return 0
