"""``pycompose restart``: stop and start containers that exist."""

from typing import Annotated

from compose.cli.lifecycle import ask, chosen, names
from compose.cli.options import Option, Services, Timeout
from compose.cli.scope import Scope
from compose.cli.stored import project_or_records


def run(
    scope: Scope,
    services: Services = (),
    *,
    no_deps: Annotated[bool, Option("--no-deps", help="Don't restart dependent services")] = False,
    timeout: Timeout = None,
) -> int:
    """Restart service containers"""
    from compose.cli.remote import model

    loaded, _ = project_or_records(scope, services)
    there = chosen(scope, services)
    if scope.dry_run:
        from compose.cli import plans
        from compose.plan import teardown

        project = loaded.project
        found = plans.observed(scope, project.name, services)
        return plans.show(teardown.restart(project, loaded.order.nodes, found, timeout))
    if there:
        told = {"services": names(there), "timeout": timeout, "no_deps": no_deps}
        ask(scope, "restart", {**model(loaded), **told})
    return 0
