"""Build an image from a Dockerfile: stage after stage, step after step, each from the cache when nothing
changed.

Comes in:  a BuildSpec, a Store, how to plug a network in.
Goes out:  an Image in the store, named by the tags.
Not here:  the language (image.dockerfile), COPY (copy), RUN (run), what only changes the configuration
           (state).

A step that makes files is kept under a key of its instruction, the layers below and the content it reads. A
layer
is never compressed here: the directory a step filled is renamed into the store. ADR 0032.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from runtime.build import copy as copying
from runtime.build import environment, mounts, stages
from runtime.build.context import Source, digest
from runtime.build.run import Command, Connect, Runner, Tail, run
from runtime.build.sources import Sources
from runtime.build.spec import BuildSpec
from runtime.build.stages import Stage
from runtime.build.state import State, apply
from runtime.build.words import file_text, run_argv, script_mount, short
from runtime.errors import BuildFailed, ImageError, RuntimeFailure
from runtime.image import layer, pull
from runtime.image.dockerfile.errors import DockerfileInvalid
from runtime.image.dockerfile.parse import Instruction, parse, trigger
from runtime.image.dockerfile.words import split
from runtime.image.manifest import Image, ImageConfig, host_platform
from runtime.image.progress import Events, Progress, silent
from runtime.image.store import Store
from runtime.image.view import View
from runtime.policy.users import UnknownUser, look_up
from runtime.spec import DEFAULT_PATH

Network = Callable[[], AbstractContextManager[Connect]]


def build(store: Store, spec: BuildSpec, *, connect: Network | None = None, events: Events = silent) -> Image:
    """Build ``spec`` and give the image.

    connect: called at the first RUN that needs a network of its own; what it gives plugs a network namespace
             in.
             None: RUN uses the host's network.
    Raises BuildFailed (DockerfileInvalid for the file itself), ImageError, OSError. Nothing half-made is
    left.
    """
    with ExitStack() as held:
        held.enter_context(store.using())
        store.sweep()
        work = held.enter_context(store.ingest())
        return _Build(store, spec, connect, events, held, work).image()


class _Build:
    """One run of ``build``."""

    def __init__(
        self,
        store: Store,
        spec: BuildSpec,
        connect: Network | None,
        events: Events,
        held: ExitStack,
        work: Path,
    ) -> None:
        self.store, self.spec, self.events = store, spec, events
        self._network, self._held, self._work = connect, held, work
        self._connect: Connect | None = None
        self._done: dict[int, State] = {}
        self._file = spec.dockerfile if not spec.dockerfile_text else "Dockerfile"
        self._bundle = environment.bundle(spec.trust, spec.environment)
        self._epoch = stages.source_date(spec.environment, spec.args)
        self._count = 0

    # --- the road

    def image(self) -> Image:
        """Everything."""
        if self.spec.platform not in ("", host_platform()):
            raise BuildFailed(
                f"cannot build for {self.spec.platform} on {host_platform()}", hint="leave platform out"
            )
        if "://" in self.spec.context or self.spec.context.startswith("git@"):
            raise BuildFailed(
                f"the build context '{self.spec.context}' is not a directory", hint="clone it first"
            )
        parsed = parse(self._text(), self._file)
        try:
            self._stages, self._outer = stages.split_stages(parsed, self.spec.args, self.spec.platform)
            wanted = stages.needed(self._stages, self.spec.target)
        except DockerfileInvalid as error:
            raise self._placed(error, error.line) from error
        self._escape = parsed.escape
        self._sources = Sources(self.spec, self._stages, self._layers_of, self._image, self._work)
        for stage in wanted:
            self._done[stage.number] = self._stage(stage)
        return self._finish(self._done[wanted[-1].number])

    def _text(self) -> str:
        if self.spec.dockerfile_text:
            return self.spec.dockerfile_text
        path = Path(stages.default_dockerfile(self.spec.context, self.spec.dockerfile))
        try:
            return path.read_text("utf-8", "surrogateescape")
        except FileNotFoundError as error:
            raise BuildFailed(f"there is no {path}", hint="name it with 'dockerfile:'") from error
        except OSError as error:
            raise BuildFailed(f"{path} cannot be read: {error.strerror}") from error

    def _finish(self, state: State) -> Image:
        if self.spec.labels:
            state.change(labels={**state.config.labels, **self.spec.labels})
        state.change(created=self._time(state.when))
        return self.store.put_image(state.config, state.layers, self.spec.tags)

    def _stage(self, stage: Stage) -> State:
        state = self._base(stage)
        steps = [*self._triggers(state, stage), *stage.instructions]
        name = " ".join(word for word in (self.spec.name, stage.name) if word)
        for number, instruction in enumerate(steps, 2):
            head = " ".join(word for word in (name, f"{number}/{len(steps) + 1}") if word)
            self._step = f"[{head}] {short(instruction.text())}"
            with self._blame(instruction):
                self._one(state, instruction, stage)
        return state

    def _one(self, state: State, instruction: Instruction, stage: Stage) -> None:
        text = instruction.text()
        if apply(state, instruction):
            if instruction.name != "ARG":
                state.record(text, self._time(state.when), empty=True)
            return
        before = list(state.layers)
        handler = {"RUN": self._run, "COPY": self._copy, "ADD": self._copy, "WORKDIR": self._workdir}
        handler[instruction.name](state, instruction, stage)
        state.record(text, self._time(state.when), empty=state.layers == before)

    @contextmanager
    def _blame(self, instruction: Instruction) -> Iterator[None]:
        """Say which instruction it was."""
        try:
            yield
        except DockerfileInvalid as error:
            raise self._placed(error, error.line or instruction.line) from error
        except BuildFailed as error:
            if error.message.startswith(f"{self._file}:"):
                raise
            where = f"{self._file}:{instruction.line}"
            raise BuildFailed(
                f"{where}: {short(instruction.text())}: {error.message}", hint=error.hint
            ) from error

    def _placed(self, error: DockerfileInvalid, line: int) -> DockerfileInvalid:
        return DockerfileInvalid(error.bare, line=line, file=self._file, hint=error.hint)

    def _time(self, when: float) -> str:
        moment = min(when, self._epoch) if self._epoch is not None else when
        return datetime.fromtimestamp(moment, UTC).isoformat().replace("+00:00", "Z") if when else ""

    # --- FROM

    def _base(self, stage: Stage) -> State:
        if stage.platform not in ("", host_platform()) and not host_platform().startswith(
            stage.platform + "/"
        ):
            raise self._placed(
                DockerfileInvalid(f"this machine is {host_platform()}, not {stage.platform}"), stage.line
            )
        earlier = (
            stages.find_stage(self._stages, stage.base, before=stage.number)
            if not stage.base.isdigit()
            else None
        )
        if earlier is not None:
            done = self._done[earlier.number]
            return replace(done, layers=list(done.layers), args={}, cmd_set=False)
        if stage.base == "scratch":
            config = ImageConfig(
                env=(f"PATH={DEFAULT_PATH}",), architecture=host_platform().partition("/")[2]
            )
            return self._state([], config, 0.0)
        image = self._image(self.spec.additional_contexts.get(stage.base, stage.base))
        return self._state(list(image.layer_ids), image.config, image.created)

    def _state(self, layers: list[str], config: ImageConfig, when: float) -> State:
        return State(
            layers=layers,
            config=config,
            given=self.spec.args,
            outer=self._outer,
            escape=self._escape,
            when=when,
        )

    def _image(self, reference: str) -> Image:
        reference = reference.removeprefix("docker-image://")
        if not self.spec.pull and (found := self.store.find(reference)) is not None:
            return found
        fresh, policy = self.spec.pull, self.spec.pull_policy
        return pull.pull(
            self.store, reference, policy=policy, refresh=fresh, runner=Runner(), events=self.events
        )

    def _triggers(self, state: State, stage: Stage) -> list[Instruction]:
        texts, found = state.config.on_build, []
        state.change(on_build=())
        for text in texts if not stages.find_stage(self._stages, stage.base, before=stage.number) else ():
            found.append(trigger(text, stage.line, self._escape))
        return found

    # --- steps that make a layer

    def _cached(self, state: State, key: str, stage: Stage, make: Callable[[Path], None]) -> None:
        """Take the layer of ``key`` from the cache, or let ``make`` fill a directory and keep it."""
        known = None if self._skip_cache(stage) else self.store.index.step(key)
        if known is not None and self.store.has_layer(known[0]):
            self.store.index.touch_steps([key])
            self.events(Progress(kind="step", id=self._step, text="CACHED"))
            state.layers.append(known[0])
            state.when = max(state.when, known[1])
            return
        self.events(Progress(kind="step", id=self._step, text="Running"))
        self._count += 1
        diff = self._work / f"diff-{self._count}"
        try:
            make(diff)
            made = layer.digest(diff)
            self.store.commit_layer(diff, made.diff_id, size=made.size)
        except BaseException:
            self.events(Progress(kind="step", id=self._step, text="Error"))
            raise
        now = time.time()
        self.store.index.put_step(key, made.diff_id, self._step, now)
        self.events(Progress(kind="step", id=self._step, text="Done"))
        state.layers.append(made.diff_id)
        state.when = now

    def _skip_cache(self, stage: Stage) -> bool:
        return self.spec.no_cache or (bool(stage.name) and stage.name in self.spec.no_cache_filter)

    def _layers(self, state: State) -> list[Path]:
        return list(self.store.stack(state.layers))

    def _layers_of(self, stage: Stage) -> list[Path]:
        return self._layers(self._done[stage.number])

    def _workdir(self, state: State, instruction: Instruction, stage: Stage) -> None:
        word = state.expand(instruction.rest)
        if not word:
            raise DockerfileInvalid("WORKDIR needs a path that is not empty")
        state.change(working_dir=state.directory(word).rstrip("/") or "/")
        path = state.config.working_dir
        view = View(self._layers(state))
        found = view.find(path)
        if found is not None and found.is_dir():
            return
        if found is not None:
            raise BuildFailed(f"'{path}' is a file, not a directory")
        if path == "/":
            return

        def make(diff: Path) -> None:
            copying.Layer(diff, view).directory(path)

        self._cached(state, state.key("WORKDIR", path), stage, make)

    # --- COPY and ADD

    def _copy(self, state: State, instruction: Instruction, stage: Stage) -> None:
        words = self._copy_words(state, instruction)
        *names, destination = words
        source, items = self._sources.items(state, instruction, stage, names)
        wish = copying.Wish(
            owner=self._owner(state, instruction, source),
            mode=state.expand(instruction.flag("chmod")),
            parents=instruction.flag("parents") == "true",
            exclude=tuple(state.expand(word) for word in instruction.all("exclude")),
            unpack=self._unpacks(instruction, names),
        )
        target, several = state.directory(destination), len(items) > 1
        if several and not destination.endswith(("/", "/.", ".")):
            found = View(self._layers(state)).find(target)
            if found is None or not found.is_dir():
                raise BuildFailed(
                    f"several files are copied, so '{destination}' must be a directory and end in '/'"
                )
        content = digest(source, items, wish.exclude)
        key = state.key(
            instruction.name, target, wish.owner, wish.mode, wish.parents, wish.unpack, wish.exclude, content
        )

        def make(diff: Path) -> None:
            below = copying.Layer(diff, View(self._layers(state)))
            copying.copy(below, source, items, target, wish, several=several)

        self._cached(state, key, stage, make)

    @staticmethod
    def _unpacks(instruction: Instruction, names: Sequence[str]) -> bool:
        """ADD unpacks local archives, remote ones only when told to."""
        remote = any("://" in name for name in names)
        return (
            instruction.name == "ADD" and instruction.flag("unpack", "false" if remote else "true") != "false"
        )

    def _copy_words(self, state: State, instruction: Instruction) -> list[str]:
        raw = instruction.json or split(instruction.rest, self._escape, keep_quotes=True)
        here = {f"<<{'-' if h.chomp else ''}{h.name}" for h in instruction.heredocs}
        words = [
            word if word.replace('"', "").replace("'", "") in here else state.expand(word) for word in raw
        ]
        if len(words) < 2:
            raise DockerfileInvalid(f"{instruction.name} needs a source and a destination")
        return words

    def _owner(self, state: State, instruction: Instruction, source: Source) -> tuple[int, int] | None:
        text = state.expand(instruction.flag("chown"))
        if not text:
            return None if source.owners else (0, 0)
        view = View(self._layers(state))
        try:
            user = look_up(text, (), file_text(view, "/etc/passwd"), file_text(view, "/etc/group"))
        except UnknownUser as error:
            raise BuildFailed(f"--chown={text}: {error}") from error
        return (user.uid, user.uid if text.isdigit() else user.gid)

    # --- RUN

    def _run(self, state: State, instruction: Instruction, stage: Stage) -> None:
        wanted = [mounts.read(text, state.expand, instruction.line) for text in instruction.all("mount")]
        argv, script = run_argv(instruction, state.shell())
        declared = {name: value for name, value in state.args.items() if name not in environment.PREDEFINED}
        env = {**declared, **state.env()}
        network = self._network_of(instruction)
        content = [self._mounted(w, stage) for w in wanted if w.type == "bind"]
        key = state.key(
            "RUN", argv, script, env, state.config.user, state.config.working_dir,
            mounts.parts_of_key(wanted), content, network == "none", self.spec.privileged,
        )  # fmt: skip

        def make(diff: Path) -> None:
            self._execute(state, stage, wanted, argv, env, network, diff, script)

        self._cached(state, key, stage, make)

    def _mounted(self, wanted: mounts.Wanted, stage: Stage) -> str:
        source = self._sources.source(wanted.get("from"), stage)
        item = source.find(wanted.get("source", "/"))
        return digest(source, [item]) if item else ""

    def _network_of(self, instruction: Instruction) -> str:
        word = instruction.flag("network") or self.spec.network or "default"
        if word not in ("default", "none", "host", "bridge"):
            raise BuildFailed(f"a build has no network '{word}'", hint="default, host or none")
        if word in ("default", "bridge"):
            return "private" if self._network else "host"
        return word

    def _execute(
        self,
        state: State,
        stage: Stage,
        wanted: Sequence[mounts.Wanted],
        argv: tuple[str, ...],
        env: dict[str, str],
        network: str,
        diff: Path,
        script: str,
    ) -> None:
        with ExitStack() as held, self.store.ingest() as work:
            passing = work / "mounts"
            passing.mkdir(mode=0o711)
            work.chmod(0o711)
            mounter = mounts.Mounter(
                self.store, lambda word: self._sources.source(word, stage), self.spec.secrets, self.spec.ssh,
                lambda path: state.directory(path).rstrip("/") or "/", passing, held,
            )  # fmt: skip
            extra = environment.proxies(self.spec.environment, self.spec.args)
            binds = [script_mount(passing, script)] if script else []
            for want in wanted:
                more, variables = mounter.mount(want)
                binds += more
                extra.update(variables)
            command = Command(
                argv=argv,
                env=env,
                layers=self._layers(state),
                user=state.config.user,
                working_dir=state.config.working_dir,
                mounts=tuple(binds),
                network=network,
                connect=self._plug() if network == "private" else None,
                hosts=self.spec.extra_hosts,
                bundle=self._bundle,
                shm_size=self.spec.shm_size,
                ulimits=self.spec.ulimits,
                privileged=self.spec.privileged,
                extra=extra,
            )
            self._supervise(command, diff, work)

    def _supervise(self, command: Command, diff: Path, work: Path) -> None:
        tail = Tail(lambda line: self.events(Progress(kind="output", id=self._step, text=line)))
        try:
            record = run(command, diff, work, tail)
        except ImageError:
            raise
        except RuntimeFailure as error:
            raise BuildFailed(error.message, hint=error.hint) from error
        tail.flush()
        if record.code != 0:
            reason = f" ({record.reason})" if record.reason else ""
            said = "".join(f"\n  | {line}" for line in tail.last)
            raise BuildFailed(f"ended with exit code {record.code}{reason}{said}")

    def _plug(self) -> Connect:
        if self._connect is None and self._network is not None:
            self._connect = self._held.enter_context(self._network())
        if self._connect is None:
            raise BuildFailed("no network is there for this build")
        return self._connect
