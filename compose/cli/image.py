"""``pycompose image ls|rm|prune``: the images of the store, whatever project they are for."""

from typing import Annotated

from compose.cli import report
from compose.cli.options import Argument, Option, Texts
from compose.cli.scope import Scope
from compose.errors import UsageError

ACTIONS = ("ls", "rm", "prune")


def run(
    scope: Scope,
    action: Annotated[str, Argument("ls|rm|prune")],
    images: Annotated[Texts, Argument("[IMAGE...]")] = (),
    *,
    all: Annotated[
        bool, Option("-a", "--all", help="prune: every unused image, not just those without a name")
    ] = False,
    filter: Annotated[
        Texts, Option("--filter", metavar="FILTER", help="prune: until=TIME, label=KEY[=VALUE], label!=...")
    ] = (),
    force: Annotated[
        bool, Option("-f", "--force", help="prune: do not ask. rm: also what has several names")
    ] = False,
    format: Annotated[
        str, Option("--format", metavar="FORMAT", help="ls: format the output", choices=("table", "json"))
    ] = "table",
    quiet: Annotated[bool, Option("-q", "--quiet", help="ls: only display IDs")] = False,
) -> int:
    """List, remove or prune images of the store"""
    if action == "ls":
        from compose.cli.images import whole_store

        return whole_store(scope, format=format, quiet=quiet)
    if action == "rm":
        from compose.cli.rmi import run as remove

        if not images:
            raise UsageError("requires at least 1 IMAGE", hint="pycompose image rm IMAGE")
        return remove(scope, images, force=force)
    if action == "prune":
        if images:
            raise UsageError("image prune takes no names", hint="'image rm' removes by name")
        return prune(scope, all=all, filters=filter, force=force)
    raise UsageError(f"unknown command: image {action}", hint="one of " + ", ".join(ACTIONS))


def prune_dangling(scope: Scope) -> None:
    """Remove images that lost their name to a newer build and that no container has."""
    from compose.cli.prune_filters import wish
    from compose.engine.inventory import used_images
    from runtime.image import garbage
    from runtime.image.store import Store

    garbage.prune(Store(scope.places.images), wish((), all=False), used_images(scope.places))


def prune(scope: Scope, *, all: bool, filters: Texts, force: bool) -> int:
    """Remove images that no container has; ask before, where there is somebody to ask."""
    from compose.cli import humane
    from compose.cli.prune_filters import wish
    from compose.engine.inventory import used_images
    from runtime.image import garbage
    from runtime.image.store import Store

    wanted = wish(filters, all=all)
    if scope.dry_run:
        store = Store(scope.places.images)
        for image in garbage.choose(store.images(), wanted, used_images(scope.places)):
            report.say(f"DRY-RUN MODE -  Image {(*image.references, image.id)[0]}  Removed")
        return 0
    which = "all images without at least one container associated to them" if all else "all dangling images"
    if not force and not report.ask(
        f"WARNING! This will remove {which}.\nAre you sure you want to continue?"
    ):
        raise UsageError("image prune has been cancelled", hint="-f does not ask")
    scope.require_rights()
    scope.places.secure()
    store = Store(scope.places.images)
    lines, freed = garbage.prune(store, wanted, used_images(scope.places))
    if lines:
        report.put("Deleted Images:\n" + "\n".join(lines) + "\n\n")
    report.tell(f"Total reclaimed space: {humane.size(freed)}")
    return 0
