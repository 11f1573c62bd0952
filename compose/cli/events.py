"""``pycompose events``: what happens to the containers of the project, as it happens."""

import json
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

from compose.cli import report
from compose.cli.options import Option, Services
from compose.cli.scope import Scope
from compose.cli.table import as_json

KEYS = ("action", "attributes", "id", "service", "time", "type")


def run(
    scope: Scope,
    services: Services = (),
    *,
    json: Annotated[bool, Option("--json", help="Output events as a stream of json objects")] = False,
    since: Annotated[
        str, Option("--since", metavar="TIME", help="Show all events created since timestamp")
    ] = "",
    until: Annotated[str, Option("--until", metavar="TIME", help="Stream events until this timestamp")] = "",
) -> int:
    """Receive real time events from containers"""
    from compose.cli.lifecycle import chosen
    from compose.cli.logs import moment_of

    begin, end = moment_of("--since", since), moment_of("--until", until)
    if services:
        chosen(scope, services)
    name = scope.identity().name
    if scope.dry_run:
        return 0
    directory = scope.places.project_run(name)
    for event in between(directory, begin or rfc3339(time.time_ns()), end):
        if not services or event["service"] in services:
            report.put(as_json({key: event[key] for key in KEYS}) if json else text(event))
            sys.stdout.flush()
    return 0


def text(event: dict[str, Any]) -> str:
    """The line docker compose prints, and the empty one below it. Pure."""
    attributes = ", ".join(f"{key}={value}" for key, value in event["attributes"].items())
    local = datetime.fromtimestamp(event["at"] / 1e9, UTC).astimezone()
    when = local.strftime("%Y-%m-%d %H:%M:%S.%f")
    return f"{when} {event['type']} {event['action']} {event['id']} ({attributes})\n\n"


def rfc3339(nanoseconds: int) -> str:
    """Nanoseconds since the epoch as RFC 3339 in UTC; such texts compare as times do. Pure."""
    seconds, rest = divmod(nanoseconds, 1_000_000_000)
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)) + f".{rest:09d}Z"


def between(run: Path, begin: str, end: str) -> Iterator[dict[str, Any]]:
    """The events from ``begin`` to ``end`` (RFC 3339, "" for never), waited for with inotify(7).

    run: RUN/<project>, which comes and goes with the project.
    """
    from compose.engine.chronicle import FILE
    from compose.engine.follow import Follower, Tail

    run.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    tail = Tail(run / FILE, FILE, at_end=False)
    with closing(tail), Follower(run.parent, wanted=lambda name: False) as follower:
        while True:
            follower.watch(run, written=True)
            for event in _events(b"".join(tail.blocks())):
                event["time"] = rfc3339(event["at"])
                if event["time"] >= begin and (not end or event["time"] <= end):
                    yield event
            left = max(0.0, _seconds(end) - time.time()) if end else None
            if left == 0.0:
                return
            follower.wait(timeout=left)


def _seconds(moment: str) -> float:
    return datetime.fromisoformat(moment[:26] + "+00:00").timestamp()


def _events(data: bytes) -> list[dict[str, Any]]:
    return [json.loads(line) for line in data.splitlines() if line]
