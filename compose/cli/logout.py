"""``pycompose logout``: forget the login of a registry."""

import os

from compose.cli import report
from compose.cli.login import Server
from compose.cli.scope import Scope


def run(scope: Scope, server: Server = "") -> int:
    """Log out from a registry, Docker Hub by default"""
    from runtime.image import credentials
    from runtime.image.login import host_of

    registry = host_of(server)
    if scope.dry_run:
        report.say(f"DRY-RUN MODE -  Registry {registry}  Logged out")
        return 0
    if credentials.forget(registry, os.environ):
        report.tell(f"Removing login credentials for {registry}")
    else:
        report.tell(f"Not logged in to {registry}")
    return 0
