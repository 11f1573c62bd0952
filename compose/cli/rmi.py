"""``pycompose rmi``: remove images of the store by name or id."""

from typing import Annotated

from compose.cli import report
from compose.cli.options import Argument, Option, Texts
from compose.cli.scope import Scope


def run(
    scope: Scope,
    images: Annotated[Texts, Argument("IMAGE...", at_least=1)],
    *,
    force: Annotated[
        bool, Option("-f", "--force", help="Also what has several names; a used image only loses its names")
    ] = False,
) -> int:
    """Remove images that no container uses"""
    from compose.engine.inventory import used_images
    from runtime.errors import ImageError, ImageNotFound
    from runtime.image.errors import ImageInUse
    from runtime.image.store import Store

    if scope.dry_run:
        for name in images:
            report.say(f"DRY-RUN MODE -  Image {name}  Removed")
        return 0
    scope.require_rights()
    scope.places.secure()
    store, code = Store(scope.places.images), 0
    for name in images:
        used = used_images(scope.places)
        try:
            report.put("".join(f"{line}\n" for line in store.remove(name, force=force, in_use=used)))
        except ImageNotFound as failure:
            code = code or (0 if force else 1)
            report.error(failure)
        except ImageInUse as failure:
            code = 1
            found = store.find(name)
            users = used.get(found.id, []) if found else []
            report.error(failure)
            if users:
                report.say("  used by " + ", ".join(sorted(users)))
        except ImageError as failure:
            code = report.error(failure)
    return code
