"""``pycompose version``."""

from typing import Annotated

from compose import __version__
from compose.cli import report
from compose.cli.options import Option
from compose.cli.scope import Scope
from compose.cli.table import as_json


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
        report.tell(__version__)
    elif format == "json":
        report.put(as_json({"version": __version__}))
    else:
        report.tell(f"pycompose version {__version__}")
    return 0
