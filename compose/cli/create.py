"""``pycompose create``: make the containers, start none."""

from compose.cli.options import RemoveOrphans, Services
from compose.cli.scope import Scope
from compose.cli.up import Build, Force, Keep, NoBuild, Pull, QuietPull, Scale, Yes
from compose.cli.up import run as up


def run(
    scope: Scope,
    services: Services = (),
    *,
    build: Build = False,
    force_recreate: Force = False,
    no_build: NoBuild = False,
    no_recreate: Keep = False,
    pull: Pull = "policy",
    quiet_pull: QuietPull = False,
    remove_orphans: RemoveOrphans = False,
    scale: Scale = (),
    yes: Yes = False,
) -> int:
    """Create containers for a service"""
    return up(
        scope,
        services,
        build=build,
        force_recreate=force_recreate,
        no_build=no_build,
        no_recreate=no_recreate,
        no_start=True,
        pull=pull,
        quiet_pull=quiet_pull,
        remove_orphans=remove_orphans,
        scale=scale,
        yes=yes,
    )
