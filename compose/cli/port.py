"""``pycompose port``: where a container's port is published."""

from typing import Annotated

from compose.cli import report
from compose.cli.options import Argument, Index, OneService, Option
from compose.cli.parse import number
from compose.cli.scope import Scope, unknown_service
from compose.errors import UsageError


def run(
    scope: Scope,
    service: OneService,
    private_port: Annotated[str, Argument("PRIVATE_PORT")],
    *,
    index: Index = None,
    protocol: Annotated[
        str, Option("--protocol", metavar="PROTOCOL", help="tcp or udp", choices=("tcp", "udp"))
    ] = "tcp",
) -> int:
    """Print the public port for a port binding"""
    from compose.cli import containers

    wanted = number(private_port)
    if wanted is None:
        raise UsageError(f"invalid port '{private_port}'", hint="a number, such as 80")
    identity = scope.identity()
    found = containers.of_project(scope.places, identity.name)
    known = {*identity.known, *(c.service for c in found)}
    if service not in known:
        raise unknown_service(service, known)
    container = containers.pick(found, service, index)
    for port in containers.publishers(container):
        if port["TargetPort"] == wanted and port["Protocol"] == protocol and port["PublishedPort"]:
            address = f"[{port['URL']}]" if ":" in port["URL"] else port["URL"]
            report.tell(f"{address}:{port['PublishedPort']}")
            return 0
    raise UsageError(f"no port {wanted}/{protocol} for container {container.name}")
