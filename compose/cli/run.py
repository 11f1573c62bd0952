"""``pycompose run``: one command in a container of its own."""

import sys
from typing import Annotated

from compose.cli.options import Argument, OneService, Option, RemoveOrphans, Texts
from compose.cli.scope import Scope
from compose.cli.up import Build, Pull, QuietPull, ask

INTERSPERSED = False


def run(
    scope: Scope,
    service: OneService,
    command: Annotated[Texts, Argument("[COMMAND] [ARGS...]")] = (),
    *,
    build: Build = False,
    cap_add: Annotated[Texts, Option("--cap-add", metavar="CAP", help="Add Linux capabilities")] = (),
    cap_drop: Annotated[Texts, Option("--cap-drop", metavar="CAP", help="Drop Linux capabilities")] = (),
    detach: Annotated[
        bool, Option("-d", "--detach", help="Run in background and print container name")
    ] = False,
    entrypoint: Annotated[
        str, Option("--entrypoint", metavar="COMMAND", help="Override the entrypoint of the image")
    ] = "",
    env: Annotated[
        Texts, Option("-e", "--env", metavar="NAME[=VALUE]", help="Set environment variables")
    ] = (),
    env_from_file: Annotated[
        Texts, Option("--env-from-file", metavar="FILE", help="Set environment variables from file")
    ] = (),
    interactive: Annotated[
        bool, Option("-i", "--interactive", help="Keep STDIN open even if not attached")
    ] = True,
    label: Annotated[
        Texts, Option("-l", "--label", metavar="NAME=VALUE", help="Add or override a label")
    ] = (),
    name: Annotated[str, Option("--name", metavar="NAME", help="Assign a name to the container")] = "",
    no_tty: Annotated[
        bool, Option("-T", "--no-TTY", "--no-tty", help="Disable pseudo-TTY allocation")
    ] = False,
    no_deps: Annotated[bool, Option("--no-deps", help="Don't start linked services")] = False,
    publish: Annotated[
        Texts, Option("-p", "--publish", metavar="PORTS", help="Publish container ports")
    ] = (),
    pull: Pull = "policy",
    quiet: Annotated[
        bool, Option("-q", "--quiet", help="Don't print anything but the command's output")
    ] = False,
    quiet_build: Annotated[bool, Option("--quiet-build", help="Suppress progress of the build")] = False,
    quiet_pull: QuietPull = False,
    remove_orphans: RemoveOrphans = False,
    rm: Annotated[bool, Option("--rm", help="Remove the container when it exits")] = False,
    service_ports: Annotated[
        bool, Option("-P", "--service-ports", help="Publish the ports of the service")
    ] = False,
    tty: Annotated[bool, Option("-t", "--tty", help="Allocate a pseudo-TTY", hidden=True)] = True,
    use_aliases: Annotated[bool, Option("--use-aliases", help="Use the service's network aliases")] = False,
    user: Annotated[
        str, Option("-u", "--user", metavar="USER", help="Run as specified username or uid")
    ] = "",
    volume: Annotated[
        Texts, Option("-v", "--volume", metavar="MOUNT", help="Mount a volume or directory")
    ] = (),
    workdir: Annotated[str, Option("-w", "--workdir", metavar="PATH", help="Working directory")] = "",
) -> int:
    """Run a one-off command on a service"""
    from compose.cli import oneoff

    scope.project((service,))
    loaded = scope.loaded()
    told = {"no_deps": no_deps, "remove_orphans": remove_orphans, "no_recreate": True}
    if scope.dry_run:
        ask(scope, loaded, (service,), told)
        return 0
    scope.require_rights()
    terminal = tty and not no_tty and not detach and sys.stdin.isatty() and sys.stdout.isatty()
    changes = {
        "service": service,
        "command": list(command) or None,
        "entrypoint": oneoff.words(entrypoint) if entrypoint else None,
        "environment": oneoff.environment(scope, env, env_from_file),
        "labels": oneoff.pairs("--label", label),
        "publish": oneoff.ports(publish),
        "volumes": oneoff.mounts(volume, loaded),
        "cap_add": list(cap_add),
        "cap_drop": list(cap_drop),
        "name": name,
        "user": user,
        "working_dir": workdir,
        "service_ports": service_ports,
        "use_aliases": use_aliases,
        "no_deps": no_deps,
        "detach": detach,
        "interactive": interactive,
        "tty": terminal,
        "rm": rm,
    }
    arguments = ask(
        scope, loaded, (service,), told, build=build, pull=pull, quiet=quiet or quiet_pull or quiet_build
    )
    assert arguments is not None
    return oneoff.perform(scope, loaded.project.name, {**arguments, **changes}, quiet=quiet)
