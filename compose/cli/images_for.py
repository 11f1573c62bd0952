"""Have the images of the wanted services before the supervisor is asked: there, pulled, or built.

Comes in:  the scope, the project, which services, the flags about pulling and building.
Goes out:  image facts by service, JSON-able, as the supervisor takes them; progress on a display.
Not here:  what to pull or build, and doing it (``engine.images``).
"""

import contextlib
from collections.abc import Collection, Iterator
from typing import Any

from compose.cli.progress import display, images
from compose.cli.scope import Scope
from compose.engine.images import ImageOptions, prepare
from compose.model.project import Project
from runtime.image.progress import Events
from runtime.spec import to_json
from schemas.frozen import replace


def options(scope: Scope, *, build: bool = False, no_build: bool = False, pull: str = "") -> ImageOptions:
    """The flags in the words of ``engine.images``; a policy of "policy" or "" leaves it to the file."""
    limit = scope.parallel or 0
    return ImageOptions(
        build=build,
        no_build=no_build,
        pull="" if pull == "policy" else pull,
        assemble={"auto": "auto", "never": "registry", "always": "assemble"}[scope.assemble],
        parallel=limit if limit > 0 else 4,
    )


@contextlib.contextmanager
def events(scope: Scope, *, quiet: bool = False, mute: Collection[str] = ()) -> Iterator[Events]:
    """A listener that shows what happens to images until the block ends; ``mute``: kinds left out."""
    shown = display(scope.progress, quiet=quiet)
    try:
        yield images(shown, mute)
    finally:
        shown.close()


def narrowed(project: Project, wanted: Collection[str]) -> Project:
    """The project with the ``wanted`` services only."""
    return replace(project, services={n: s for n, s in project.services.items() if n in wanted})


def facts(
    scope: Scope,
    project: Project,
    wanted: Collection[str],
    flags: ImageOptions,
    *,
    mute: Collection[str] = (),
) -> dict[str, Any]:
    """Image facts of the ``wanted`` services; gets what is missing."""
    with events(scope, mute=mute) as listener:
        found = prepare(
            narrowed(project, wanted), scope.places, flags, events=listener, known=project.services
        )
    return {name: to_json(one) for name, one in found.items()}
