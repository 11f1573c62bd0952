"""``pycompose push``: send the images that services build to their registries."""

from typing import Annotated

from compose.cli import report
from compose.cli.options import Option, Services
from compose.cli.pull import selected
from compose.cli.scope import Scope


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
    from compose.cli.progress import display, images
    from compose.engine.images import push_names

    shown = display(scope.progress, dry_run=scope.dry_run, quiet=quiet)
    names: list[str] = []
    for service in chosen:
        found = push_names(service)
        names += found
        if not found:
            shown.change(f"Service {service.name}", "Skipped", "it has not both 'image' and 'build'")
    if scope.dry_run:
        for name in dict.fromkeys(names):
            shown.change(f"Image {name}", "Pushed")
        shown.close()
        return 0
    from compose.cli import images_for
    from compose.engine.registries import push_each
    from runtime.image.store import Store

    scope.places.secure()
    try:
        failed = push_each(
            Store(scope.places.images),
            names,
            parallel=images_for.options(scope).parallel,
            events=images(shown),
        )
    finally:
        shown.close()
    if not ignore_push_failures and failed:
        errors = list(failed.values())
        raise errors[0] if len(errors) == 1 else ExceptionGroup("several images", errors)
    for failure in failed.values():
        report.warn(failure.message, hint=failure.hint)
    return 0
