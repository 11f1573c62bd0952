"""Build the images of services: in the order they need each other, side by side where they do not.

Comes in:  a Project, the services to build, flags of ``build``, a listener for progress.
Goes out:  Images by service.
Not here:  building one (``runtime.build``), what has to be built (``engine.images``).
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING

from compose.errors import ComposeError
from compose.model.places import Places
from compose.model.project import Project
from compose.model.service import Build, FileMount, Service
from compose.plan.building import OTHERS, closure, needs
from compose.plan.observed import PROJECT, SERVICE
from runtime.image.manifest import Image, host_platform
from runtime.image.progress import Events, Progress
from runtime.image.store import Store
from schemas.frozen import dataclass

if TYPE_CHECKING:
    from concurrent.futures import Future

    from runtime.build import BuildSpec, Halt, Secret


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildFlags:
    """Flags of ``build``. args: over those of the file. ssh: beside those of the file. memory: bytes, of each
    RUN. parallel: builds at a time, 0 for no limit."""

    args: Mapping[str, str | None] | None = None
    no_cache: bool = False
    pull: bool = False
    assemble: str = "auto"
    ssh: tuple[str, ...] = ()
    memory: int | None = None
    parallel: int = 0


def image_name(project: Project, service: Service) -> str:
    """``image`` of the file, else the name a build gets: ``<project>-<service>``."""
    return service.image or f"{project.name}-{service.name}"


def build_all(
    project: Project,
    places: Places,
    store: Store,
    services: Sequence[Service],
    flags: BuildFlags,
    events: Events,
    *,
    known: Mapping[str, Service] | None = None,
) -> dict[str, Image]:
    """Build the images of ``services`` and of those whose image they take as a context.

    known: where those are looked for, by default the project. The first failure stops the others.
    Raises BuildFailed, ImageError, ComposeError.
    """
    if not services:
        return {}
    from runtime.build import Halt

    chosen = closure(services, known or project.services)
    with Halt() as halt:
        images = _Builds(project, places, store, flags, _one_at_a_time(events), halt).all(chosen)
    _trim(places, store)
    return images


def _one_at_a_time(events: Events) -> Events:
    lock = threading.Lock()

    def tell(event: Progress) -> None:
        with lock:
            events(event)

    return tell


class _Builds:
    """Builds that run at once; one that needs another's image waits for it."""

    def __init__(
        self, project: Project, places: Places, store: Store, flags: BuildFlags, events: Events, halt: Halt
    ) -> None:
        self.project, self.places, self.store = project, places, store
        self.flags, self.events, self.halt = flags, events, halt
        self._images: dict[str, Future[Image]] = {}

    def all(self, chosen: Sequence[Service]) -> dict[str, Image]:
        """Every image; ``chosen`` in such an order that none needs a later one."""
        from concurrent.futures import ThreadPoolExecutor

        from runtime.build.crew import patiently

        with ThreadPoolExecutor(self.flags.parallel or len(chosen), thread_name_prefix="build") as pool:
            try:
                for service in chosen:
                    self._images[service.name] = pool.submit(self._one, service)
                return {name: future.result() for name, future in self._images.items()}
            except BaseException:
                self.halt.set()
                patiently(lambda: pool.shutdown(cancel_futures=True))
                self._raise_first()
                raise

    def _raise_first(self) -> None:
        """Of several failures, the one that is not only a consequence."""
        from runtime.build.halt import Halted

        errors = [f.exception() for f in self._images.values() if f.done() and not f.cancelled()]
        for error in errors:
            if error is not None and not isinstance(error, Halted):
                raise error

    def _one(self, service: Service) -> Image:
        from runtime.build import build

        built = {name: self._images[name].result() for name in needs(service) if name in self._images}
        self.halt.check()
        spec = build_spec(self.project, service, self.flags, built, os.environ, self.places)
        name = image_name(self.project, service)
        self.events(Progress(kind="image", id=name, text="Building"))
        try:
            image = build(
                self.store,
                spec,
                connect=self._network,
                events=self.events,
                halt=self.halt,
            )
        except BaseException:
            self.halt.set()
            self.events(Progress(kind="image", id=name, text="Error"))
            raise
        self.events(Progress(kind="image", id=name, text="Built"))
        return image

    def _network(self) -> AbstractContextManager[Callable[[Path], None]]:
        """What plugs the RUNs of one build in; heavy, so it is there only when a RUN needs it."""
        from netns.network import build_network

        return build_network(self.places.run)


def check_all(
    project: Project, places: Places, store: Store, services: Sequence[Service], flags: BuildFlags
) -> Iterator[tuple[str, str, bool]]:
    """Look at the Dockerfile of each service: its name, the report, whether there is nothing to say."""
    from runtime.build.lint import check

    for service in services:
        built = {name: found for name in needs(service) if (found := _here(project, store, name)) is not None}
        spec = build_spec(project, service, flags, built, os.environ, places, lenient=True)
        yield (service.name, *check(store, spec))


