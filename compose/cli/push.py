"""``pycompose push``: send the images that services build to their registries."""

from typing import TYPE_CHECKING, Annotated

from compose.cli import report
from compose.cli.options import Option, Services
from compose.cli.pull import selected
from compose.cli.scope import Scope

if TYPE_CHECKING:
    from compose.cli.progress import Display
    from runtime.errors import RuntimeFailure


def run(
    scope: Scope,
    services: Services = (),
    *,
    ignore_push_failures: Annotated[
        bool, Option("--ignore-push-failures", help="Push what can be pushed, go on after failures")
    ] = False,
    include_deps: Annotated[
        bool, Option("--include-deps", help="Also push images of services declared as dependencies")
    ] = False,
    quiet: Annotated[
        bool, Option("-q", "--quiet", help="Push without printing progress information")
    ] = False,
) -> int:
    """Push service images"""
    project = scope.project(services)
    chosen = selected(scope, project, services, include_deps=include_deps)
    if not scope.dry_run:
        scope.require_rights()
    from compose.cli.progress import display
    from compose.engine.images import push_names

    shown = display(scope.progress, dry_run=scope.dry_run, quiet=quiet)
    try:
        names: list[str] = []
        for service in chosen:
            found = push_names(service)
            names += found
            if not found:
                shown.change(f"Service {service.name}", "Skipped", "it has not both 'image' and 'build'")
        failed = _push(scope, list(dict.fromkeys(names)), shown)
    finally:
        shown.close()
    if not ignore_push_failures and failed:
        raise failed[0] if len(failed) == 1 else ExceptionGroup("several images", failed)
    for failure in failed:
        report.warn(failure.message, hint=failure.hint)
    return 0


def _push(scope: Scope, names: list[str], shown: "Display") -> "list[RuntimeFailure]":
    """Push ``names``, or only tell in a dry run; gives what failed."""
    if scope.dry_run:
        for name in names:
            shown.change(f"Image {name}", "Pushed")
        return []
    from compose.cli import images_for
    from compose.cli.progress import images
    from compose.engine.registries import push_each
    from runtime.image.store import Store

    scope.places.secure()
    store, parallel = Store(scope.places.images), images_for.options(scope).parallel
    return list(push_each(store, names, parallel=parallel, events=images(shown)).values())
