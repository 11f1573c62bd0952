"""``pycompose builder prune``: make the cache of builds smaller."""

from typing import Annotated

from compose.cli import report
from compose.cli.options import Argument, Option, Texts
from compose.cli.scope import Scope
from compose.errors import UsageError


def run(
    scope: Scope,
    action: Annotated[str, Argument("prune")],
    *,
    all: Annotated[
        bool, Option("-a", "--all", help="Remove all unused build cache, and downloaded packages")
    ] = False,
    filter: Annotated[
        Texts, Option("--filter", metavar="FILTER", help="until=TIME: only what was not used since")
    ] = (),
    force: Annotated[bool, Option("-f", "--force", help="Do not prompt for confirmation")] = False,
    keep_storage: Annotated[
        str, Option("--keep-storage", metavar="BYTES", help="Amount of disk space to keep for cache")
    ] = "",
) -> int:
    """Remove build cache, the least recently used first"""
    if action != "prune":
        raise UsageError(f"unknown command: builder {action}", hint="there is 'builder prune'")
    from compose.cli import humane
    from compose.cli.prune_filters import wish
    from compose.engine.inventory import used_images
    from compose.load.units import size
    from runtime.image import budget, garbage
    from runtime.image.store import Store

    until = wish(filter).until
    limit = size(keep_storage) if keep_storage else 0 if all or until else budget.read_environment().build
    if scope.dry_run:
        report.say("DRY-RUN MODE -  Build cache  Pruned")
        return 0
    question = "WARNING! This will remove build cache.\nAre you sure you want to continue?"
    if not force and not report.ask(question):
        raise UsageError("builder prune has been cancelled", hint="-f does not ask")
    scope.require_rights()
    scope.places.secure()
    store = Store(scope.places.images)
    steps, freed = garbage.trim(store, limit, keep=used_images(scope.places), until=until)
    if all and until is None:
        from runtime.image.assemble.fetch import trim

        freed += trim(scope.places.data / "cache" / "debian", 0)
    report.tell(f"Removed steps: {steps}")
    report.tell(f"Total reclaimed space: {humane.size(freed)}")
    return 0
