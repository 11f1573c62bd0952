"""``pycompose import``: make an image of a tar of a root file system."""

import sys
from pathlib import Path
from typing import Annotated

from compose.cli import report
from compose.cli.options import Argument, Option, Texts
from compose.cli.scope import Scope
from compose.errors import UsageError


def run(
    scope: Scope,
    file: Annotated[str, Argument("FILE|-")],
    reference: Annotated[str, Argument("[REPOSITORY[:TAG]]")] = "",
    *,
    change: Annotated[
        Texts, Option("-c", "--change", metavar="INSTRUCTION", help="Apply a Dockerfile instruction")
    ] = (),
    message: Annotated[str, Option("-m", "--message", metavar="TEXT", help="Set a commit message")] = "",
) -> int:
    """Make an image from a tarball of a root file system"""
    if file != "-" and not Path(file).is_file():
        hint = "download it first" if "://" in file else ""
        raise UsageError(f"there is no file '{file}'", hint=hint)
    if file == "-" and sys.stdin.isatty():
        raise UsageError("nothing to import from the terminal", hint="name a file, or use '<'")
    if scope.dry_run:
        report.say(f"DRY-RUN MODE -  Archive {file}  Imported")
        return 0
    from runtime.build.change import changed
    from runtime.image.manifest import ImageConfig, host_platform
    from runtime.image.reference import parse
    from runtime.image.rootfs import adopt
    from runtime.image.store import Store

    names = [str(parse(reference))] if reference else []
    config = changed(ImageConfig(architecture=host_platform().partition("/")[2]), change)
    scope.require_rights()
    scope.places.secure()
    store = Store(scope.places.images)
    said = message or f"Imported from {file}"
    if file == "-":
        image = adopt(store, sys.stdin.buffer, config, names, message=said)
    else:
        with open(file, "rb") as stream:
            image = adopt(store, stream, config, names, message=said)
    report.tell(image.id)
    return 0
