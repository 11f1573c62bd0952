"""``pycompose pause``: freeze all processes of services."""

from compose.cli.lifecycle import simple
from compose.cli.options import Services
from compose.cli.scope import Scope


def run(scope: Scope, services: Services = ()) -> int:
    """Pause services"""
    return simple(scope, "pause", services, {}, words="Paused", when=lambda c: c.running)
