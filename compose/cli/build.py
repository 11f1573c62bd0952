"""``pycompose build``: build the images of services that have a ``build`` section."""

import os
from typing import Annotated

from compose.cli import report
from compose.cli.options import Option, Services, Texts
from compose.cli.scope import Scope


def run(
    scope: Scope,
    services: Services = (),
    *,
    build_arg: Annotated[
        Texts, Option("--build-arg", metavar="NAME[=VALUE]", help="Set build-time variables for services")
    ] = (),
    no_cache: Annotated[bool, Option("--no-cache", help="Do not use cache when building the image")] = False,
    pull: Annotated[
        bool, Option("--pull", help="Always attempt to pull a newer version of the image")
    ] = False,
    quiet: Annotated[bool, Option("-q", "--quiet", help="Suppress the build output")] = False,
    with_dependencies: Annotated[bool, Option("--with-dependencies", help="Also build dependencies")] = False,
) -> int:
    """Build or rebuild services"""
    project = scope.project(services)
    wanted = services or tuple(project.services)
    if services and with_dependencies:
        wanted = tuple(scope.loaded().order.dependencies(services))
    chosen = [s for s in project.services.values() if s.name in wanted and s.build is not None]
    if not chosen:
        report.say("No services to build")
        return 0
    if scope.dry_run:
        for service in chosen:
            report.say(f"DRY-RUN MODE -  Image {service.image or f'{project.name}-{service.name}'}  Built")
        return 0
    scope.require_rights()
    from compose.cli import images_for
    from compose.engine.images import BuildFlags, build_all
    from runtime.image.store import Store

    flags = BuildFlags(args=arguments(build_arg), no_cache=no_cache, pull=pull)
    scope.places.secure()
    store = Store(scope.places.images)
    with images_for.events(scope, quiet=quiet) as listener:
        build_all(project, scope.places, store, chosen, flags, listener)
    return 0


def arguments(given: Texts) -> dict[str, str | None]:
    """``NAME=VALUE`` texts as a table; a name alone takes the caller's value, None when there is none."""
    table: dict[str, str | None] = {}
    for text in given:
        name, equals, value = text.partition("=")
        table[name] = value if equals else os.environ.get(name)
    return table
