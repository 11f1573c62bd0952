"""``pycompose save``: write images of the store into an archive."""

import sys
from pathlib import Path
from typing import Annotated

from compose.cli import report
from compose.cli.options import Argument, Option, Texts
from compose.cli.scope import Scope
from compose.errors import UsageError

FORMATS = ("docker-archive", "oci-archive", "oci-dir", "docker-dir")


def run(
    scope: Scope,
    images: Annotated[Texts, Argument("IMAGE...", at_least=1)],
    *,
    output: Annotated[
        str, Option("-o", "--output", metavar="PATH", help="Write to a file or directory, instead of STDOUT")
    ] = "",
    format: Annotated[
        str,
        Option("--format", metavar="FORMAT", help="Form of the archive", choices=FORMATS),
    ] = "docker-archive",
    compress: Annotated[bool, Option("--compress", help="Compress the layers of a docker-dir")] = False,
    uncompressed: Annotated[
        bool, Option("--uncompressed", help="Leave the layers of an OCI archive or directory plain")
    ] = False,
    quiet: Annotated[bool, Option("-q", "--quiet", help="Don't print progress")] = False,
) -> int:
    """Save images to an archive that docker, podman and skopeo can load"""
    if compress and format != "docker-dir":
        raise UsageError("--compress is for --format docker-dir")
    if uncompressed and not format.startswith("oci"):
        raise UsageError("--uncompressed is for --format oci-archive and oci-dir")
    target = "" if output == "-" else output
    if not target and format.endswith("-dir"):
        raise UsageError(f"{format} is a directory", hint="name it with -o")
    if not target and sys.stdout.isatty():
        raise UsageError("refusing to write an archive to a terminal", hint="use -o FILE, or redirect")
    if scope.dry_run:
        report.say(f"DRY-RUN MODE -  Archive {target or 'STDOUT'}  Saved")
        return 0
    from compose.cli import images_for
    from runtime.image.save import TarSink, save, save_to
    from runtime.image.store import Store

    scope.places.secure()
    store = Store(scope.places.images)
    packed = True if compress else False if uncompressed else None
    with images_for.events(scope, quiet=quiet) as listener:
        if target:
            save_to(store, images, Path(target), form=format, compress=packed, events=listener)
            return 0
        sink = TarSink(sys.stdout.buffer)
        save(store, images, sink, form=format, compress=packed, events=listener)
        sink.close()
    return 0
