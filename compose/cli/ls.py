"""``pycompose ls``: the projects of this machine."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

from compose.cli import report
from compose.cli.options import Option
from compose.cli.scope import Scope
from compose.cli.table import as_json, table
from compose.errors import UsageError


def run(
    scope: Scope,
    *,
    all: Annotated[bool, Option("-a", "--all", help="Show stopped projects too")] = False,
    filter: Annotated[str, Option("--filter", metavar="NAME", help="Filter by a property: name=...")] = "",
    format: Annotated[
        str, Option("--format", metavar="FORMAT", help="Format the output", choices=("table", "json"))
    ] = "table",
    quiet: Annotated[bool, Option("-q", "--quiet", help="Only display project names")] = False,
) -> int:
    """List running compose projects"""
    key, _, wanted = filter.partition("=")
    if filter and (key != "name" or not wanted):
        raise UsageError(f"unknown filter '{filter}'", hint="the one filter is name=...")
    fits = matcher(wanted)
    rows = [row for name in projects(scope) if fits(name) and (row := _row(scope, name, all=all))]
    if quiet:
        report.put("".join(row["Name"] + "\n" for row in rows))
    elif format == "json":
        report.put(as_json(rows))
    else:
        cells = [["NAME", "STATUS", "CONFIG FILES"], *([str(v) for v in row.values()] for row in rows)]
        report.put(table(cells, least=20))
    return 0


def matcher(pattern: str) -> Callable[[str], bool]:
    """Whether a name holds ``pattern``, a regular expression. Raises UsageError. Pure."""
    try:
        found = re.compile(pattern)
    except re.error as failure:
        raise UsageError(f"invalid filter 'name={pattern}': {failure}") from None
    return lambda name: found.search(name) is not None


def projects(scope: Scope) -> list[str]:
    """Names of projects that have records on this machine."""
    try:
        return sorted(entry.name for entry in Path(scope.places.data, "projects").iterdir() if entry.is_dir())
    except FileNotFoundError:
        return []


def _row(scope: Scope, name: str, *, all: bool) -> dict[str, Any] | None:
    from compose.cli import containers

    found = [
        c for c in containers.of_project(scope.places, name) if all or c.running or c.status == "restarting"
    ]
    if not found:
        return None
    counts: dict[str, int] = {}
    for container in found:
        counts[container.status] = counts.get(container.status, 0) + 1
    return {
        "Name": name,
        "Status": ", ".join(f"{status}({count})" for status, count in sorted(counts.items())),
        "ConfigFiles": found[0].label("project.config_files"),
    }
