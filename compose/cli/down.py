"""``pycompose down``: stop and remove the project's containers and networks."""

import os
from typing import Annotated, Any

from compose.cli import report
from compose.cli.options import Option, RemoveOrphans, Services, Timeout
from compose.cli.scope import Scope, unknown_service
from compose.cli.stored import project_or_records


def run(
    scope: Scope,
    services: Services = (),
    *,
    remove_orphans: RemoveOrphans = False,
    rmi: Annotated[
        str, Option("--rmi", metavar="WHICH", help="Remove images used by services", choices=("local", "all"))
    ] = "",
    timeout: Timeout = None,
    volumes: Annotated[
        bool, Option("-v", "--volumes", help="Remove named volumes of the file and anonymous volumes")
    ] = False,
) -> int:
    """Stop and remove containers, networks"""
    loaded, from_file = project_or_records(scope)
    canonical = dict(loaded.canonical)
    for name in services:
        if name not in canonical["services"]:
            raise unknown_service(name, canonical["services"])
    orphans = remove_orphans or os.environ.get("COMPOSE_REMOVE_ORPHANS", "").lower() in ("1", "true")
    told: dict[str, Any] = {
        "services": services,
        "volumes": volumes,
        # without a file nothing says which services belong: everything of the project goes
        "remove_orphans": orphans or not from_file,
        "timeout": timeout,
    }
    name = canonical["name"]
    if scope.dry_run:
        return _plan(scope, canonical, told)
    scope.require_rights()
    if _something(scope, name, volumes=volumes):
        from compose.cli.remote import perform

        ignore = os.environ.get("COMPOSE_IGNORE_ORPHANS", "").lower() in ("1", "true")
        perform(scope, name, "down", {"project": canonical, "options": told, "ignore_orphans": ignore})
    else:
        report.warn(f'No resource found to remove for project "{name}"')
    if rmi:
        from compose.cli.removal import remove_images

        remove_images(scope, canonical, services, local_only=rmi == "local")
    if not services:
        from compose.load import cache

        cache.forget(os.environ, name)
    return 0


def _something(scope: Scope, project: str, *, volumes: bool) -> bool:
    """Whether there is anything to take down; starting a supervisor for nothing takes half a second."""
    from compose.engine.observe import observe
    from compose.plan.observed import PROJECT

    seen = observe(scope.places, project)
    things = [*seen.networks.values(), *(seen.volumes.values() if volumes else ())]
    records = scope.places.project_data(project)
    return (
        bool(seen.containers) or any(labels.get(PROJECT) == project for labels in things) or records.exists()
    )


def _plan(scope: Scope, canonical: dict[str, Any], told: dict[str, Any]) -> int:
    from compose.cli import plans
    from compose.engine.observe import observe
    from compose.load.bind import bind
    from compose.plan import teardown
    from runtime.spec import from_json

    options = from_json(teardown.DownOptions, told)
    return plans.show(teardown.down(bind(canonical), observe(scope.places, canonical["name"]), options))
