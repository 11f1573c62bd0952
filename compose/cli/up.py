"""``pycompose up``: create what is missing, replace what changed, start it, and show its output."""

import os
from typing import TYPE_CHECKING, Annotated, Any

from compose.cli.options import Option, RemoveOrphans, Services, Texts, Timeout
from compose.cli.scope import Scope, unknown_service
from compose.errors import UsageError

if TYPE_CHECKING:
    from compose.load.project import Loaded

PULL = ("always", "missing", "never", "build", "policy")
Scale = Annotated[Texts, Option("--scale", metavar="SERVICE=NUM", help="Scale SERVICE to NUM instances")]
Build = Annotated[bool, Option("--build", help="Build images before starting containers")]
NoBuild = Annotated[bool, Option("--no-build", help="Don't build an image, even if it's policy")]
Pull = Annotated[str, Option("--pull", metavar="POLICY", help="Pull image before running", choices=PULL)]
QuietPull = Annotated[bool, Option("--quiet-pull", help="Pull without printing progress information")]
Yes = Annotated[bool, Option("-y", "--yes", help="Assume yes to every question; there is none")]
Force = Annotated[bool, Option("--force-recreate", help="Recreate containers even if nothing changed")]
Keep = Annotated[bool, Option("--no-recreate", help="If containers already exist, don't recreate them")]


def run(
    scope: Scope,
    services: Services = (),
    *,
    abort_on_container_exit: Annotated[
        bool, Option("--abort-on-container-exit", help="Stop all containers if any container was stopped")
    ] = False,
    abort_on_container_failure: Annotated[
        bool, Option("--abort-on-container-failure", help="Stop all containers if any container failed")
    ] = False,
    always_recreate_deps: Annotated[
        bool, Option("--always-recreate-deps", help="Recreate dependent containers")
    ] = False,
    attach: Annotated[
        Texts, Option("--attach", metavar="SERVICE", help="Attach to these services only")
    ] = (),
    attach_dependencies: Annotated[
        bool, Option("--attach-dependencies", help="Attach to dependencies as well")
    ] = False,
    build: Build = False,
    detach: Annotated[bool, Option("-d", "--detach", help="Run containers in the background")] = False,
    exit_code_from: Annotated[
        str,
        Option(
            "--exit-code-from", metavar="SERVICE", help="Return the exit code of this service's container"
        ),
    ] = "",
    force_recreate: Force = False,
    no_attach: Annotated[Texts, Option("--no-attach", metavar="SERVICE", help="Do not attach to these")] = (),
    no_build: NoBuild = False,
    no_color: Annotated[bool, Option("--no-color", help="Produce monochrome output")] = False,
    no_deps: Annotated[bool, Option("--no-deps", help="Don't start linked services")] = False,
    no_log_prefix: Annotated[bool, Option("--no-log-prefix", help="Don't print prefix in logs")] = False,
    no_recreate: Keep = False,
    no_start: Annotated[
        bool, Option("--no-start", help="Don't start the services after creating them")
    ] = False,
    pull: Pull = "policy",
    quiet_build: Annotated[bool, Option("--quiet-build", help="Suppress the build output")] = False,
    quiet_pull: QuietPull = False,
    remove_orphans: RemoveOrphans = False,
    renew_anon_volumes: Annotated[
        bool, Option("-V", "--renew-anon-volumes", help="Recreate anonymous volumes, empty")
    ] = False,
    scale: Scale = (),
    timeout: Timeout = None,
    timestamps: Annotated[bool, Option("--timestamps", help="Show timestamps")] = False,
    wait: Annotated[bool, Option("--wait", help="Wait until all is running or healthy. Implies -d")] = False,
    wait_timeout: Annotated[
        int | None, Option("--wait-timeout", metavar="INT", help="Seconds to wait for that")
    ] = None,
    yes: Yes = False,
) -> int:
    """Create and start containers"""
    aborting = abort_on_container_exit or abort_on_container_failure or bool(exit_code_from)
    _refuse(force_recreate and no_recreate, "--force-recreate and --no-recreate are incompatible")
    _refuse(always_recreate_deps and no_recreate, "--always-recreate-deps and --no-recreate are incompatible")
    _refuse(build and no_build, "--build and --no-build are incompatible")
    _refuse(bool(attach) and attach_dependencies, "--attach and --attach-dependencies are incompatible")
    attaching = aborting or bool(attach) or attach_dependencies
    _refuse(detach and attaching, "--detach cannot be combined with --abort-on-container-exit, "
            "--abort-on-container-failure, --exit-code-from, --attach or --attach-dependencies")  # fmt: skip
    _refuse(wait and attaching, "--wait cannot be combined with --abort-on-container-exit or --attach")
    _refuse(
        no_start and (detach or wait or attaching),
        "--no-start starts nothing that one could attach to or wait for",
    )
    replicas = numbers(scale)
    _begin(scope)
    loaded = scope.loaded(services)
    for name in (*services, *replicas, *attach, *no_attach, *((exit_code_from,) if exit_code_from else ())):
        if name not in loaded.project.services:
            raise unknown_service(name, loaded.project.services)
    told = {
        "named": services,
        "force_recreate": force_recreate,
        "no_recreate": no_recreate,
        "always_recreate_deps": always_recreate_deps,
        "no_deps": no_deps,
        "remove_orphans": remove_orphans or _truth("COMPOSE_REMOVE_ORPHANS"),
        "renew_anonymous": renew_anon_volumes,
        "no_start": no_start,
        "timeout": timeout,
        "scale": replicas,
    }
    arguments = ask(scope, loaded, services, told, build=build, no_build=no_build, pull=pull,
                    quiet=quiet_pull or quiet_build)  # fmt: skip
    if arguments is None:
        return 0
    arguments |= {"wait": wait, "wait_timeout": wait_timeout}
    if detach or wait or no_start:
        return in_background(scope, loaded, arguments)
    from compose.cli.attach import Wish, attached

    shown = attach or (arguments["order"] if attach_dependencies or not services else services)
    wish = Wish(
        services=[
            n for n in shown if (n in attach or loaded.project.services[n].attach) and n not in no_attach
        ],
        replicas=replicas,
        prefix=not no_log_prefix,
        colour=not no_color,
        times=timestamps,
        timeout=timeout,
        abort="any" if aborting and not abort_on_container_failure else "failure" if aborting else "",
        code_from=exit_code_from,
    )
    return attached(scope, loaded, arguments, wish)


