"""Have every image a project needs: pull what is missing, build what the file builds.

Comes in:  a Project, flags of ``up``, ``pull`` and ``build``, a listener for progress.
Goes out:  ImageFacts by service. Runs in the command itself, not in the supervisor.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping, Sequence

from compose.engine import policy
from compose.engine.builds import BuildFlags, build_all, image_name
from compose.engine.policy import Decision
from compose.model.places import Places
from compose.model.project import Project
from compose.model.service import Service
from compose.plan.launch import ImageFacts
from runtime.errors import ImageNotFound, RuntimeFailure
from runtime.image.manifest import Image
from runtime.image.progress import Events, silent
from runtime.image.reference import parse
from runtime.image.store import Store
from schemas.frozen import dataclass, replace


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageOptions:
    """Flags about images.

    build:    build every service that can be built (``--build``). no_build: never build.
    pull:     "" or a policy that comes over each service's ``pull_policy``.
    assemble: "auto", "registry" (never assemble) or "assemble" (never ask a registry).
    parallel: downloads at a time.
    """

    build: bool = False
    no_build: bool = False
    pull: str = ""
    assemble: str = "auto"
    parallel: int = 4


def prepare(
    project: Project,
    places: Places,
    options: ImageOptions | None = None,
    *,
    events: Events = silent,
    known: Mapping[str, Service] | None = None,
) -> dict[str, ImageFacts]:
    """Have the image of every service of ``project`` in the store; pull and build what has to be.

    known: services whose images builds may take as a context, by default those of ``project``.
    Returns the facts by service; until this process ends nobody removes these images, as containers are
    about to have them. Raises ImageError (also BuildFailed, ImageNotFound, RegistryError).
    """
    wanted = options or ImageOptions()
    places.secure()
    store = Store(places.images)
    services = [service for service in project.services.values() if service.provider is None]
    policies = {s.name: policy.effective(s, wanted.pull, build=wanted.build) for s in services}

    def decision(service: Service, *, pulled: bool = False) -> Decision:
        name = image_name(project, service)
        return policy.decide(
            service,
            policies[service.name],
            here=local(store, name, service.platform) is not None,
            looked=store.index.named_at(str(parse(name))),
            now=time.time(),
            no_build=wanted.no_build,
            pulled=pulled,
        )

    to_pull = [service for service in services if decision(service) is Decision.PULL]
    pulled, failed = pull_all(store, to_pull, buildable(project), wanted, events)
    decisions = {service.name: decision(service, pulled=True) for service in services}
    to_build = [service for service in services if decisions[service.name] is Decision.BUILD]
    made_here = {image_name(project, service) for service in to_build}
    for service in services:
        name = image_name(project, service)
        if decisions[service.name] is Decision.REFUSE and name not in made_here:
            raise failed.get(service.name) or missing(name, service, wanted)
    flags = BuildFlags(assemble=wanted.assemble)
    images = pulled | build_all(project, places, store, to_build, flags, events, known=known)
    for service in services:
        if service.name not in images:
            name = image_name(project, service)
            found = local(store, name, service.platform)
            if found is None:  # built for another platform than this service wants
                raise missing(name, service, wanted)
            images[service.name] = found
    extra = _mounted(store, services, wanted, events)
    store.hold(image.id for image in (*images.values(), *extra.values()))
    facts = {s.name: facts_of(images[s.name], image_name(project, s)) for s in services}
    if not extra:
        return facts
    return {s.name: replace(facts[s.name], mounted=_of_service(s, extra)) for s in services}


def _mounted(
    store: Store, services: Sequence[Service], options: ImageOptions, events: Events
) -> dict[str, Image]:
    """The images that ``services`` mount, by name; those that are not here are pulled."""
    names = {mount.source for s in services for mount in s.volumes if mount.type == "image"}
    found = {name: image for name in sorted(names) if (image := local(store, name, "")) is not None}
    if names - found.keys():
        from compose.engine.registries import Wanted, pull_each

        wanted = [Wanted(name) for name in sorted(names - found.keys())]
        outcome = pull_each(
            store, wanted, assemble=options.assemble, parallel=options.parallel, events=events
        )
        outcome.check()
        found.update((one.name, image) for one, image in outcome.done.items())
    return found


def _of_service(service: Service, images: Mapping[str, Image]) -> dict[str, tuple[str, ...]]:
    """Id and layers of what ``service`` mounts."""
    mounted = [images[mount.source] for mount in service.volumes if mount.type == "image"]
    names = [mount.source for mount in service.volumes if mount.type == "image"]
    return {n: (image.id, *map(str, image.layers)) for n, image in zip(names, mounted, strict=True)}


def local(store: Store, name: str, platform: str) -> Image | None:
    """The image of that name in the store, when it is for ``platform`` ("" for any)."""
    found = store.find(name)
    if found is None or not platform:
        return found
    from runtime.image.pull import fits

    return found if fits(found, platform) else None


def buildable(project: Project) -> frozenset[str]:
    """Images that some service of the project builds: a pull of them may fail."""
    return frozenset(image_name(project, s) for s in project.services.values() if s.build is not None)


def push_names(service: Service) -> list[str]:
    """The names that ``push`` and ``build --push`` send: ``image`` and the ``tags`` of a build.

    None for a service without both, as with docker compose: its image belongs to others, or has no registry.
    """
    if service.build is None or not service.image:
        return []
    return list(dict.fromkeys((service.image, *service.build.tags)))


def missing(name: str, service: Service, options: ImageOptions) -> ImageNotFound:
    """The error for an image that is not here and must not be got."""
    if service.build is not None and options.no_build:
        return ImageNotFound(
            f"no image '{name}' here for service '{service.name}', and --no-build forbids to make it",
            hint="'pycompose build' makes it",
        )
    return ImageNotFound(
        f"no image '{name}' here for service '{service.name}', and its policy forbids to get it",
        hint="'pycompose pull' or 'pycompose build' gets it",
    )


def pull_all(
    store: Store,
    services: Sequence[Service],
    buildable: Collection[str],
    options: ImageOptions,
    events: Events,
) -> tuple[dict[str, Image], dict[str, RuntimeFailure]]:
    """Pull the images of ``services`` side by side; gives them, and what could not be pulled, by service.

    buildable: images whose pull may fail, and that are never assembled. Raises ImageError for another, or a
    group when more than one failed.
    """
    if not services:
        return {}, {}
    from compose.engine.registries import Wanted, pull_each

    wanted = {service.name: Wanted(service.image, service.platform) for service in services}
    outcome = pull_each(
        store,
        list(wanted.values()),
        optional=buildable,
        assemble=options.assemble,
        parallel=options.parallel,
        events=events,
    )
    outcome.check([item for item in outcome.failed if item.name in buildable])
    done = {name: outcome.done[item] for name, item in wanted.items() if item in outcome.done}
    return done, {name: outcome.failed[item] for name, item in wanted.items() if item in outcome.failed}


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
