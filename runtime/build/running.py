"""RUN as a step: its words, its key, its layer.

Comes in:  an instruction, the stage it stands in.
Goes out:  a layer on top of the stage; BuildFailed with the end of the output.
Not here:  the container (run), the words of --mount (mounts).
Source: Dockerfile reference, section RUN.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING

from runtime.build import environment, mounts
from runtime.build.agents import Agents
from runtime.build.context import contents
from runtime.build.facts import Facts
from runtime.build.spec import BuildSpec
from runtime.build.state import State
from runtime.build.words import printable, run_argv, script_mount
from runtime.errors import BuildFailed, ImageError, RuntimeFailure
from runtime.image.dockerfile.instruction import Instruction
from runtime.image.progress import Progress

if TYPE_CHECKING:
    from runtime.build.run import Command, Connect
    from runtime.build.stage import StageBuild

NETWORKS = ("default", "none", "host", "bridge")


class Shell:
    """What the RUNs of a build share: the network, certificates, agents.

    plug: gives the function that plugs a namespace in, at the first RUN that needs it; None: the host's
          network.
    """

    def __init__(self, spec: BuildSpec, plug: Callable[[], Connect] | None, agents: Agents) -> None:
        self.spec, self.agents = spec, agents
        self.bundle = environment.bundle(spec.trust, spec.environment)
        self._plug, self._lock = plug, Lock()
        self._connect: Connect | None = None

    def network(self, instruction: Instruction) -> str:
        """ "private", "host" or "none" for one RUN. Raises BuildFailed."""
        word = instruction.flag("network") or self.spec.network or "default"
        if word not in NETWORKS:
            raise BuildFailed(f"a build has no network '{word}'", hint="default, host or none")
        if word == "host" and self.spec.network != "host" and "network.host" not in self.spec.entitlements:
            raise BuildFailed(
                "this RUN wants the host's network, which is not granted",
                hint="write 'entitlements: [network.host]' or 'network: host' under 'build:'",
            )
        if word in ("default", "bridge"):
            return "private" if self._plug else "host"
        return word

    def connect(self) -> Connect:
        """What plugs a namespace in."""
        with self._lock:
            if self._connect is None:
                assert self._plug is not None
                self._connect = self._plug()
            return self._connect

    def privileged(self, instruction: Instruction) -> bool:
        """Whether a RUN has all rights. Raises BuildFailed when it asks for them and may not have them."""
        word = instruction.flag("security", "sandbox")
        if word not in ("sandbox", "insecure"):
            raise BuildFailed(f"--security={word} is neither sandbox nor insecure")
        granted = self.spec.privileged or "security.insecure" in self.spec.entitlements
        if word == "insecure" and not granted:
            raise BuildFailed(
                "this RUN wants all rights, which are not granted",
                hint="write 'entitlements: [security.insecure]' or 'privileged: true' under 'build:'",
            )
        return word == "insecure" or (self.spec.privileged and not instruction.flag("security"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A RUN as understood."""

    argv: tuple[str, ...]
    script: str
    env: dict[str, str]
    network: str
    privileged: bool
    mounts: Sequence[mounts.Wanted]


def step(stage: StageBuild, state: State, instruction: Instruction) -> None:
    """Carry out one RUN. Raises BuildFailed, DockerfileInvalid."""
    asked = _asked(stage, state, instruction)
    facts = Facts(
        text=printable(instruction.text()),
        layers=tuple(state.layers),
        parts={
            "name": "RUN", "the command": asked.argv, "the here-document": asked.script,
            "USER": state.config.user, "WORKDIR": state.config.working_dir,
            "--mount": mounts.parts_of_key(asked.mounts), "--network": asked.network == "none",
            "--security": asked.privileged,
        },
        env=_variables(state),
        files=[file for wanted in asked.mounts for file in _mounted(stage, wanted)],
    )  # fmt: skip
    stage.layer(state, facts, lambda diff: _execute(stage, state, asked, diff))


def _asked(stage: StageBuild, state: State, instruction: Instruction) -> Asked:
    if instruction.flag("device"):
        raise BuildFailed("--device needs CDI devices, which are not handled here")
    argv, script = run_argv(instruction, state.shell())
    return Asked(
        argv=argv,
        script=script,
        env={name.partition(" ")[2]: value for name, value in _variables(state).items()},
        network=stage.desk.shell.network(instruction),
        privileged=stage.desk.shell.privileged(instruction),
        mounts=[mounts.read(text, state.expand, instruction.line) for text in instruction.all("mount")],
    )


def _variables(state: State) -> dict[str, str]:
    """What the command sees, by "ARG NAME" and "ENV NAME"; proxies count only as ENV."""
    env = state.env()
    found = {}
    for name, value in state.variables().items():
        if name in env and name not in state.late:
            found[f"ENV {name}"] = value
        elif name not in environment.PREDEFINED:
            found[f"ARG {name}"] = value
    return found


def _mounted(stage: StageBuild, wanted: mounts.Wanted) -> list[tuple[str, str]]:
    """What a bind mount shows is part of the key."""
    if wanted.type != "bind":
        return []
    sources = stage.desk.sources
    source = sources.source(wanted.get("from"), stage.stage)
    item = source.find(wanted.get("source", "/"))
    return contents(source, [item], (), sources.digests) if item else []


def _execute(stage: StageBuild, state: State, asked: Asked, diff: Path) -> None:
    from runtime.build.run import Command  # containers are heavy, and a build out of the cache has none

    desk, spec = stage.desk, stage.desk.spec
    with ExitStack() as held, desk.store.ingest() as work:
        work.chmod(0o711)
        passing = mounts.Passing(work, spec.volatile, held)
        mounter = mounts.Mounter(
            desk.store, lambda word: desk.sources.source(word, stage.stage), spec.secrets,
            desk.shell.agents, lambda path: state.directory(path).rstrip("/") or "/", passing, held,
        )  # fmt: skip
        extra = environment.proxies(spec.environment, spec.args)
        binds = [script_mount(passing.disk, asked.script)] if asked.script else []
        for wanted in asked.mounts:
            more, variables = mounter.mount(wanted)
            binds += more
            extra.update(variables)
        private = asked.network == "private"
        command = Command(
            argv=asked.argv,
            env=asked.env,
            layers=list(desk.store.stack(state.layers)),
            user=state.config.user,
            working_dir=state.config.working_dir,
            mounts=tuple(binds),
            network=asked.network,
            connect=desk.shell.connect() if private else None,
            ready=passing.forget,
            hosts=spec.extra_hosts,
            bundle=desk.shell.bundle,
            shm_size=spec.shm_size,
            memory=spec.memory,
            ulimits=spec.ulimits,
            privileged=asked.privileged,
            extra=extra,
            stop=desk.halt.fd,
        )
        _supervise(stage, command, diff, work)


def _supervise(stage: StageBuild, command: Command, diff: Path, work: Path) -> None:
    from runtime.build.run import Tail, run
    from runtime.process.oneshot import Stopped

    label = stage.label()
    tail = Tail(lambda line: stage.desk.events(Progress(kind="output", id=label, text=line)))
    try:
        record = run(command, diff, work, tail)
    except ImageError:
        raise
    except Stopped:
        stage.desk.halt.check()
        raise
    except RuntimeFailure as error:
        raise BuildFailed(error.message) from error  # its hint speaks of services
    tail.flush()
    if record.code != 0:
        reason = f" ({record.reason})" if record.reason else ""
        said = "".join(f"\n  | {line}" for line in tail.last)
        raise BuildFailed(f"ended with exit code {record.code}{reason}{said}")
