"""``pycompose kill``: send a signal, SIGKILL unless another is named."""

from typing import Annotated

from compose.cli.lifecycle import ask, chosen, names
from compose.cli.options import Option, RemoveOrphans, Services
from compose.cli.report import say
from compose.cli.scope import Scope
from compose.errors import UsageError


def run(
    scope: Scope,
    services: Services = (),
    *,
    remove_orphans: RemoveOrphans = False,
    signal: Annotated[
        str, Option("-s", "--signal", metavar="SIGNAL", help="SIGNAL to send to the container")
    ] = "SIGKILL",
) -> int:
    """Force stop service containers"""
    if not is_signal(signal):
        raise UsageError(f"unknown signal '{signal}'", hint="a name such as SIGTERM or HUP, or a number")
    there = [c for c in chosen(scope, services, oneoff=True) if c.running or c.status == "restarting"]
    if scope.dry_run:
        from compose.cli import plans

        return plans.would("Killed", [c.name for c in there])
    if there:
        ask(scope, "kill", {"services": names(there), "signal": signal})
    else:
        say("no container to kill")
    if remove_orphans and scope.identity().from_file:
        known = scope.identity().known
        orphans = sorted({c.service for c in chosen(scope, (), everything=True) if c.service not in known})
        if orphans:
            ask(scope, "rm", {"services": orphans, "stop": True})
    return 0


def is_signal(text: str) -> bool:
    """Whether ``text`` names a signal: SIGHUP, HUP, hup or a number from 1 to 64."""
    from signal import Signals

    if text.isdigit():
        return 1 <= int(text) <= 64
    name = text.upper()
    return (name if name.startswith("SIG") else f"SIG{name}") in Signals.__members__
