"""``pycompose commit``: make an image of what a service's container has become."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

from compose.cli import report
from compose.cli.options import Argument, Index, OneService, Option, Texts
from compose.cli.scope import Scope

if TYPE_CHECKING:
    from compose.cli.containers import Container
    from runtime.image.manifest import ImageConfig


def run(
    scope: Scope,
    service: OneService,
    reference: Annotated[str, Argument("[REPOSITORY[:TAG]]")] = "",
    *,
    author: Annotated[str, Option("-a", "--author", metavar="TEXT", help="Author of the image")] = "",
    change: Annotated[
        Texts, Option("-c", "--change", metavar="INSTRUCTION", help="Apply a Dockerfile instruction")
    ] = (),
    index: Index = None,
    message: Annotated[str, Option("-m", "--message", metavar="TEXT", help="Commit message")] = "",
    pause: Annotated[
        bool, Option("-p", "--pause", help="Pause the container meanwhile; --pause=false does not")
    ] = True,
) -> int:
    """Create a new image from a service container's changes"""
    from compose.cli.containers import pick_any
    from runtime.image.reference import parse

    names = [str(parse(reference))] if reference else []
    container = pick_any(scope, service, index)
    if scope.dry_run:
        report.say(f"DRY-RUN MODE -  Container {container.name}  Committed")
        return 0
    scope.require_rights()
    from runtime.build import stubs
    from runtime.build.change import changed
    from runtime.image.rootfs import commit
    from runtime.image.store import Store
    from runtime.image.view import View

    store = Store(scope.places.images)
    base = store.resolve(container.label("image"))
    config = changed(as_it_runs(container, base.config, author), change)
    below = View(base.layers)
    made = stubs.missing([mount.target for mount in container.spec.mounts], below)
    with _held(scope, container, pause=pause):
        image = commit(
            store,
            base,
            container.upper,
            config,
            names,
            message=message,
            clean=lambda copy: stubs.prune(copy, made, below),
        )
    report.tell(image.id)
    return 0


def as_it_runs(container: "Container", base: "ImageConfig", author: str) -> "ImageConfig":
    """The image's configuration with what the container was told: command, environment, user, directory,
    labels.

    An entry point of the file becomes part of the command: the record has both as one. Pure.
    """
    from runtime.image.manifest import heritage
    from schemas.frozen import replace

    spec, size = container.spec, len(base.entrypoint)
    inherited = size > 0 and spec.argv[:size] == base.entrypoint
    own = {k: v for k, v in spec.labels.items() if not k.startswith(("com.docker.compose.", "io.pycompose."))}
    return replace(
        base,
        entrypoint=base.entrypoint if inherited else (),
        cmd=spec.argv[size:] if inherited else spec.argv,
        env=spec.env,
        user=spec.user,
        working_dir=spec.working_dir,
        labels={**heritage(base.labels), **own},
        author=author or base.author,
    )


@contextmanager
def _held(scope: Scope, container: "Container", *, pause: bool) -> Iterator[None]:
    """Freeze the service of a running container while the block runs."""
    from compose.cli.progress import display
    from compose.cli.remote import perform

    if not pause or container.state.status != "running":
        yield
        return
    project, told = scope.identity().name, {"services": [container.service]}
    perform(scope, project, "pause", told, shown=display("quiet"))
    try:
        yield
    finally:
        perform(scope, project, "unpause", told, shown=display("quiet"))
