"""``pycompose exec``: a further process in a running container."""

import os
import sys
from typing import Annotated

from compose.cli.options import Argument, Index, OneService, Option, Texts
from compose.cli.scope import Scope, unknown_service

INTERSPERSED = False
DETACH = b"\x10\x11"  # Ctrl-P Ctrl-Q


Command = Annotated[Texts, Argument("COMMAND [ARGS...]", at_least=1)]
Detach = Annotated[bool, Option("-d", "--detach", help="Run the command in the background")]
Env = Annotated[Texts, Option("-e", "--env", metavar="NAME[=VALUE]", help="Set environment variables")]
Interactive = Annotated[bool, Option("-i", "--interactive", help="Keep STDIN open", hidden=True)]
NoTty = Annotated[bool, Option("-T", "--no-tty", "--no-TTY", help="Disable pseudo-TTY allocation")]
Privileged = Annotated[bool, Option("--privileged", help="Give extended privileges to the process")]
Tty = Annotated[bool, Option("-t", "--tty", help="Allocate a pseudo-TTY", hidden=True)]
User = Annotated[str, Option("-u", "--user", metavar="USER", help="Run the command as this user")]
Workdir = Annotated[str, Option("-w", "--workdir", metavar="PATH", help="Directory for this command")]


def run(
    scope: Scope,
    service: OneService,
    command: Command,
    *,
    detach: Detach = False,
    env: Env = (),
    index: Index = None,
    interactive: Interactive = True,
    no_tty: NoTty = False,
    privileged: Privileged = False,
    tty: Tty = True,
    user: User = "",
    workdir: Workdir = "",
) -> int:
    """Execute a command in a running container"""
    from compose.cli import containers
    from runtime.process import relay
    from runtime.process.enter import enter
    from runtime.spec import ExecSpec

    scope.require_rights()
    identity = scope.identity()
    found = containers.of_project(scope.places, identity.name)
    known = {*identity.known, *(c.service for c in found)}
    if service not in known:
        raise unknown_service(service, known)
    chosen = containers.pick(found, service, index)
    terminal = tty and not no_tty and not detach and sys.stdin.isatty() and sys.stdout.isatty()
    spec = ExecSpec(
        argv=command,
        env=environment(env),
        user=user,
        working_dir=workdir,
        tty=terminal,
        privileged=privileged,
        window=relay.window() if terminal else (),
    )
    if scope.dry_run:
        return 0
    run = scope.places.project_run(identity.name)
    return enter(chosen.spec, spec, run=run, interactive=interactive, detach=detach, keys=DETACH)


def environment(given: Texts) -> Texts:
    """``NAME=value`` texts; a name alone takes the caller's value, and is left out when there is none."""
    pairs = (
        text if "=" in text else f"{text}={os.environ[text]}"
        for text in given
        if "=" in text or text in os.environ
    )
    return tuple(pairs)