def _refuse(wrong: bool, message: str) -> None:
    if wrong:
        raise UsageError(message)


def _truth(variable: str) -> bool:
    return os.environ.get(variable, "").lower() in ("1", "true", "t")


def numbers(scale: Texts) -> dict[str, int]:
    """``SERVICE=NUM`` texts as a table. Raises UsageError."""
    found = {}
    for text in scale:
        name, equals, count = text.partition("=")
        if not equals or not name:
            raise UsageError(f"invalid --scale option '{text}'", hint="write SERVICE=NUM, such as web=3")
        if not count.isdigit():
            raise UsageError(f"invalid number '{count}' in --scale {text}", hint="a whole number, 0 or more")
        found[name] = int(count)
    return found


def _begin(scope: Scope) -> None:
    """Let a supervisor warm up while the file is read; it goes away again when one is there already."""
    if scope.dry_run:
        return
    scope.require_rights()
    from compose.supervisor import client

    client.prestart()


def ask(
    scope: Scope,
    loaded: "Loaded",
    services: Texts,
    told: dict[str, Any],
    *,
    build: bool = False,
    no_build: bool = False,
    pull: str = "",
    quiet: bool = False,
) -> dict[str, Any] | None:
    """The arguments of ``up`` for the supervisor, images ready; None after a dry run has printed its plan."""
    from compose.cli.remote import model

    arguments = model(loaded, services, dependencies=not told["no_deps"])
    if scope.dry_run:
        from compose.cli import plans
        from compose.engine.observe import observe
        from compose.plan.reconcile import UpOptions, reconcile
        from runtime.spec import from_json

        project = loaded.project
        plan = reconcile(
            project, arguments["order"], observe(scope.places, project.name), from_json(UpOptions, told)
        )
        plans.show(plan)
        return None
    from compose.cli import images_for

    flags = images_for.options(scope, build=build, no_build=no_build, pull=pull)
    arguments["images"] = images_for.facts(scope, loaded.project, arguments["order"], flags, quiet=quiet)
    arguments["options"] = told
    arguments["ignore_orphans"] = _truth("COMPOSE_IGNORE_ORPHANS")
    arguments["parallel"] = max(scope.parallel or 0, 0)
    return arguments


def in_background(scope: Scope, loaded: "Loaded", arguments: dict[str, Any]) -> int:
    """Bring it up and return; one line when there was nothing to do."""
    from compose.cli import report
    from compose.cli.progress import Unless, display
    from compose.cli.remote import perform

    shown = Unless("Running", display(scope.progress))
    result = perform(scope, loaded.project.name, "up", arguments, shown=shown)
    if not result.get("changed"):
        count = len(result.get("kept", ()))
        things = "1 container" if count == 1 else f"{count} containers"
        if scope.progress != "quiet":
            report.say(f"{loaded.project.name} is up to date: {things} running, nothing to do")
    return 0
