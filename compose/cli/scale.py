"""``pycompose scale``: have so many containers of a service."""

from typing import Annotated

from compose.cli.options import Argument, Option, Texts
from compose.cli.scope import Scope
from compose.cli.up import run as up
from compose.errors import UsageError


def run(
    scope: Scope,
    replicas: Annotated[Texts, Argument("SERVICE=REPLICAS...", at_least=1)],
    *,
    no_deps: Annotated[bool, Option("--no-deps", help="Don't start linked services")] = False,
) -> int:
    """Scale services"""
    for text in replicas:
        if "=" not in text:
            raise UsageError(f"invalid scale specifier: {text}", hint="write SERVICE=REPLICAS, such as web=3")
    names = tuple(dict.fromkeys(text.partition("=")[0] for text in replicas))
    return up(scope, names, detach=True, no_deps=no_deps, no_recreate=True, scale=replicas)
