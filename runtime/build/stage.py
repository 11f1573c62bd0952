"""Build one stage: its base, then instruction after instruction.

Comes in:  a Stage, what all stages of the build share (Desk).
Goes out:  the State at its end.
Not here:  COPY and ADD (copying), RUN (running), which stages and when (builder).
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from runtime.build import copying, running, stages
from runtime.build.cache import Cache, Kept, Step
from runtime.build.context import contents
from runtime.build.copy import Layer, Wish, copy
from runtime.build.facts import Facts
from runtime.build.halt import Halt, Halted
from runtime.build.running import Shell
from runtime.build.sources import Sources
from runtime.build.spec import BuildSpec
from runtime.build.stages import Stage
from runtime.build.state import State, apply
from runtime.build.times import iso
from runtime.build.words import file_text, history, printable, short
from runtime.errors import BuildFailed, ImageError
from runtime.image.dockerfile.errors import DockerfileInvalid
from runtime.image.dockerfile.instruction import Instruction
from runtime.image.dockerfile.parse import trigger
from runtime.image.manifest import Image, ImageConfig, heritage, host_platform
from runtime.image.progress import Events
from runtime.image.store import Store
from runtime.image.view import View
from runtime.policy.users import UnknownUser, look_up
from runtime.spec import DEFAULT_PATH

STEPS = ("RUN", "COPY", "ADD", "WORKDIR")


@dataclass(frozen=True, slots=True, kw_only=True)
class Desk:
    """What the stages of one build share.

    file: how errors name the Dockerfile. done: the state of an earlier stage, waited for.
    image: by reference, pulled when missing. epoch: SOURCE_DATE_EPOCH.
    """

    store: Store
    spec: BuildSpec
    file: str
    escape: str
    outer: dict[str, str]
    all: Sequence[Stage]
    cache: Cache
    sources: Sources
    shell: Shell
    halt: Halt
    events: Events
    image: Callable[[str], Image]
    done: Callable[[Stage], State]
    epoch: float | None = None


class StageBuild:
    """One stage in the making."""

    def __init__(self, desk: Desk, stage: Stage) -> None:
        self.desk, self.stage = desk, stage
        self._prefix, self._total, self._number = "", 0, 0
        self.instruction: Instruction | None = None

    def state(self) -> State:
        """Build it. Raises BuildFailed with file and line, ImageError, OSError."""
        with self._blame_from():
            state = self._base()
        steps = [*self._triggers(state), *self.stage.instructions]
        self._number = int(self._earlier() is None and self.stage.base != "scratch")
        self._total = self._number + sum(step.name in STEPS for step in steps)
        several = len(self.desk.all) > 1
        name = self.stage.name or (f"stage-{self.stage.number}" if several else "")
        self._prefix = " ".join(word for word in (self.desk.spec.name, name) if word)
        for instruction in steps:
            self.desk.halt.check()
            self.instruction = instruction
            with self._blame(instruction):
                self._one(state, instruction)
        return state

    def _one(self, state: State, instruction: Instruction) -> None:
        before = list(state.layers)
        if not apply(state, instruction):
            self._number += 1
            handler = {"RUN": self._run, "COPY": self._copy, "ADD": self._copy, "WORKDIR": self._workdir}
            handler[instruction.name](state, instruction)
        text = history(state, instruction)
        state.record(text, self.time(state.when), empty=state.layers == before)

    def time(self, when: float) -> str:
        """A moment as RFC 3339, bounded by SOURCE_DATE_EPOCH; "" for none."""
        moment = self.desk.epoch if self.desk.epoch is not None else when
        if not when and self.desk.epoch is None:
            return ""
        return iso(moment)

    # --- saying where

    @contextmanager
    def _blame(self, instruction: Instruction) -> Iterator[None]:
        """Say which instruction it was."""
        file = self.desk.file
        try:
            yield
        except DockerfileInvalid as error:
            raise placed(error, error.line or instruction.line, file) from error
        except Halted:
            raise
        except ImageError as error:
            if error.message.startswith(f"{file}:"):
                raise
            raise BuildFailed(f"{self._where()}: {error.message}", hint=error.hint) from error
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise  # the store tells it better
            about = f": {error.filename}" if error.filename else ""
            raise BuildFailed(f"{self._where()}: {error.strerror or error}{about}") from error

    def _where(self) -> str:
        assert self.instruction is not None
        return f"{self.desk.file}:{self.instruction.line}: {short(self.instruction.text())}"

    @contextmanager
    def _blame_from(self) -> Iterator[None]:
        file, stage = self.desk.file, self.stage
        try:
            yield
        except (DockerfileInvalid, Halted):
            raise
        except ImageError as error:
            where = f"{file}:{stage.line}: FROM {stage.base}"
            raise BuildFailed(f"{where}: {error.message}", hint=error.hint) from error

    # --- FROM

    def _earlier(self) -> Stage | None:
        stage = self.stage
        if stage.context or stage.base.isdigit():
            return None
        return stages.find_stage(self.desk.all, stage.base, before=stage.number)

    def _base(self) -> State:
        stage, host = self.stage, host_platform()
        if stage.platform not in ("", host) and not host.startswith(stage.platform + "/"):
            error = DockerfileInvalid(
                f"this machine is {host}, not {stage.platform}",
                hint="containers of another platform need its emulator (binfmt_misc), which is not used here",
            )
            raise placed(error, stage.line, self.desk.file)
        earlier = self._earlier()
        if earlier is not None:
            done = self.desk.done(earlier)
            return replace(done, layers=list(done.layers), args=dict(done.args), cmd_set=False)
        if stage.base == "scratch" and not stage.context:
            return self._state([], _empty(), 0.0)
        place = stage.context or stages.named_context(self.desk.spec.additional_contexts, stage.base)
        image = self.desk.sources.image_of(place) if place else self.desk.image(stage.base)
        if image is None:
            return self._from_directory(place)
        config = replace(image.config, labels=heritage(image.config.labels))
        return self._state(list(image.layer_ids), config, image.created)

    def _state(self, layers: list[str], config: ImageConfig, when: float) -> State:
        return State(
            layers=layers,
            config=config,
            given=self.desk.spec.args,
            outer=self.desk.outer,
            escape=self.desk.escape,
            when=when,
        )

    def _from_directory(self, place: str) -> State:
        """A named context that is a directory: its files are the image."""
        source = self.desk.sources.directory_of(place)
        root = source.find("")
        items = [root] if root else []
        state = self._state([], _empty(), 0.0)
        facts = Facts(
            text=f"FROM {self.stage.base}", layers=(), parts={"name": "FROM", "place": "/"},
            files=contents(source, items, (), self.desk.sources.digests),
        )  # fmt: skip

        def make(diff: Path) -> None:
            copy(Layer(diff, View([])), source, items, "/", Wish())

        label = f"[{self.stage.name or self.stage.number}] FROM {self.stage.base}"
        self._take(
            state, self.desk.cache.layer(Step(label=label, stage=self._name(), number=-1), facts, make)
        )
        return state

    def _triggers(self, state: State) -> list[Instruction]:
        """What the base left for whoever builds on it; done once and gone."""
        texts = state.config.on_build
        state.change(on_build=())
        return [trigger(text, self.stage.line, self.desk.escape) for text in texts]

    # --- steps that make a layer

    def _name(self) -> str:
        return self.stage.name or str(self.stage.number)

    def layer(self, state: State, facts: Facts, make: Callable[[Path], None]) -> None:
        """Put the layer of a step on top: from the cache, or made by ``make``."""
        step = Step(
            label=self.label(),
            stage=self._name(),
            number=self._number,
            skip=self._skip(),
            below=state.reason,
        )
        self._take(state, self.desk.cache.layer(step, facts, make))

    def label(self) -> str:
        """The step as it is shown: ``[web builder 2/7] RUN make``."""
        assert self.instruction is not None
        head = " ".join(word for word in (self._prefix, f"{self._number}/{self._total}") if word)
        return f"[{head}] {short(self.instruction.text())}"

    def _take(self, state: State, kept: Kept) -> None:
        state.layers.append(kept.diff_id)
        if kept.why:
            state.when = kept.when
            if not state.reason and self.instruction is not None:
                state.reason = f"after {short(self.instruction.text(), 40)}: {kept.why}"
        else:
            state.when = max(state.when, kept.when)

    def _skip(self) -> str:
        spec, stage = self.desk.spec, self.stage
        if spec.no_cache:
            return "--no-cache"
        listed = {word.lower() for word in spec.no_cache_filter}
        return f"no_cache_filter names {self._name()}" if {stage.name, str(stage.number)} & listed else ""

    def view(self, state: State) -> View:
        """What the stage holds so far."""
        return View(list(self.desk.store.stack(state.layers)))

    def _workdir(self, state: State, instruction: Instruction) -> None:
        word = state.expand(instruction.rest)
        if not word:
            raise DockerfileInvalid("WORKDIR needs a path that is not empty")
        state.change(working_dir=state.directory(word).rstrip("/") or "/")
        path, view = state.config.working_dir, self.view(state)
        found = view.find(path)
        if found is not None and not found.is_dir():
            raise BuildFailed(f"'{path}' is a file, not a directory")
        if found is not None or path == "/":
            return
        owner = self.owner(state, state.config.user, "USER ") if state.config.user else (0, 0)

        def make(diff: Path) -> None:
            Layer(diff, view).directory(path, owner)

        parts = {"name": "WORKDIR", "path": path, "owner": owner}
        facts = Facts(text=printable(instruction.text()), layers=tuple(state.layers), parts=parts)
        self.layer(state, facts, make)

    def owner(self, state: State, text: str, what: str) -> tuple[int, int]:
        """uid and gid of ``user[:group]``, names from the stage's own files. Raises BuildFailed."""
        view = self.view(state)
        try:
            user = look_up(text, (), file_text(view, "/etc/passwd"), file_text(view, "/etc/group"))
        except UnknownUser as error:
            raise BuildFailed(f"{what}{text}: {error}") from error
        return user.uid, user.uid if text.isdigit() and what != "USER " else user.gid

    def _copy(self, state: State, instruction: Instruction) -> None:
        copying.step(self, state, instruction)

    def _run(self, state: State, instruction: Instruction) -> None:
        running.step(self, state, instruction)


def _empty() -> ImageConfig:
    return ImageConfig(env=(f"PATH={DEFAULT_PATH}",), architecture=host_platform().partition("/")[2])


def placed(error: DockerfileInvalid, line: int, file: str) -> DockerfileInvalid:
    """The same error with its place."""
    return DockerfileInvalid(error.bare, line=line, file=file, hint=error.hint)
