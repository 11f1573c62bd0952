"""``pycompose dns``: what is called what on each network, and names that nobody knew."""

import time
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import TYPE_CHECKING, Annotated, Any

from compose.cli import report
from compose.cli.options import Option
from compose.cli.scope import Scope
from compose.cli.table import as_json, table

if TYPE_CHECKING:
    from compose.cli.containers import Container
    from netns.network import Networks


def run(
    scope: Scope,
    *,
    format: Annotated[
        str, Option("--format", metavar="FORMAT", help="Format the output", choices=("table", "json"))
    ] = "table",
) -> int:
    """List the names on each network, and recent look-ups that found nothing"""
    from compose.cli import containers
    from netns.network import Networks

    project = scope.identity().name
    found = containers.of_project(scope.places, project)
    used = {end["network"] for one in found for end in one.launch().get("endpoints", ())}
    networks = Networks(scope.places.run)
    names = {name: known(networks, name) for name in sorted(used) if networks.find(name)}
    failed = failures(containers.failed_lookups(scope.places, project), names, found)
    networks.close()
    if format == "json":
        report.put(as_json({"Networks": names, "Failed": failed}))
    else:
        report.put(text(names, failed, time.time()))
    return 0


def known(networks: "Networks", network: str) -> dict[str, list[str]]:
    """Every plain name on a network with the addresses behind it; none behind what does not run."""
    rows: dict[str, list[str]] = {name: [] for name in networks.claimed(network)}
    for endpoint in networks.endpoints(network):
        addresses = [address for address in (endpoint.ipv4, endpoint.ipv6) if address]
        for name in dict.fromkeys((*endpoint.spec.names, endpoint.spec.container_name)):
            if name and not endpoint.spec.container.startswith(name):
                rows.setdefault(name, []).extend(addresses)
    return dict(sorted(rows.items()))


def failures(
    rows: Iterable[Mapping[str, Any]],
    names: Mapping[str, Mapping[str, Any]],
    containers: Iterable["Container"],
) -> list[dict[str, Any]]:
    """Look-ups that found nothing, each with the nearest name of the project. Pure."""
    titles = {one.spec.id: one.name for one in containers}
    every = sorted({name for one in names.values() for name in one})
    return [
        {
            "Container": titles.get(str(row["container"]), str(row["container"])[:12]),
            "Name": str(row["name"]),
            "At": float(row["at"]),
            "Nearest": next(iter(get_close_matches(str(row["name"]), every, n=1)), ""),
        }
        for row in rows
    ]


def text(names: Mapping[str, Mapping[str, list[str]]], failed: list[dict[str, Any]], now: float) -> str:
    """Tables for people. Pure."""
    from compose.cli.humane import duration

    rows = [["NETWORK", "NAME", "ADDRESSES"]]
    for network, found in names.items():
        rows += [[network, name, ", ".join(addresses) or "not running"] for name, addresses in found.items()]
    out = table(rows)
    if failed:
        out += "\nLook-ups that found nothing:\n"
        rows = [["CONTAINER", "NAME", "WHEN", "NEAREST"]]
        for row in reversed(failed):
            when = f"{duration(now - row['At'])} ago"
            rows.append([row["Container"], ascii(row["Name"])[1:-1], when, row["Nearest"] or "-"])
        out += table(rows)
    return out
