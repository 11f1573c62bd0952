"""``pycompose volumes``: the volumes of the project."""

from typing import Annotated, Any

from compose.cli import report
from compose.cli.options import Option, Services
from compose.cli.scope import Scope, unknown_service
from compose.cli.table import as_json, table, templated

HEADINGS = {"Driver": "DRIVER", "Name": "VOLUME NAME"}
UNKNOWN = ("Availability", "Group", "Links", "Size", "Status")  # of swarm; docker prints N/A as well


def run(
    scope: Scope,
    services: Services = (),
    *,
    format: Annotated[
        str, Option("--format", metavar="FORMAT", help="table, json or a Go template")
    ] = "table",
    quiet: Annotated[bool, Option("-q", "--quiet", help="Only display volume names")] = False,
) -> int:
    """List volumes"""
    from compose.plan.observed import PROJECT, VOLUME
    from runtime import volume

    identity = scope.identity()
    wanted = mounted(scope, identity.name, identity.known, services) if services else None
    rows = [
        row(one.name, str(one.path), one.labels)
        for one in volume.list(scope.places.volumes)
        if one.labels.get(PROJECT) == identity.name and VOLUME in one.labels
        if wanted is None or one.name in wanted
    ]
    rows.sort(key=lambda found: str(found["Name"]))
    if quiet:
        report.put("".join(f"{found['Name']}\n" for found in rows))
    elif format == "json":
        report.put("".join(as_json(found) for found in rows))
    elif format in ("", "table"):
        report.put(table([list(HEADINGS.values()), *([found[key] for key in HEADINGS] for found in rows)]))
    else:
        keys = {key: HEADINGS.get(key, key.upper()) for key in row("", "", {})}
        report.put(templated(format, rows, keys))
    return 0


def mounted(scope: Scope, project: str, known: tuple[str, ...], services: tuple[str, ...]) -> set[str]:
    """Names of the volumes that containers of ``services`` mount. Raises UsageError for an unknown one."""
    from compose.cli import containers

    found = containers.of_project(scope.places, project)
    for name in services:
        if name not in (every := {*known, *(c.service for c in found)}):
            raise unknown_service(name, every)
    return {str(one["name"]) for c in found if c.service in services for one in c.launch().get("volumes", ())}


def row(name: str, path: str, labels: Any) -> dict[str, str]:
    """Everything ``--format`` can show, in docker's names and order. Pure."""
    values = dict.fromkeys(UNKNOWN, "N/A") | {
        "Driver": "local",
        "Labels": ",".join(f"{key}={labels[key]}" for key in sorted(labels)),
        "Mountpoint": path,
        "Name": name,
        "Scope": "local",
    }
    return {key: values[key] for key in sorted(values)}
