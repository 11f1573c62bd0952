"""Have every image a project needs: pull what is missing, build what the file builds.

Comes in:  a Project, flags of ``up``, ``pull`` and ``build``, a listener for progress.
Goes out:  ImageFacts by service. Runs in the command itself, not in the supervisor.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from compose.errors import ComposeError
from compose.model.places import Places
from compose.model.project import Project
from compose.model.service import Service
from compose.plan.launch import ImageFacts
from compose.plan.observed import PROJECT, SERVICE
from runtime.errors import ImageNotFound, RuntimeFailure
from runtime.image.manifest import Image
from runtime.image.progress import Events, silent
from runtime.image.store import Store
from schemas.frozen import dataclass

if TYPE_CHECKING:
    from runtime.build.spec import BuildSpec, Secret


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageOptions:
    """Flags about images.

    build:    build every service that can be built (``--build``). no_build: never build.
    pull:     "", "always", "missing", "never" or "build", over each service's ``pull_policy``.
    assemble: "auto", "registry" (never assemble) or "assemble" (never ask a registry).
    parallel: downloads at a time.
    """

    build: bool = False
    no_build: bool = False
    pull: str = ""
    assemble: str = "auto"
    parallel: int = 4


def image_name(project: Project, service: Service) -> str:
    """``image`` of the file, else the name a build gets: ``<project>-<service>``."""
    return service.image or f"{project.name}-{service.name}"


def prepare(
    project: Project,
    places: Places,
    options: ImageOptions | None = None,
    *,
    events: Events = silent,
) -> dict[str, ImageFacts]:
    """Have the image of every service of ``project`` in the store; pull and build what has to be.

    Returns the facts by service. Raises ImageError (also BuildFailed, ImageNotFound, RegistryError).
    """
    wanted = options or ImageOptions()
    places.secure()
    store = Store(places.images)
    images: dict[str, Image] = {}
    to_pull: dict[str, list[str]] = {}
    to_build: list[Service] = []
    for service in project.services.values():
        name = image_name(project, service)
        found = store.find(name)
        action = decide(service, found is not None, wanted)
        if action == "build":
            to_build.append(service)
        elif action == "pull":
            to_pull.setdefault(name, []).append(service.name)
        elif found is None:
            raise ImageNotFound(
                f"no image '{name}' here for service '{service.name}', and its policy forbids to get it",
                hint="'pycompose pull' or 'pycompose build' gets it",
            )
        else:
            images[service.name] = found
    for name, services in pull_all(places, store, list(to_pull), wanted, events).items():
        images.update(dict.fromkeys(to_pull[name], services))
    images.update(build_all(project, places, store, to_build, BuildFlags(assemble=wanted.assemble), events))
    return {name: facts_of(images[name], image_name(project, s)) for name, s in project.services.items()}


def decide(service: Service, there: bool, options: ImageOptions) -> str:
    """What has to be done for one service: "build", "pull" or "" (use what is there). Pure.

    Source: Compose Specification, pull_policy; docker compose builds what has ``build`` and no policy.
    """
    policy = {"if_not_present": "missing"}.get(
        options.pull or service.pull_policy, options.pull or service.pull_policy
    )
    if service.build is not None and not options.no_build:
        if options.build or policy == "build" or (not there and policy in ("", "missing", "never")):
            return "build"
        if policy in ("", "missing", "never"):
            return ""
    if policy == "never":
        return ""
    return "pull" if policy == "always" or not there else ""


def pull_all(
    places: Places, store: Store, names: Sequence[str], options: ImageOptions, events: Events
) -> dict[str, Image]:
    """Pull several references side by side. Raises ImageError; Several when more than one failed."""
    if not names:
        return {}
    from concurrent.futures import ThreadPoolExecutor

    from runtime.build import Runner
    from runtime.image.pull import pull

    def one(name: str) -> Image:
        return pull(store, name, policy=options.assemble, runner=Runner(), events=events)

    with ThreadPoolExecutor(max(1, options.parallel)) as pool:
        futures = {name: pool.submit(one, name) for name in names}
    images: dict[str, Image] = {}
    failures: list[RuntimeFailure] = []
    for name, future in futures.items():
        try:
            images[name] = future.result()
        except RuntimeFailure as error:
            failures.append(error)
    if failures:
        raise failures[0] if len(failures) == 1 else ExceptionGroup("several images", failures)
    return images


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildFlags:
    """Flags of ``build``. args: over those of the file."""

    args: Mapping[str, str | None] | None = None
    no_cache: bool = False
    pull: bool = False
    assemble: str = "auto"


def build_all(
    project: Project,
    places: Places,
    store: Store,
    services: Sequence[Service],
    flags: BuildFlags,
    events: Events,
) -> dict[str, Image]:
    """Build the images of ``services``, those first that others take as ``service:`` context."""
    if not services:
        return {}
    from netns.network import build_network
    from runtime.build import build

    images: dict[str, Image] = {}
    for service in build_order(services):
        spec = build_spec(project, service, flags, images, os.environ)
        images[service.name] = build(store, spec, connect=lambda: build_network(places.run), events=events)
    _trim(places, store)
    return images


def _trim(places: Places, store: Store) -> None:
    """Keep the cache of builds within its budget; what any container uses stays."""
    from compose.engine.inventory import used_images
    from runtime.image import budget, garbage

    garbage.trim(store, budget.read(os.environ).build, keep=used_images(places))


def build_spec(
    project: Project,
    service: Service,
    flags: BuildFlags,
    built: Mapping[str, Image],
    environment: Mapping[str, str],
) -> BuildSpec:
    """``build:`` of one service in the words of ``runtime.build``; ``built`` are images made before it."""
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
        secrets={(mount.target or mount.source): _secret(project, mount.source) for mount in told.secrets},
        ssh={"default": environment["SSH_AUTH_SOCK"]} if told.ssh and "SSH_AUTH_SOCK" in environment else {},
        extra_hosts=tuple(text.replace("=", ":", 1) for text in told.extra_hosts),
        shm_size=told.shm_size,
        ulimits=tuple(Ulimit(name=n, soft=u.soft, hard=u.hard) for n, u in told.ulimits.items()),
        additional_contexts={n: _context(value, built) for n, value in told.additional_contexts.items()},
        platform=(told.platforms[0] if told.platforms else "") or service.platform,
        privileged=told.privileged,
        environment=dict(environment),
        name=service.name,
    )


def _resolved(args: Mapping[str, str | None], environment: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Arguments with their values; one without takes the caller's, or is left out."""
    for name, value in args.items():
        found = environment.get(name) if value is None else value
        if found is not None:
            yield name, found


