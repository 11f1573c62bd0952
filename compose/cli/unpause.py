"""``pycompose unpause``: let frozen services go on."""

from compose.cli.lifecycle import simple
from compose.cli.options import Services
from compose.cli.scope import Scope


def run(scope: Scope, services: Services = ()) -> int:
    """Unpause services"""
    return simple(scope, "unpause", services, {}, words="Unpaused", when=lambda c: c.running)
