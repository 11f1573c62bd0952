"""``pycompose logs``: what the containers have written, and what they will."""

import time
from typing import Annotated

from compose.cli.options import Index, Option, Services
from compose.cli.scope import Identity, Scope, unknown_service
from compose.errors import UsageError


def run(
    scope: Scope,
    services: Services = (),
    *,
    follow: Annotated[bool, Option("-f", "--follow", help="Follow log output")] = False,
    index: Index = None,
    no_color: Annotated[bool, Option("--no-color", help="Produce monochrome output")] = False,
    no_log_prefix: Annotated[bool, Option("--no-log-prefix", help="Don't print prefix in logs")] = False,
    since: Annotated[
        str, Option("--since", metavar="TIME", help="Show logs since a time or a duration ago")
    ] = "",
    tail: Annotated[
        str, Option("-n", "--tail", metavar="N", help="Lines to show from the end of each log")
    ] = "all",
    timestamps: Annotated[bool, Option("-t", "--timestamps", help="Show timestamps")] = False,
    until: Annotated[
        str, Option("--until", metavar="TIME", help="Show logs before a time or a duration ago")
    ] = "",
) -> int:
    """View output from containers"""
    from compose.cli.printer import Printer
    from compose.engine import logs

    if index and not services:
        raise UsageError("--index needs a service", hint="pycompose logs --index 1 SERVICE")
    count, begin, end = _count(tail), moment_of("--since", since), moment_of("--until", until)
    identity = scope.identity()
    found = _found(scope, identity, services, index)
    if index and not found:
        raise UsageError(f'service "{services[0]}" has no container with index {index}')
    printer = Printer(
        {name: shown for name, (shown, _) in found.items()},
        {name: service for name, (_, service) in found.items()},
        prefix=not no_log_prefix,
        colour=not no_color,
        times=timestamps,
    )
    directory = scope.places.project_data(identity.name) / "logs"
    if not follow:
        printer.lines(logs.read(directory, found, tail=count, since=begin, until=end))
        return 0
    from compose.cli.attached import follow_logs

    follow_logs(scope, identity, services, index, printer, lambda: logs.read(
        directory, found, tail=count, since=begin, until=end
    ), until=end)  # fmt: skip
    return 0


def _count(text: str) -> int | None:
    if text in ("all", ""):
        return None
    if not text.isdigit():
        raise UsageError(f"invalid value '{text}' for --tail", hint="a number of lines, or 'all'")
    return int(text)


def moment_of(flag: str, text: str) -> str:
    """The value of a flag as logs and events write times. Raises UsageError."""
    from compose.engine.logs import moment

    try:
        return moment(text, time.time()) if text else ""
    except (ValueError, OverflowError):
        raise UsageError(
            f"invalid value '{text}' for {flag}",
            hint="a time such as 2013-01-02T13:23:37Z, or a duration such as 42m",
        ) from None


def _found(
    scope: Scope, identity: Identity, services: tuple[str, ...], index: int | None
) -> dict[str, tuple[str, str]]:
    """Prefix and service by container name: containers that are there, and logs of those that are gone."""
    from compose.cli import containers

    own = [c for c in containers.of_project(scope.places, identity.name) if not c.oneoff]
    found = {c.name: (c.shown_as, c.service) for c in own if not index or c.number == index}
    there = {c.name for c in containers.of_project(scope.places, identity.name)}
    for name in _logged(scope, identity):
        rest = name.removeprefix(identity.name)  # behind it "-", or "_" with --compatibility
        service, _, number = rest[1:].rpartition(rest[:1] or "-")
        if name not in there and number.isdigit() and (not index or int(number) == index):
            found[name] = (rest[1:], service)
    known = {*identity.known, *(service for _, service in found.values()), *(c.service for c in own)}
    for service in services:
        if service not in known:
            raise unknown_service(service, known)
    return {name: pair for name, pair in sorted(found.items()) if identity.acts_on(pair[1], services)}


def _logged(scope: Scope, identity: Identity) -> list[str]:
    directory = scope.places.project_data(identity.name) / "logs"
    try:
        return sorted(p.stem for p in directory.iterdir() if p.suffix == ".log")
    except FileNotFoundError:
        return []
