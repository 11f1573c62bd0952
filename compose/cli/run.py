"""``pycompose run``: one command in a container of its own."""

import sys
from typing import Annotated

from compose.cli.options import Argument, OneService, Option, RemoveOrphans, Texts
from compose.cli.scope import Scope
from compose.cli.up import Build, Pull, QuietPull, ask
from compose.errors import UsageError

INTERSPERSED = False


Command = Annotated[Texts, Argument("[COMMAND] [ARGS...]")]
CapAdd = Annotated[Texts, Option("--cap-add", metavar="CAP", help="Add Linux capabilities")]
CapDrop = Annotated[Texts, Option("--cap-drop", metavar="CAP", help="Drop Linux capabilities")]
Detach = Annotated[bool, Option("-d", "--detach", help="Run in background and print container ID")]
Entrypoint = Annotated[
    str | None, Option("--entrypoint", metavar="COMMAND", help="Override the entrypoint of the image")
]
Env = Annotated[Texts, Option("-e", "--env", metavar="NAME[=VALUE]", help="Set environment variables")]
EnvFromFile = Annotated[
    Texts, Option("--env-from-file", metavar="FILE", help="Set environment variables from file")
]
Interactive = Annotated[bool, Option("-i", "--interactive", help="Keep STDIN open even if not attached")]
Label = Annotated[Texts, Option("-l", "--label", metavar="NAME=VALUE", help="Add or override a label")]
Name = Annotated[str, Option("--name", metavar="NAME", help="Assign a name to the container")]
NoTty = Annotated[bool, Option("-T", "--no-TTY", "--no-tty", help="Disable pseudo-TTY allocation")]
NoDeps = Annotated[bool, Option("--no-deps", help="Don't start linked services")]
Publish = Annotated[Texts, Option("-p", "--publish", metavar="PORTS", help="Publish container ports")]
Quiet = Annotated[bool, Option("-q", "--quiet", help="Don't print anything but the command's output")]
QuietBuild = Annotated[bool, Option("--quiet-build", help="Suppress progress of the build")]
Rm = Annotated[bool, Option("--rm", help="Remove the container when it exits")]
ServicePorts = Annotated[bool, Option("-P", "--service-ports", help="Publish the ports of the service")]
Tty = Annotated[bool, Option("-t", "--tty", help="Allocate a pseudo-TTY", hidden=True)]
UseAliases = Annotated[bool, Option("--use-aliases", help="Use the service's network aliases")]
User = Annotated[str, Option("-u", "--user", metavar="USER", help="Run as specified username or uid")]
Volume = Annotated[Texts, Option("-v", "--volume", metavar="MOUNT", help="Mount a volume or directory")]
Workdir = Annotated[str, Option("-w", "--workdir", metavar="PATH", help="Working directory")]


def run(
    scope: Scope,
    service: OneService,
    command: Command = (),
    *,
    build: Build = False,
    cap_add: CapAdd = (),
    cap_drop: CapDrop = (),
    detach: Detach = False,
    entrypoint: Entrypoint = None,
    env: Env = (),
    env_from_file: EnvFromFile = (),
    interactive: Interactive = True,
    label: Label = (),
    name: Name = "",
    no_tty: NoTty = False,
    no_deps: NoDeps = False,
    publish: Publish = (),
    pull: Pull = "policy",
    quiet: Quiet = False,
    quiet_build: QuietBuild = False,
    quiet_pull: QuietPull = False,
    remove_orphans: RemoveOrphans = False,
    rm: Rm = False,
    service_ports: ServicePorts = False,
    tty: Tty = True,
    use_aliases: UseAliases = False,
    user: User = "",
    volume: Volume = (),
    workdir: Workdir = "",
) -> int:
    """Run a one-off command on a service"""
    from compose.cli import oneoff

    if name:
        from compose.plan.admission import check_name

        check_name(name)
    if service_ports and publish:
        raise UsageError("--service-ports and --publish are incompatible")
    scope.project((service,))
    loaded = scope.loaded()
    told = {"no_deps": no_deps, "remove_orphans": remove_orphans, "no_recreate": True}
    if scope.dry_run:
        ask(scope, loaded, (service,), told)
        return 0
    scope.require_rights()
    terminal = tty and not no_tty and not detach and sys.stdin.isatty() and sys.stdout.isatty()
    changes = {
        "service": service, "command": list(command) or None, "name": name, "user": user,
        "working_dir": workdir,
        "entrypoint": None if entrypoint is None else oneoff.words(entrypoint),
        "environment": oneoff.environment(scope, env, env_from_file),
        "labels": oneoff.pairs("--label", label), "publish": oneoff.ports(publish),
        "volumes": oneoff.mounts(volume), "cap_add": list(cap_add), "cap_drop": list(cap_drop),
        "service_ports": service_ports, "use_aliases": use_aliases, "no_deps": no_deps,
        "detach": detach, "interactive": interactive, "tty": terminal, "rm": rm,
        "window": oneoff.window() if terminal else (),
    }  # fmt: skip
    silent = (
        *(("layer",) if quiet or quiet_pull else ()),
        *(("step", "output") if quiet or quiet_build else ()),
    )
    arguments = ask(scope, loaded, (service,), told, build=build, pull=pull, mute=silent)
    assert arguments is not None
    return oneoff.perform(scope, loaded.project.name, {**arguments, **changes}, quiet=quiet)
