"""``pycompose build``: build the images of services that have a ``build`` section."""

import os
from typing import TYPE_CHECKING, Annotated

from compose.cli import report
from compose.cli.harmless import in_json
from compose.cli.options import Option, Services, Texts
from compose.cli.scope import Scope
from compose.errors import UsageError

if TYPE_CHECKING:
    from compose.engine.builds import BuildFlags
    from compose.model.project import Project
    from compose.model.service import Service

PROGRESS = ("auto", "tty", "plain", "json", "quiet", "rawjson")
BuildArg = Annotated[
    Texts, Option("--build-arg", metavar="NAME[=VALUE]", help="Set build-time variables for services")
]
Builder = Annotated[str, Option("--builder", metavar="NAME", help="Accepted; pycompose builds by itself")]
Check = Annotated[bool, Option("--check", help="Check build configuration")]
Memory = Annotated[
    str, Option("-m", "--memory", metavar="BYTES", help="Set memory limit for each RUN of the build")
]
NoCache = Annotated[bool, Option("--no-cache", help="Do not use cache when building the image")]
Print = Annotated[bool, Option("--print", help="Print equivalent bake file")]
ProgressMode = Annotated[
    str,
    Option("--progress", metavar="TYPE", help="Set type of ui output", hidden=True, choices=PROGRESS),
]
Provenance = Annotated[str, Option("--provenance", metavar="BOOL", help="Accepted; no attestation is made")]
Pull = Annotated[bool, Option("--pull", help="Always attempt to pull a newer version of the image")]
Push = Annotated[bool, Option("--push", help="Push service images")]
Quiet = Annotated[bool, Option("-q", "--quiet", help="Suppress the build output")]
Sbom = Annotated[str, Option("--sbom", metavar="BOOL", help="Accepted; no attestation is made")]
Ssh = Annotated[
    Texts,
    Option(
        "--ssh", metavar="ID[=PATH]", help="Set SSH agents or keys for the build ('default' for your agent)"
    ),
]
WithDependencies = Annotated[
    bool, Option("--with-dependencies", help="Also build dependencies (transitively)")
]
Old = Annotated[bool, Option("--compress", help="Accepted, without effect", hidden=True)]
OldForceRm = Annotated[bool, Option("--force-rm", help="Accepted, without effect", hidden=True)]
OldNoRm = Annotated[bool, Option("--no-rm", help="Accepted, without effect", hidden=True)]
OldParallel = Annotated[bool, Option("--parallel", help="Accepted, without effect", hidden=True)]


def run(
    scope: Scope,
    services: Services = (),
    *,
    build_arg: BuildArg = (),
    builder: Builder = "",
    check: Check = False,
    compress: Old = False,
    force_rm: OldForceRm = False,
    memory: Memory = "",
    no_cache: NoCache = False,
    no_rm: OldNoRm = False,
    parallel: OldParallel = False,
    print: Print = False,
    progress: ProgressMode = "",
    provenance: Provenance = "",
    pull: Pull = False,
    push: Push = False,
    quiet: Quiet = False,
    sbom: Sbom = "",
    ssh: Ssh = (),
    with_dependencies: WithDependencies = False,
) -> int:
    """Build or rebuild services"""
    project = scope.project(services)
    chosen = _chosen(scope, project, services, with_dependencies=with_dependencies)
    if not chosen:
        report.say("No services to build")
        return 0
    if builder not in ("", "default"):
        report.warn(f"--builder {builder} is passed over: pycompose builds by itself")
    if any(_true(word) for word in (provenance, sbom)):
        report.warn("no attestations are made: --provenance and --sbom are passed over")
    if print:
        return _print(project, chosen, arguments(build_arg), ssh=ssh, no_cache=no_cache, pull=pull, push=push)
    if check:
        return _check(scope, project, chosen, arguments(build_arg))
    if scope.dry_run:
        for service in chosen:
            report.say(f"DRY-RUN MODE -  Image {service.image or f'{project.name}-{service.name}'}  Built")
        return 0
    scope.require_rights()
    if progress:
        scope.progress = {"rawjson": "json"}.get(progress, progress)
    flags = _flags(scope, build_arg, ssh, memory, no_cache=no_cache, pull=pull)
    return _build(scope, project, chosen, flags, quiet=quiet, push=push)


