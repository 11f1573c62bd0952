"""``pycompose version``: what scripts compare is the docker compose whose commands and flags these are."""

from typing import Annotated

from compose import LIKE, __version__
from compose.cli import report
from compose.cli.options import Option
from compose.cli.scope import Scope
from compose.cli.table import as_json


def comparable() -> str:
    """A version that scripts which ask for docker compose 2.x accept; ours is the build part (semver.org)."""
    return f"{LIKE}+pycompose.{__version__}"


def run(
    scope: Scope,
    *,
    format: Annotated[
        str, Option("-f", "--format", metavar="FORMAT", help="Format the output", choices=("pretty", "json"))
    ] = "pretty",
    short: Annotated[bool, Option("--short", help="Show only the version number")] = False,
) -> int:
    """Show the version of pycompose"""
    if short:
        report.tell(comparable())
    elif format == "json":
        report.put(as_json({"version": comparable()}))
    else:
        report.tell(f"pycompose version {__version__} (Docker Compose version v{LIKE})")
    return 0
