"""``pycompose load``: take images out of an archive into the store."""

import sys
from pathlib import Path
from typing import Annotated

from compose.cli import report
from compose.cli.options import Option
from compose.cli.scope import Scope
from compose.errors import UsageError


def run(
    scope: Scope,
    *,
    input: Annotated[
        str, Option("-i", "--input", metavar="FILE", help="Read from a file or directory instead of STDIN")
    ] = "",
    quiet: Annotated[bool, Option("-q", "--quiet", help="Don't print progress")] = False,
) -> int:
    """Load images from a docker-archive or an OCI layout"""
    input = "" if input == "-" else input
    if not input and sys.stdin.isatty():
        raise UsageError("nothing to load from the terminal", hint="name a file with -i, or use '<'")
    if input and not Path(input).exists():
        raise UsageError(f"there is no file '{input}'")
    if scope.dry_run:
        report.say(f"DRY-RUN MODE -  Archive {input or 'STDIN'}  Loaded")
        return 0
    scope.require_rights()
    from compose.cli import images_for
    from runtime.image.archive import load
    from runtime.image.store import Store

    with images_for.events(scope, quiet=quiet) as listener:
        scope.places.secure()
        images = load(Store(scope.places.images), Path(input) if input else sys.stdin.buffer, listener)
    from runtime.image.reference import parse

    for image in images:
        for name in image.references:
            report.tell(f"Loaded image: {parse(name).familiar()}")
        if not image.references:
            report.tell(f"Loaded image ID: {image.id}")
    return 0
