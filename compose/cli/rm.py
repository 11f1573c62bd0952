"""``pycompose rm``: remove stopped containers."""

from typing import Annotated

from compose.cli import report
from compose.cli.lifecycle import ask, chosen, names
from compose.cli.options import Option, Services
from compose.cli.scope import Scope


def run(
    scope: Scope,
    services: Services = (),
    *,
    all: Annotated[bool, Option("-a", "--all", help="Obsolete, no effect", hidden=True)] = False,
    force: Annotated[bool, Option("-f", "--force", help="Don't ask to confirm removal")] = False,
    stop: Annotated[bool, Option("-s", "--stop", help="Stop the containers, if required")] = False,
    volumes: Annotated[
        bool, Option("-v", "--volumes", help="Remove anonymous volumes attached to containers")
    ] = False,
) -> int:
    """Remove stopped service containers"""
    going = [c for c in chosen(scope, services) if stop or not c.running]
    doomed = [c.name for c in going]
    if scope.dry_run:
        from compose.cli import plans

        return plans.would("Removed", doomed)
    if not doomed:
        report.say("No stopped containers")
        return 0
    report.say(f"Going to remove {', '.join(doomed)}")
    if force or report.ask("Are you sure?"):
        ask(scope, "rm", {"services": names(going), "stop": stop, "volumes": volumes})
    return 0