def _chosen(scope: Scope, project: "Project", services: Texts, *, with_dependencies: bool) -> "list[Service]":
    wanted = services or tuple(project.services)
    if services and with_dependencies:
        wanted = tuple(scope.loaded().order.dependencies(services))
    return [s for s in project.services.values() if s.name in wanted and s.build is not None]


def _flags(
    scope: Scope, build_arg: Texts, ssh: Texts, memory: str, *, no_cache: bool, pull: bool
) -> "BuildFlags":
    from compose.cli import images_for
    from compose.engine.builds import BuildFlags

    limit = scope.parallel or 0
    return BuildFlags(
        args=arguments(build_arg),
        no_cache=no_cache,
        pull=pull,
        ssh=ssh,
        memory=_bytes(memory),
        assemble=images_for.options(scope).assemble,
        parallel=max(limit, 0),
    )


def _build(
    scope: Scope, project: "Project", chosen: "list[Service]", flags: "BuildFlags", *, quiet: bool, push: bool
) -> int:
    from compose.cli import images_for
    from compose.engine.builds import build_all
    from runtime.image.store import Store

    scope.places.secure()
    store = Store(scope.places.images)
    with images_for.events(scope, quiet=quiet) as listener:
        build_all(project, scope.places, store, chosen, flags, listener)
        if push:
            from compose.engine.images import push_names
            from compose.engine.registries import push_each

            names = [name for service in chosen for name in push_names(service)]
            parallel = images_for.options(scope).parallel
            failed = list(push_each(store, names, parallel=parallel, events=listener).values())
            if failed:
                raise failed[0] if len(failed) == 1 else ExceptionGroup("several images", failed)
    return 0


def _print(
    project: "Project", chosen: "list[Service]", args: dict[str, str | None], *, ssh: Texts, no_cache: bool,
    pull: bool, push: bool,
) -> int:  # fmt: skip
    import json

    from compose.plan.building import bake

    document = bake(
        project, chosen, args=args, environment=os.environ, ssh=ssh, no_cache=no_cache, pull=pull, push=push
    )
    report.put(in_json(json.dumps(document, indent=2, ensure_ascii=False)) + "\n")
    return 0


def _check(scope: Scope, project: "Project", chosen: "list[Service]", args: dict[str, str | None]) -> int:
    """Lint each Dockerfile; 1 when there is anything to say."""
    scope.require_rights()
    from compose.engine.builds import BuildFlags, check_all
    from runtime.image.store import Store

    scope.places.secure()
    code = 0
    for name, text, clean in check_all(
        project, scope.places, Store(scope.places.images), chosen, BuildFlags(args=args)
    ):
        report.put(f"{name}\n\n{text}\n")
        code = code if clean else 1
    return code


def _true(word: str) -> bool:
    return bool(word) and word.lower() not in ("false", "0", "disabled=true")


def _bytes(text: str) -> int | None:
    """``512m`` as bytes, None for nothing. Raises UsageError."""
    if not text:
        return None
    from runtime.build.mounts import size_of
    from runtime.errors import BuildFailed

    try:
        return size_of(text)
    except BuildFailed as error:
        raise UsageError(f"invalid --memory: {error.message}") from None


def arguments(given: Texts) -> dict[str, str | None]:
    """``NAME=VALUE`` texts as a table; a name alone takes the caller's value, None when there is none."""
    table: dict[str, str | None] = {}
    for text in given:
        name, equals, value = text.partition("=")
        table[name] = value if equals else os.environ.get(name)
    return table
