"""Build an image from a Dockerfile: the stages it needs, side by side, each from the cache as far as it goes.

Comes in:  a BuildSpec, a Store, how to plug a network in.
Goes out:  an Image in the store, named by the tags.
Not here:  the language (image.dockerfile), one stage (stage), the cache of steps (cache).

A layer is never compressed here: the directory a step filled is renamed into the store. ADR 0032.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from runtime.build import exchange, stages
from runtime.build.agents import Agents
from runtime.build.cache import Cache
from runtime.build.contexts import Contexts
from runtime.build.crew import Crew
from runtime.build.digests import Digests
from runtime.build.exchange import Caches
from runtime.build.git import Git
from runtime.build.halt import Halt
from runtime.build.notes import Notes
from runtime.build.remote import Downloads
from runtime.build.running import Shell
from runtime.build.sources import Sources
from runtime.build.spec import BuildSpec
from runtime.build.stage import Desk, StageBuild, placed
from runtime.build.stages import Stage
from runtime.build.state import State
from runtime.build.times import EPOCH, iso, source_date
from runtime.errors import BuildFailed
from runtime.image.dockerfile.errors import DockerfileInvalid
from runtime.image.dockerfile.instruction import Dockerfile
from runtime.image.dockerfile.lint import lint
from runtime.image.dockerfile.parse import parse
from runtime.image.manifest import Image, host_platform
from runtime.image.progress import Events, Progress, silent
from runtime.image.store import Store
from schemas.frozen import replace

if TYPE_CHECKING:
    from runtime.build.run import Connect

Network = Callable[[], AbstractContextManager[Callable[[Path], None]]]


def build(
    store: Store,
    spec: BuildSpec,
    *,
    connect: Network | None = None,
    events: Events = silent,
    halt: Halt | None = None,
) -> Image:
    """Build ``spec`` and give the image.

    connect: called at the first RUN that needs a network of its own; what it gives plugs a network namespace
             in. None: RUN uses the host's network.
    events:  called by one thread at a time, though not always by the same.
    halt:    ends the build when it is set by another thread.
    Raises BuildFailed (DockerfileInvalid for the file itself), ImageError, OSError. Nothing half-made is
    left.
    """
    with ExitStack() as held:
        held.enter_context(store.using())
        store.sweep()
        room = held.enter_context(store.ingest())
        stop = halt or held.enter_context(Halt())
        notes = held.enter_context(Notes(store.root / "build.db"))
        return _Build(store, spec, connect, _in_turn(events, stop), held, room, stop, notes).image()


def with_epoch(spec: BuildSpec) -> BuildSpec:
    """SOURCE_DATE_EPOCH of the caller is an argument of the build, as with buildx. Pure."""
    told = spec.environment.get(EPOCH, "")
    return replace(spec, args={EPOCH: told, **spec.args}) if told else spec


def _in_turn(events: Events, halt: Halt) -> Events:
    """Let the stages speak one at a time; whoever speaks after the order to stop is stopped."""
    lock = threading.Lock()

    def tell(event: Progress) -> None:
        with lock:
            events(event)
        if event.kind in ("layer", "image"):  # in the middle of a download, which knows nothing of the order
            halt.check()

    return tell


class _Build:
    """One run of ``build``."""

    def __init__(
        self, store: Store, spec: BuildSpec, connect: Network | None, events: Events, held: ExitStack,
        room: Path, halt: Halt, notes: Notes,
    ) -> None:  # fmt: skip
        self.store, self.spec, self.events = store, with_epoch(spec), events
        self._network, self._held, self._room, self._halt, self._notes = connect, held, room, halt, notes
        self._images: dict[str, Future[Image]] = {}
        self._lock = threading.Lock()
        self._agents = Agents(spec.ssh, spec.volatile, held)
        self._git = Git(spec.environment, halt, lambda: self._agents.socket("default"))
        self._downloads = Downloads(notes, halt, room)
        held.callback(self._downloads.close)
        self._contexts = Contexts(store, self._git, self._downloads, events, room)
        self._digests = Digests(notes)
        self._file = spec.dockerfile if not spec.dockerfile_text else "Dockerfile"

    # --- the road

    def image(self) -> Image:
        """Everything."""
        if self.spec.platform not in ("", host_platform()):
            raise BuildFailed(
                f"cannot build for {self.spec.platform} on {host_platform()}",
                hint="a foreign platform needs its emulator (binfmt_misc), which is not used here",
            )
        text = self._text()
        parsed = parse(text, self._file)
        every, outer, wanted = self._stages(parsed)
        warnings = self._check(text)
        crew = Crew(lambda number: StageBuild(desk, every[number]).state(), self._halt)
        with Caches(self.store, self.spec, self.events, self._room) as caches:
            desk = self._desk(parsed, every, outer, crew, caches)
            try:
                crew.run([stage.number for stage in wanted])
            finally:
                self._digests.keep()
            last = wanted[-1]
            image = self._finish(desk, crew.result(last.number))
            self.store.index.touch_steps(desk.cache.used)
            caches.export(image, desk.cache.used)
        for warning in warnings:
            head = f"[{self.spec.name}] " if self.spec.name else ""
            self.events(Progress(kind="note", text=f"{head}WARN: {warning}"))
        return image

    def _text(self) -> str:
        return stages.dockerfile_text(self._contexts.directory(self.spec.context), self.spec)

    def _check(self, text: str) -> list[str]:
        """Mistakes that are allowed, one line each. Raises BuildFailed where the file asks for that."""
        report = lint(
            text, file=self._file, args=self.spec.args, target=self.spec.target, platform=self.spec.platform
        )
        if report.violation():
            raise BuildFailed(report.violation(), hint="'build --check' shows them")
        return [f"{found.rule}: {found.message} (line {found.line})" for found in report.findings]

    def _stages(self, parsed: Dockerfile) -> tuple[list[Stage], dict[str, str], list[Stage]]:
        """All stages, the global arguments, and the stages that are needed."""
        try:
            found, outer = stages.split_stages(parsed, self.spec.args, self.spec.platform)
            every = stages.replaced(found, self.spec.additional_contexts)
            return every, outer, stages.needed(every, self.spec.target)
        except DockerfileInvalid as error:
            raise placed(error, error.line, self._file) from error

    def _desk(
        self,
        parsed: Dockerfile,
        every: list[Stage],
        outer: dict[str, str],
        crew: Crew,
        caches: exchange.Caches,
    ) -> Desk:
        spec, epoch = self.spec, source_date(self.spec.args)
        place = [spec.context, spec.dockerfile, spec.name, *spec.tags[:1]]
        if spec.dockerfile_text:
            place[1] = "inline"
        return Desk(
            store=self.store, spec=spec, file=self._file, escape=parsed.escape, outer=outer, all=every,
            cache=Cache(
                self.store, self._notes, self.events, self._halt, self._room,
                place=hashlib.sha256("\0".join(place).encode()).hexdigest(), epoch=epoch, elsewhere=caches,
            ),
            sources=Sources(
                spec, every, lambda stage: list(self.store.stack(crew.result(stage.number).layers)),
                self._image, self._contexts, self._downloads, self._git, self._digests, self._room,
            ),
            shell=Shell(spec, self._plug if self._network else None, self._agents),
            halt=self._halt, events=self.events, image=self._image,
            done=lambda stage: crew.result(stage.number), epoch=epoch,
        )  # fmt: skip

    def _finish(self, desk: Desk, state: State) -> Image:
        if self.spec.labels:
            state.change(labels={**state.config.labels, **self.spec.labels})
        moment = state.when if desk.epoch is None else desk.epoch
        state.change(created=iso(moment) if moment else "")
        if exchange.inline(self.spec):
            state.change(history=exchange.keyed(state.config.history, state.layers, desk.cache.used))
        return self.store.put_image(state.config, state.layers, self.spec.tags)

    # --- what stages share

    def _image(self, reference: str) -> Image:
        """The image ``reference``; stages that need the same one wait for one pull of it."""
        with self._lock:
            first = reference not in self._images
            future = self._images.setdefault(reference, Future())
        if first:
            try:
                future.set_result(self._get(reference))
            except BaseException as error:
                future.set_exception(error)
        return future.result()

    def _get(self, reference: str) -> Image:
        if not self.spec.pull and (found := self.store.find(reference)) is not None:
            return found
        from runtime.build.run import Runner  # heavy, like pull, and not needed by a build out of the cache
        from runtime.image.pull import pull

        return pull(
            self.store,
            reference,
            policy=self.spec.pull_policy,
            refresh=self.spec.pull,
            runner=Runner(self._halt.fd),
            events=self.events,
        )

    def _plug(self) -> Connect:
        assert self._network is not None
        return self._held.enter_context(self._network())
