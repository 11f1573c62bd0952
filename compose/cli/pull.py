"""``pycompose pull``: fetch the images of services."""

from typing import TYPE_CHECKING, Annotated

from compose.cli import report
from compose.cli.options import Option, Services
from compose.cli.scope import Scope

if TYPE_CHECKING:
    from compose.model.service import Service


def run(
    scope: Scope,
    services: Services = (),
    *,
    ignore_buildable: Annotated[
        bool, Option("--ignore-buildable", help="Ignore images that can be built")
    ] = False,
    ignore_pull_failures: Annotated[
        bool, Option("--ignore-pull-failures", help="Pull what can be pulled, go on after failures")
    ] = False,
    include_deps: Annotated[
        bool, Option("--include-deps", help="Also pull services declared as dependencies")
    ] = False,
    policy: Annotated[
        str, Option("--policy", metavar="POLICY", help="Apply pull policy", choices=("missing", "always"))
    ] = "",
    quiet: Annotated[bool, Option("-q", "--quiet", help="Pull without printing progress")] = False,
) -> int:
    """Pull service images"""
    project = scope.project(services)
    wanted = services or tuple(project.services)
    if services and include_deps:
        wanted = tuple(scope.loaded().order.dependencies(services))
    chosen = [s for s in project.services.values() if s.name in wanted and s.image]
    chosen = [
        s for s in chosen if not (s.build is not None and ignore_buildable) and s.pull_policy != "build"
    ]
    if scope.dry_run:
        for name in dict.fromkeys(s.image for s in chosen):
            report.say(f"DRY-RUN MODE -  Image {name}  Pulled")
        return 0
    scope.require_rights()
    return _pull(scope, chosen, policy, ignore=ignore_pull_failures, quiet=quiet)


def _pull(scope: Scope, chosen: "list[Service]", policy: str, *, ignore: bool, quiet: bool) -> int:
    from compose.cli import images_for
    from compose.engine.images import pull_all
    from runtime.errors import RuntimeFailure
    from runtime.image.store import Store

    scope.places.secure()
    store = Store(scope.places.images)
    names = []
    for service in chosen:
        kept = policy == "missing" or (
            service.pull_policy in ("missing", "if_not_present") and policy != "always"
        )
        if service.pull_policy != "never" and not (kept and store.find(service.image)):
            names.append(service.image)
    flags = images_for.options(scope, pull="always")
    with images_for.events(scope, quiet=quiet) as listener:
        if not ignore:
            pull_all(scope.places, store, list(dict.fromkeys(names)), flags, listener)
            return 0
        for name in dict.fromkeys(names):
            try:
                pull_all(scope.places, store, [name], flags, listener)
            except RuntimeFailure as failure:
                report.warn(f"{name}: {failure.message}", hint=failure.hint)
    return 0