def _context(value: str, built: Mapping[str, Image]) -> str:
    name = value.removeprefix("service:")
    if name == value:
        return value
    if name not in built:
        raise ComposeError(f"build context 'service:{name}' names a service that is not built")
    return f"docker-image://{built[name].id}"


def _secret(project: Project, key: str) -> Secret:
    from runtime.build.spec import Secret

    item = project.secrets[key]
    return Secret(file=item.file) if item.file else Secret(value=(item.content or "").encode())


def build_order(services: Sequence[Service]) -> list[Service]:
    """Services in the order of the file, each after those its additional contexts name. Pure."""
    table = {service.name: service for service in services}
    ordered: list[Service] = []

    def visit(service: Service, trail: tuple[str, ...]) -> None:
        if service in ordered:
            return
        if service.name in trail:
            raise ComposeError(f"builds need each other: {' -> '.join((*trail, service.name))}")
        for name in _contexts(service):
            if name in table:
                visit(table[name], (*trail, service.name))
        ordered.append(service)

    for service in services:
        visit(service, ())
    return ordered


def _contexts(service: Service) -> list[str]:
    values = service.build.additional_contexts.values() if service.build else ()
    return [value.removeprefix("service:") for value in values if value.startswith("service:")]


def facts_of(image: Image, name: str) -> ImageFacts:
    """What the supervisor has to know of an image."""
    config = image.config
    check = config.healthcheck
    numbers: dict[str, float] = {}
    if check is not None:
        numbers = {
            "interval": check.interval,
            "timeout": check.timeout,
            "retries": check.retries,
            "start_period": check.start_period,
            "start_interval": check.start_interval,
        }
    return ImageFacts(
        id=image.id,
        name=name,
        layers=tuple(str(layer) for layer in image.layers),
        env=config.env,
        entrypoint=config.entrypoint,
        cmd=config.cmd,
        user=config.user,
        working_dir=config.working_dir,
        volumes=config.volumes,
        exposed_ports=config.exposed_ports,
        stop_signal=config.stop_signal,
        health_test=check.test if check else (),
        health=numbers,
        labels=config.labels,
    )
