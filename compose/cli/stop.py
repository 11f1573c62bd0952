"""``pycompose stop``: stop containers, dependents first; they stay and can be started again."""

from compose.cli.lifecycle import simple
from compose.cli.options import Services, Timeout
from compose.cli.scope import Scope


def run(scope: Scope, services: Services = (), *, timeout: Timeout = None) -> int:
    """Stop services"""
    return simple(
        scope,
        "stop",
        services,
        {"timeout": timeout},
        words="Stopped",
        when=lambda c: c.running or c.status == "restarting",
    )
