"""``pycompose pull``: fetch the images of services."""

import os
from typing import TYPE_CHECKING, Annotated

from compose.cli import report
from compose.cli.options import Option, Services
from compose.cli.scope import Scope

if TYPE_CHECKING:
    from compose.cli.progress import Display
    from compose.engine.registries import Wanted
    from compose.model.project import Project
    from compose.model.service import Service
    from runtime.image.store import Store

Quiet = Annotated[bool, Option("-q", "--quiet", help="Pull without printing progress information")]
NoParallel = Annotated[bool, Option("--no-parallel", help="DEPRECATED disable parallel pulling", hidden=True)]


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
    no_parallel: NoParallel = False,
    parallel: Annotated[bool, Option("--parallel", help="Obsolete, no effect", hidden=True)] = False,
    policy: Annotated[
        str, Option("--policy", metavar="POLICY", help="Apply pull policy", choices=("missing", "always"))
    ] = "",
    quiet: Quiet = False,
) -> int:
    """Pull service images"""
    if no_parallel:
        report.warn("--no-parallel is deprecated and will be ignored")
    project = scope.project(services)
    chosen = selected(scope, project, services, include_deps=include_deps)
    from compose.cli.progress import display

    shown = display(scope.progress, dry_run=scope.dry_run, quiet=quiet)
    try:
        store = images_here(scope)
        names = _to_pull(chosen, store, shown, policy, ignore_buildable=ignore_buildable)
        if scope.dry_run or store is None:
            for item in names.values():
                shown.change(f"Image {item.name}", "Pulled")
            return 0
        return _pull(scope, project, names, store, shown, ignore=ignore_pull_failures)
    finally:
        shown.close()


def images_here(scope: Scope) -> "Store | None":
    """The store; in a dry run, which needs no rights and makes nothing, perhaps none."""
    from runtime.image.store import Store

    if scope.dry_run:
        there = os.access(scope.places.images / "index.db", os.W_OK)
        return Store(scope.places.images) if there else None
    scope.require_rights()
    scope.places.secure()
    return Store(scope.places.images)


def selected(
    scope: Scope, project: "Project", services: tuple[str, ...], *, include_deps: bool
) -> "list[Service]":
    """The named services, or all; with what they depend on where asked for."""
    wanted = services or tuple(project.services)
    if services and include_deps:
        wanted = tuple(scope.loaded().order.dependencies(services))
    return [service for service in project.services.values() if service.name in wanted]


def _to_pull(
    chosen: "list[Service]", store: "Store | None", shown: "Display", flag: str, *, ignore_buildable: bool
) -> "dict[str, Wanted]":
    """What to pull, by service; an image of several services once. What is left alone is shown."""
    from compose.engine import policy
    from compose.engine.registries import Wanted

    found: dict[str, Wanted] = {}
    for service in chosen:
        item = Wanted(service.image, service.platform)
        here = store is not None and bool(service.image) and _has(store, item)
        counted = policy.effective(service, flag)
        why = policy.skipped(service, counted, here=here, ignore_buildable=ignore_buildable)
        if why:
            name = f"Image {service.image}" if service.image else f"Service {service.name}"
            shown.change(name, "Skipped", why)
        elif item not in found.values():
            found[service.name] = item
    return found


def _has(store: "Store", item: "Wanted") -> bool:
    from compose.engine.images import local

    return local(store, *item) is not None


def _pull(
    scope: Scope,
    project: "Project",
    names: "dict[str, Wanted]",
    store: "Store",
    shown: "Display",
    *,
    ignore: bool,
) -> int:
    from compose.cli import images_for
    from compose.cli.progress import images
    from compose.engine.images import buildable
    from compose.engine.registries import pull_each

    flags = images_for.options(scope)
    can_be_built = buildable(project)
    outcome = pull_each(
        store,
        list(names.values()),
        optional=can_be_built,
        assemble=flags.assemble,
        parallel=flags.parallel,
        events=images(shown),
    )
    shown.close()
    to_build = [name for name, item in names.items() if item in outcome.failed and item.name in can_be_built]
    if to_build:
        report.warn(
            "some service images must be built from source",
            hint=f"run 'pycompose build {' '.join(to_build)}'",
        )
    if ignore:
        for failure in outcome.failed.values():
            report.warn(failure.message, hint=failure.hint)
        return 0
    outcome.check()
    return 0
