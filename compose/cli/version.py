"""``pycompose version``."""

from typing import Annotated

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
    from importlib import metadata

    try:
        number = metadata.version("pycompose")
    except metadata.PackageNotFoundError:
        number = "unknown (running from source)"
    if short:
        print(number)
    elif format == "json":
        print(as_json({"version": number}), end="")
    else:
        print(f"pycompose version {number}")
    return 0
