"""``pycompose up``: create what is missing, replace what changed, start it, and show its output."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

from compose.cli.options import Option, RemoveOrphans, Services, Texts, Timeout
from compose.cli.scope import Scope, unknown_service
from compose.cli.settings import truth
from compose.errors import UsageError

if TYPE_CHECKING:
    from compose.load.project import Loaded

PULL = ("always", "missing", "never", "build", "if_not_present", "policy")
Scale = Annotated[Texts, Option("--scale", metavar="SERVICE=NUM", help="Scale SERVICE to NUM instances")]
Build = Annotated[bool, Option("--build", help="Build images before starting containers")]
NoBuild = Annotated[bool, Option("--no-build", help="Don't build an image, even if it's policy")]
Pull = Annotated[str, Option("--pull", metavar="POLICY", help="Pull image before running", choices=PULL)]
QuietPull = Annotated[bool, Option("--quiet-pull", help="Pull without printing progress information")]
Yes = Annotated[bool, Option("-y", "--yes", help="Assume yes to every question")]
Force = Annotated[bool, Option("--force-recreate", help="Recreate containers even if nothing changed")]
Keep = Annotated[bool, Option("--no-recreate", help="If containers already exist, don't recreate them")]
AbortOnContainerExit = Annotated[
    bool, Option("--abort-on-container-exit", help="Stop all containers if any container was stopped")
]
AbortOnContainerFailure = Annotated[
    bool, Option("--abort-on-container-failure", help="Stop all containers if any container failed")
]
AlwaysRecreateDeps = Annotated[bool, Option("--always-recreate-deps", help="Recreate dependent containers")]
Attach = Annotated[Texts, Option("--attach", metavar="SERVICE", help="Attach to these services only")]
AttachDependencies = Annotated[bool, Option("--attach-dependencies", help="Attach to dependencies as well")]
Menu = Annotated[bool, Option("--menu", help="Accepted; there is no menu of shortcuts", hidden=True)]
Detach = Annotated[bool, Option("-d", "--detach", help="Run containers in the background")]
ExitCodeFrom = Annotated[
    str,
    Option("--exit-code-from", metavar="SERVICE", help="Return the exit code of this service's container"),
]
NoAttach = Annotated[Texts, Option("--no-attach", metavar="SERVICE", help="Do not attach to these")]
NoColor = Annotated[bool, Option("--no-color", help="Produce monochrome output")]
NoDeps = Annotated[bool, Option("--no-deps", help="Don't start linked services")]
NoLogPrefix = Annotated[bool, Option("--no-log-prefix", help="Don't print prefix in logs")]
NoStart = Annotated[bool, Option("--no-start", help="Don't start the services after creating them")]
QuietBuild = Annotated[bool, Option("--quiet-build", help="Suppress the build output")]
RenewAnonVolumes = Annotated[
    bool, Option("-V", "--renew-anon-volumes", help="Recreate anonymous volumes, empty")
]
Watch = Annotated[bool, Option("-w", "--watch", help="Watch files, and refresh or rebuild what uses them")]
Timestamps = Annotated[bool, Option("--timestamps", help="Show timestamps")]
Wait = Annotated[bool, Option("--wait", help="Wait until all is running or healthy. Implies -d")]
WaitTimeout = Annotated[int | None, Option("--wait-timeout", metavar="INT", help="Seconds to wait for that")]


def run(
    scope: Scope,
    services: Services = (),
    *,
    abort_on_container_exit: AbortOnContainerExit = False,
    abort_on_container_failure: AbortOnContainerFailure = False,
    always_recreate_deps: AlwaysRecreateDeps = False,
    attach: Attach = (),
    attach_dependencies: AttachDependencies = False,
    build: Build = False,
    detach: Detach = False,
    exit_code_from: ExitCodeFrom = "",
    force_recreate: Force = False,
    menu: Menu = False,
    no_attach: NoAttach = (),
    no_build: NoBuild = False,
    no_color: NoColor = False,
    no_deps: NoDeps = False,
    no_log_prefix: NoLogPrefix = False,
    no_recreate: Keep = False,
    no_start: NoStart = False,
    pull: Pull = "policy",
    quiet_build: QuietBuild = False,
    quiet_pull: QuietPull = False,
    remove_orphans: RemoveOrphans = False,
    renew_anon_volumes: RenewAnonVolumes = False,
    scale: Scale = (),
    timeout: Timeout = None,
    timestamps: Timestamps = False,
    wait: Wait = False,
    wait_timeout: WaitTimeout = None,
    watch: Watch = False,
    yes: Yes = False,
) -> int:
    """Create and start containers"""
    refuse_together(locals())
    replicas = numbers(scale)
    mentioned = (*services, *replicas, *attach, *no_attach, *((exit_code_from,) if exit_code_from else ()))
    loaded = _begin(scope, services, mentioned)
    told = {
        "named": services, "force_recreate": force_recreate, "no_recreate": no_recreate,
        "always_recreate_deps": always_recreate_deps, "no_deps": no_deps, "no_start": no_start,
        "remove_orphans": remove_orphans or truth("COMPOSE_REMOVE_ORPHANS"),
        "renew_anonymous": renew_anon_volumes, "timeout": timeout, "scale": replicas,
    }  # fmt: skip
    mute = (*(("layer",) if quiet_pull else ()), *(("step", "output") if quiet_build else ()))
    arguments = ask(
        scope, loaded, services, told, build=build, no_build=no_build, pull=pull, mute=mute, yes=yes
    )
    if arguments is None:
        return 0
    arguments |= {"wait": wait, "wait_timeout": wait_timeout}
    if detach or wait or no_start:
        return in_background(scope, loaded, arguments)
    from compose.cli.attached import Wish, attached

    order = arguments["order"]
    shown = attach or (order if attach_dependencies or not services else services)
    known = loaded.project.services
    aborting = abort_on_container_exit or bool(exit_code_from)
    attaching = [n for n in shown if (n in attach or known[n].attach) and n not in no_attach]
    every = bool(aborting or abort_on_container_failure)
    wish = Wish(
        services=attaching or services or order,
        awaited=awaited(services, attaching, order, exit_code_from, every=every),
        stopped=frozenset(services or order), replicas=replicas, prefix=not no_log_prefix,
        colour=not no_color, times=timestamps, timeout=timeout,
        abort="any" if aborting else "failure" if abort_on_container_failure else "",
        code_from=exit_code_from,
    )  # fmt: skip
    if not watch:
        return attached(scope, loaded, arguments, wish)
    from compose.cli.watch import beside

    with beside(scope, loaded, services):
        return attached(scope, loaded, arguments, wish)


def awaited(
    named: Texts, attached: Sequence[str], order: Sequence[str], code_from: str, *, every: bool
) -> frozenset[str]:
    """The services whose end is the end of ``up``: those named, else those attached to. Pure.

    every: an end aborts, so those count as well to which nothing is attached.
    """
    chosen = named or (order if every or not attached else attached)
    return frozenset((*chosen, *((code_from,) if code_from else ())))


ABORTING = ("abort_on_container_exit", "abort_on_container_failure", "exit_code_from")
# each of the first with each of the second
INCOMPATIBLE: tuple[tuple[Texts, Texts], ...] = (
    (("no_recreate",), ("force_recreate", "always_recreate_deps", "renew_anon_volumes")),
    (("abort_on_container_exit",), ("abort_on_container_failure",)),
    (("build",), ("no_build",)),
    (("attach",), ("attach_dependencies",)),
    (("detach", "wait", "no_start"), (*ABORTING, "attach", "attach_dependencies")),
    (("no_start",), ("wait",)),
    (("watch",), ("detach", "wait", "no_start")),
)


def refuse_together(given: Mapping[str, Any]) -> None:
    """Raise UsageError when flags that exclude each other are both given. Pure."""
    for some, others in INCOMPATIBLE:
        for one in some:
            for other in others:
                if given.get(one) and given.get(other):
                    names = [f"--{name.replace('_', '-')}" for name in (one, other)]
                    raise UsageError(f"{names[0]} and {names[1]} are incompatible")


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


def unique_names(loaded: "Loaded", replicas: Mapping[str, int]) -> None:
    """Raise UsageError when a service with a name of its own is to have several containers."""
    for service, count in replicas.items():
        name = loaded.project.services[service].container_name if count > 1 else ""
        if name:
            raise UsageError(
                f'service "{service}" has the container name "{name}", which only one container can have',
                hint="remove 'container_name:' to scale the service",
            )


def _begin(scope: Scope, services: Texts, mentioned: Texts) -> "Loaded":
    """Read the file while a supervisor warms up; that one goes away again when another is there already."""
    if not scope.dry_run:
        scope.require_rights()
        from compose.supervisor import client

        client.prestart()
    loaded = scope.loaded(services)
    if not loaded.project.services:
        raise UsageError("no service selected", hint=_profiles(loaded))
    for name in mentioned:
        if name not in loaded.project.services:
            raise unknown_service(name, loaded.project.services)
    return loaded


def _profiles(loaded: "Loaded") -> str:
    names = loaded.canonical.get("x-pycompose", {}).get("all_profiles", ())
    return f"activate a profile with --profile: {', '.join(names)}" if names else "the file has no services"


def ask(
    scope: Scope,
    loaded: "Loaded",
    services: Texts,
    told: dict[str, Any],
    *,
    build: bool = False,
    no_build: bool = False,
    pull: str = "",
    mute: Texts = (),
    yes: bool = False,
) -> dict[str, Any] | None:
    """The arguments of ``up`` for the supervisor, images ready; None after a dry run has printed its plan."""
    from compose.cli.remote import model
    from compose.engine.host import here
    from compose.plan.admission import admit

    unique_names(loaded, told.get("scale", {}))
    arguments = model(loaded, services, dependencies=not told["no_deps"])
    admit(loaded.project, (*arguments["order"], *services), here())
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
    arguments["images"] = images_for.facts(scope, loaded.project, arguments["order"], flags, mute=mute)
    if loaded.project.volumes:
        told["renew_volumes"] = _renewed(scope, loaded, arguments["order"], yes=yes)
    arguments["options"] = told
    arguments["ignore_orphans"] = truth("COMPOSE_IGNORE_ORPHANS")
    arguments["parallel"] = max(scope.parallel or 0, 0)
    return arguments


def _renewed(scope: Scope, loaded: "Loaded", order: Sequence[str], *, yes: bool) -> list[str]:
    """Ask for each volume whose definition has changed whether it is made anew."""
    from compose.cli import report
    from compose.plan.reconcile import changed_volumes
    from runtime import volume

    labels = {one.name: one.labels for one in volume.list(scope.places.volumes)}
    return [
        name
        for name in changed_volumes(loaded.project, order, labels)
        if yes
        or report.ask(
            f'Volume "{name}" exists but doesn\'t match configuration in compose file. '
            "Recreate (data will be lost)?"
        )
    ]


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
