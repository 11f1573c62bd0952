"""``pycompose ps``: the containers of the project."""

import time
from collections.abc import Sequence
from typing import Annotated, Any

from compose.cli import report
from compose.cli.options import Option, Services, Texts
from compose.cli.scope import Scope, unknown_service
from compose.cli.table import as_json, table, templated
from compose.errors import UsageError

HEADINGS = {
    "Name": "NAME",
    "Image": "IMAGE",
    "Command": "COMMAND",
    "Service": "SERVICE",
    "RunningFor": "CREATED",
    "Status": "STATUS",
    "Ports": "PORTS",
}


def run(
    scope: Scope,
    services: Services = (),
    *,
    all: Annotated[
        bool, Option("-a", "--all", help="Show stopped containers too, and those of 'run'")
    ] = False,
    filter: Annotated[
        str, Option("--filter", metavar="STATUS", help="Filter by a property: status=...")
    ] = "",
    format: Annotated[str, Option("--format", metavar="FORMAT", help="table, json or a Go template")] = "",
    no_trunc: Annotated[bool, Option("--no-trunc", help="Don't truncate output")] = False,
    orphans: Annotated[bool, Option("--orphans", help="Include services that are not in the file")] = True,
    quiet: Annotated[bool, Option("-q", "--quiet", help="Only display IDs")] = False,
    names: Annotated[bool, Option("--services", help="Display services")] = False,
    status: Annotated[Texts, Option("--status", metavar="STATE", help="Filter services by status")] = (),
) -> int:
    """List containers"""
    from compose.cli import containers

    wanted = _states(filter, status)
    identity = scope.identity()
    found = containers.of_project(scope.places, identity.name)
    known = {*identity.known, *(c.service for c in found)}
    for name in services:
        if name not in known:
            raise unknown_service(name, known)
    shown = [
        c
        for c in found
        if (not services or c.service in services)
        and (c.status in wanted if wanted else all or c.running or c.status == "restarting")
        and (all or not c.oneoff)
        and (orphans or not identity.from_file or c.service in identity.services)
    ]
    report.put(_output(shown, format, quiet=quiet, names=names, whole=no_trunc))
    _tell_troubles(scope, identity.name)
    return 0


def _tell_troubles(scope: Scope, project: str) -> None:
    """What cuts the project's networks off, as its supervisor noticed."""
    from compose.cli import containers
    from compose.cli.report import warn

    for text in containers.troubles(scope.places, project):
        warn(text)


def _states(filter: str, status: Texts) -> Texts:
    from compose.cli.containers import STATES

    if filter:
        name, _, value = filter.partition("=")
        if name != "status" or not value:
            raise UsageError(
                f"unknown filter '{filter}'", hint="the one filter is status=..., such as status=running"
            )
        status = (*status, value)
    for value in status:
        if value not in STATES:
            raise UsageError(f"unknown status '{value}'", hint="one of " + ", ".join(STATES))
    return status


def _output(shown: Sequence[Any], format: str, *, quiet: bool, names: bool, whole: bool) -> str:
    if quiet:
        return "".join(c.spec.id + "\n" for c in shown)
    if names:
        return "".join(name + "\n" for name in sorted({c.service for c in shown}))
    now = time.time()
    rows = [_row(c, now, whole=whole) for c in shown]
    if format == "json":
        return "".join(as_json(row) for row in rows)
    if format in ("", "table"):
        return table([list(HEADINGS.values()), *([row[key] for key in HEADINGS] for row in rows)])
    return templated(format, rows, {key: HEADINGS.get(key, key.upper()) for key in (rows or [HEADINGS])[0]})


def _row(container: Any, now: float, *, whole: bool) -> dict[str, Any]:
    """Everything ``--format`` can show, in docker's names and order."""
    from compose.cli import containers, humane

    end = container.state.exit
    ports = containers.publishers(container)
    created = container.created_at
    launch = container.launch()
    return {
        "Command": humane.command(container.spec.argv, whole=whole),
        "CreatedAt": time.strftime("%Y-%m-%d %H:%M:%S +0000 UTC", time.gmtime(created)),
        "ExitCode": (end.code or 0) if end and not container.running else 0,
        "Health": container.health,
        "ID": container.spec.id if whole else container.spec.id[:12],
        "Image": container.image,
        "Labels": ",".join(f"{key}={value}" for key, value in container.spec.labels.items()),
        "LocalVolumes": str(len(launch.get("volumes", ()))),
        "Mounts": ",".join(volume["name"] for volume in launch.get("volumes", ())),
        "Name": container.name,
        "Names": container.name,
        "Networks": ",".join(endpoint["network"] for endpoint in launch.get("endpoints", ())),
        "OOMKilled": bool(end and end.oom and not container.running),
        "Ports": containers.ports_text(ports),
        "Project": container.label("project"),
        "Publishers": ports,
        "RunningFor": humane.duration(now - created) + " ago",
        "Service": container.service,
        "Size": "0B",
        "State": container.status,
        "Status": containers.status_line(container, now),
    }