def _here(project: Project, store: Store, name: str) -> Image | None:
    other = project.services.get(name)
    return store.find(image_name(project, other)) if other else None


def _trim(places: Places, store: Store) -> None:
    """Keep the cache of builds within its budget; what any container uses stays."""
    from compose.engine.inventory import used_images
    from runtime.image import budget, garbage

    garbage.trim(store, budget.read(os.environ).build, keep=used_images(places))


# --- one build


def build_spec(
    project: Project,
    service: Service,
    flags: BuildFlags,
    built: Mapping[str, Image],
    environment: Mapping[str, str],
    places: Places | None = None,
    *,
    lenient: bool = False,
) -> BuildSpec:
    """``build:`` of one service in the words of ``runtime.build``; ``built`` are images made before it.

    lenient: nothing will be built, so agents and images that are not there do not matter.
    Raises ComposeError.
    """
    from runtime.build.spec import BuildSpec
    from runtime.spec import Ulimit

    told = service.build
    assert told is not None
    args = {**told.args, **(flags.args or {})}
    return BuildSpec(
        context=told.context,
        dockerfile=told.dockerfile,
        dockerfile_text=told.dockerfile_inline,
        args=dict(_resolved(args, environment)),
        target=told.target,
        tags=(image_name(project, service), *told.tags),
        labels={**told.labels, PROJECT: project.name, SERVICE: service.name},
        network=told.network,
        no_cache=told.no_cache or flags.no_cache,
        no_cache_filter=told.no_cache_filter,
        pull=told.pull or flags.pull,
        pull_policy=flags.assemble,
        secrets={(mount.target or mount.source): _secret(project, mount) for mount in told.secrets},
        ssh={}
        if lenient
        else dict(_agent(text, environment, project.working_dir) for text in (*told.ssh, *flags.ssh)),
        extra_hosts=tuple(text.replace("=", ":", 1) for text in told.extra_hosts),
        shm_size=told.shm_size,
        memory=flags.memory,
        ulimits=tuple(Ulimit(name=n, soft=u.soft, hard=u.hard) for n, u in told.ulimits.items()),
        additional_contexts={
            name: _context(value, built)
            for name, value in told.additional_contexts.items()
            if not lenient or value.partition(":")[2] in built or not value.startswith(OTHERS)
        },
        platform=platform_of(told, service),
        privileged=told.privileged,
        entitlements=told.entitlements,
        cache_from=tuple(_placed(text, "src", project.working_dir) for text in told.cache_from),
        cache_to=tuple(_placed(text, "dest", project.working_dir) for text in told.cache_to),
        environment=dict(environment),
        name=service.name,
        volatile=str(places.run) if places else "",
    )


def platform_of(told: Build, service: Service) -> str:
    """The platform to build for: this machine's where it is among those asked for."""
    wanted = told.platforms or ((service.platform,) if service.platform else ())
    host = host_platform()
    mine = next((text for text in wanted if text == host or text.startswith(f"{host}/")), None)
    return host if mine else (wanted[0] if wanted else "")


def _resolved(args: Mapping[str, str | None], environment: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Arguments with their values; one without takes the caller's, or is left out."""
    for name, value in args.items():
        found = environment.get(name) if value is None else value
        if found is not None:
            yield name, found


def _context(value: str, built: Mapping[str, Image]) -> str:
    kind, _, name = value.partition(":")
    if kind not in ("service", "target"):
        return value
    if name not in built:
        raise ComposeError(f"build context '{value}' names a service that is not built")
    return f"docker-image://{built[name].id}"


def _secret(project: Project, mount: FileMount) -> Secret:
    from runtime.build.spec import Secret

    item = project.secrets[mount.source]
    owner = {
        "uid": int(mount.uid) if mount.uid.isdigit() else None,
        "gid": int(mount.gid) if mount.gid.isdigit() else None,
    }
    value = None if item.file else (item.content or "").encode()
    return Secret(file=item.file, value=value, mode=mount.mode, **owner)


def _agent(text: str, environment: Mapping[str, str], home: str) -> tuple[str, str]:
    """``default`` or ``id=path``; an id alone is the caller's agent. Raises ComposeError when it has none."""
    name, _, path = text.partition("=")
    found = path or environment.get("SSH_AUTH_SOCK", "")
    if not found:
        raise ComposeError(
            f"the build wants the ssh agent '{name}', and SSH_AUTH_SOCK is not set",
            hint="start one with 'eval $(ssh-agent)', or name a key: 'default=/path/to/key'",
        )
    return name, os.path.normpath(f"{home}/{found}") if not found.startswith("/") else found


def _placed(text: str, key: str, home: str) -> str:
    """``type=local,src=dir`` with the directory seen from the project's."""
    parts = [part.partition("=") for part in text.split(",")]
    return ",".join(
        f"{name}={os.path.normpath(f'{home}/{value}')}" if name == key and not value.startswith("/") else
        f"{name}{equals}{value}"
        for name, equals, value in parts
    )  # fmt: skip
