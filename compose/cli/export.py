"""``pycompose export``: the file system of a service's container as a tar."""

import os
import sys
from pathlib import Path
from typing import Annotated

from compose.cli import report
from compose.cli.options import Index, OneService, Option
from compose.cli.scope import Scope
from compose.errors import UsageError


def run(
    scope: Scope,
    service: OneService,
    *,
    index: Index = None,
    output: Annotated[
        str, Option("-o", "--output", metavar="FILE", help="Write to a file, instead of STDOUT")
    ] = "",
) -> int:
    """Export a service container's filesystem as a tar archive"""
    from compose.cli.containers import pick_any

    container = pick_any(scope, service, index)
    if not output and sys.stdout.isatty():
        raise UsageError("refusing to write an archive to a terminal", hint="use -o FILE, or redirect")
    if scope.dry_run:
        report.say(f"DRY-RUN MODE -  Container {container.name}  Exported")
        return 0
    scope.require_rights()
    from runtime.image.rootfs import export
    from runtime.image.store import Store

    layers = [*map(Path, container.spec.layers), container.upper]
    store = Store(scope.places.images)
    if not output:
        export(store, layers, sys.stdout.buffer)
        return 0
    target = Path(output)
    part = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        with part.open("xb") as out:
            export(store, layers, out)
        part.rename(target)
    finally:
        part.unlink(missing_ok=True)
    return 0
