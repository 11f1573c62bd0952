"""``pycompose stats``: what the containers use, now and then."""

import sys
import time
from typing import TYPE_CHECKING, Annotated, Any

from compose.cli import report
from compose.cli.options import Option, Services
from compose.cli.scope import Scope
from compose.cli.table import as_json, table, templated

if TYPE_CHECKING:
    from compose.cli.containers import Container
    from runtime.cgroup.usage import Usage

HEADINGS = {
    "ID": "CONTAINER ID", "Name": "NAME", "CPUPerc": "CPU %", "MemUsage": "MEM USAGE / LIMIT",
    "MemPerc": "MEM %", "NetIO": "NET I/O", "BlockIO": "BLOCK I/O", "PIDs": "PIDS",
}  # fmt: skip
SAMPLE = 0.2  # seconds between the two looks that give the use of the processor
ROUND = 1.0
NOTHING = "--"


def run(
    scope: Scope,
    services: Services = (),
    *,
    all: Annotated[
        bool, Option("-a", "--all", help="Show all containers (default shows just running)")
    ] = False,
    format: Annotated[str, Option("--format", metavar="FORMAT", help="table, json or a Go template")] = "",
    no_stream: Annotated[
        bool, Option("--no-stream", help="Disable streaming stats and only pull the first result")
    ] = False,
    no_trunc: Annotated[bool, Option("--no-trunc", help="Do not truncate output")] = False,
) -> int:
    """Display a live stream of container(s) resource usage statistics"""
    before: dict[str, Usage] = {}
    while True:
        found = _found(scope, services, everything=all)
        if not before:
            before = _look(scope, found)
            time.sleep(SAMPLE if before else 0.0)
        now = _look(scope, found)
        rows = [row(c, now.get(c.spec.id), before.get(c.spec.id), whole=no_trunc) for c in found]
        if not no_stream and sys.stdout.isatty():
            report.clear()
        report.put(_output(rows, format))
        sys.stdout.flush()
        if no_stream:
            return 0
        before = now
        time.sleep(ROUND)


def _found(scope: Scope, services: tuple[str, ...], *, everything: bool) -> "list[Container]":
    from compose.cli.lifecycle import chosen

    found = chosen(scope, services, oneoff=True, everything=True)
    return sorted((c for c in found if everything or c.running), key=lambda c: c.name)


def _look(scope: Scope, found: "list[Container]") -> "dict[str, Usage]":
    from runtime.cgroup.layout import find, group
    from runtime.cgroup.usage import usage

    layout, project = find(), scope.identity().name
    return {
        c.spec.id: usage(group(layout, project, c.spec.id, c.spec.limits.parent), c.state.pid)
        for c in found
        if c.running
    }


def row(
    container: "Container", now: "Usage | None", before: "Usage | None", *, whole: bool
) -> dict[str, Any]:
    """Everything ``--format`` can show, in docker's names and order. Pure."""
    id = container.spec.id
    values: dict[str, Any] = dict.fromkeys(("CPUPerc", "MemPerc", "PIDs"), NOTHING)
    values |= dict.fromkeys(("MemUsage", "NetIO", "BlockIO"), f"{NOTHING} / {NOTHING}")
    if now is not None:
        values = {
            "BlockIO": f"{decimal(now.read)} / {decimal(now.written)}",
            "CPUPerc": f"{now.processor(before) if before else 0.0:.2f}%",
            "MemPerc": f"{100 * now.memory / now.limit if now.limit else 0.0:.2f}%",
            "MemUsage": f"{binary(now.memory)} / {binary(now.limit)}",
            "NetIO": f"{decimal(now.received)} / {decimal(now.sent)}",
            "PIDs": str(now.pids),
        }
    values |= {"Container": id, "ID": id if whole else id[:12], "Name": container.name}
    return {key: values[key] for key in sorted(values)}


def decimal(size: int) -> str:
    """``1.23MB``: units of 1000, as docker's units.HumanSizeWithPrecision(3). Pure."""
    return _sized(size, 1000.0, ("B", "kB", "MB", "GB", "TB", "PB"), 3)


def binary(size: int) -> str:
    """``1.234MiB``: units of 1024, as docker's units.BytesSize. Pure."""
    return _sized(size, 1024.0, ("B", "KiB", "MiB", "GiB", "TiB", "PiB"), 4)


def _sized(size: float, base: float, units: tuple[str, ...], digits: int) -> str:
    at = 0
    while size >= base and at < len(units) - 1:
        size, at = size / base, at + 1
    return f"{size:.{digits}g}{units[at]}"


def _output(rows: list[dict[str, Any]], form: str) -> str:
    if form == "json":
        return "".join(as_json(one) for one in rows)
    if form in ("", "table"):
        return table([list(HEADINGS.values()), *([one[key] for key in HEADINGS] for one in rows)])
    return templated(form, rows, {**HEADINGS, "Container": "CONTAINER"})
