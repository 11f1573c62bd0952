"""What a stage is so far: its layers, its configuration, its variables; and the instructions that only
change those.

Comes in:  instructions.
Goes out:  the state after each. Pure.
Not here:  RUN, COPY, ADD and the directory that WORKDIR makes (builder).
Source: Dockerfile reference; OCI image-spec config.md.
"""

from __future__ import annotations

import posixpath
import re
import signal
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from runtime.image.dockerfile.errors import DockerfileInvalid
from runtime.image.dockerfile.instruction import Instruction, command, name_values
from runtime.image.dockerfile.words import expand, expand_words, split
from runtime.image.manifest import HealthCheck, History, ImageConfig

SHELL = ("/bin/sh", "-c")
_DURATION = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|ms|s|m|h)")
_UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}


@dataclass(slots=True)
class State:
    """One stage in the making.

    layers: diffIDs, lowest first. args: declared arguments with a value. given: values of build arguments.
    outer: global arguments. when: time of the newest layer, for the history. cmd_set: CMD came in this stage.
    reason: which step was made again first, and why; "" when all came out of the cache.
    late: arguments declared after an ENV of the same name, over which they win.
    """

    layers: list[str]
    config: ImageConfig
    given: Mapping[str, str]
    outer: Mapping[str, str]
    escape: str = "\\"
    args: dict[str, str] = field(default_factory=dict)
    when: float = 0.0
    cmd_set: bool = False
    reason: str = ""
    late: frozenset[str] = frozenset()

    def env(self) -> dict[str, str]:
        """The variables of the image by name."""
        return dict(item.partition("=")[::2] for item in self.config.env)

    def variables(self) -> dict[str, str]:
        """What ``$name`` can be: arguments and ENV, of the same name the one that came last."""
        return {**self.args, **self.env(), **{name: self.args[name] for name in self.late}}

    def shell(self) -> tuple[str, ...]:
        """What runs the shell form."""
        return self.config.shell or SHELL

    def change(self, **fields: object) -> None:
        """Replace fields of the configuration."""
        self.config = replace(self.config, **fields)  # type: ignore[arg-type]

    def record(self, text: str, created: str, *, empty: bool) -> None:
        """Add a line to the history."""
        line = History(created_by=text, created=created, empty=empty, comment="pycompose")
        self.change(history=(*self.config.history, line))

    def expand(self, text: str) -> str:
        """One word with this stage's variables."""
        return expand(text, self.variables(), self.escape)

    def words(self, text: str) -> list[str]:
        """Words with this stage's variables."""
        return expand_words(text, self.variables(), self.escape)

    def directory(self, path: str) -> str:
        """``path`` as seen from the working directory, cleaned, a final slash kept."""
        joined = posixpath.join(self.config.working_dir or "/", path)
        clean = "/" + posixpath.normpath(joined).lstrip("/")
        return clean + "/" if path.endswith(("/", "/.")) and clean != "/" else clean


def apply(state: State, instruction: Instruction) -> bool:
    """Carry out an instruction that touches no file; False when it is not one of those. Raises
    DockerfileInvalid."""
    handler = _HANDLERS.get(instruction.name)
    if handler is None:
        return False
    try:
        handler(state, instruction)
    except DockerfileInvalid as error:
        raise DockerfileInvalid(error.bare, line=error.line or instruction.line, hint=error.hint) from error
    return True


def _arg(state: State, instruction: Instruction) -> None:
    for word in split(instruction.rest, state.escape, keep_quotes=True):
        name, equals, default = word.partition("=")
        name = state.expand(name)
        if name in state.given:
            state.args[name] = state.given[name]
        elif equals:
            state.args[name] = state.expand(default)
        elif name in state.outer:
            state.args[name] = state.outer[name]
        else:
            continue
        if name in state.env():
            state.late |= {name}


def _env(state: State, instruction: Instruction) -> None:
    pairs = [(state.expand(k), state.expand(v)) for k, v in name_values(instruction, state.escape)]
    env = state.env()
    env.update(pairs)
    state.late -= set(dict(pairs))
    state.change(env=tuple(f"{key}={value}" for key, value in env.items()))


def _label(state: State, instruction: Instruction) -> None:
    pairs = {state.expand(k): state.expand(v) for k, v in name_values(instruction, state.escape)}
    state.change(labels={**state.config.labels, **pairs})


def _user(state: State, instruction: Instruction) -> None:
    state.change(user=state.expand(instruction.rest))


def _expose(state: State, instruction: Instruction) -> None:
    found = [port for word in instruction.words() for one in state.words(word) for port in ports(one)]
    state.change(exposed_ports=tuple(dict.fromkeys((*state.config.exposed_ports, *found))))


def ports(word: str) -> list[str]:
    """The ports of ``[[address:]host:]port[-port][/protocol]``, as "80/tcp". Raises DockerfileInvalid."""
    place, slash, protocol = word.lower().partition("/")
    if protocol not in ("tcp", "udp", "sctp") and (slash or protocol):
        raise DockerfileInvalid(f"invalid proto: {protocol}", hint="port[-port][/tcp|udp|sctp]")
    inner = place.rpartition(":")[2]
    match = re.fullmatch(r"(\d+)(?:-(\d+))?", inner)
    first, last = (int(match[1]), int(match[2] or match[1])) if match else (0, -1)
    if not match or last > 65535 or last < first:
        raise DockerfileInvalid(f"invalid containerPort: {inner}", hint="port[-port][/tcp|udp|sctp]")
    return [f"{port}/{protocol or 'tcp'}" for port in range(first, last + 1)]


def _volume(state: State, instruction: Instruction) -> None:
    words = [state.expand(word) for word in instruction.words()]
    if not all(words):
        raise DockerfileInvalid("VOLUME needs paths that are not empty")
    state.change(volumes=tuple(dict.fromkeys([*state.config.volumes, *words])))


def _cmd(state: State, instruction: Instruction) -> None:
    state.change(cmd=command(instruction, state.shell()))
    state.cmd_set = True


def _entrypoint(state: State, instruction: Instruction) -> None:
    state.change(entrypoint=command(instruction, state.shell()))
    if not state.cmd_set:
        state.change(cmd=())


def _health(state: State, instruction: Instruction) -> None:
    kind, _, rest = instruction.rest.partition(" ")
    if kind.upper() == "NONE":
        state.change(healthcheck=HealthCheck(test=("NONE",)))
        return
    if kind.upper() != "CMD" or not rest.strip():
        raise DockerfileInvalid(f"HEALTHCHECK needs CMD or NONE, not '{kind}'")
    test = ("CMD", *instruction.json) if instruction.json else ("CMD-SHELL", rest.strip())
    retries = instruction.flag("retries", "0")
    if not retries.isdigit():
        raise DockerfileInvalid(f"--retries={retries} is not a number, 0 or more")
    times = {}
    for name in ("interval", "timeout", "start-period", "start-interval"):
        seconds = times[name.replace("-", "_")] = duration(instruction.flag(name, "0s"))
        if 0 < seconds < 0.001:
            raise DockerfileInvalid(f"--{name}={instruction.flag(name)} cannot be less than 1ms")
    state.change(healthcheck=HealthCheck(test=test, retries=int(retries), **times))


def duration(text: str) -> float:
    """Seconds of a Go duration such as ``1m30s``. Raises DockerfileInvalid."""
    parts = _DURATION.findall(text)
    if text == "0":
        return 0.0
    if not parts or "".join(number + unit for number, unit in parts) != text:
        raise DockerfileInvalid(f"'{text}' is not a duration such as 30s or 1m30s")
    return sum(float(number) * _UNITS[unit] for number, unit in parts)


def _stop_signal(state: State, instruction: Instruction) -> None:
    word = state.expand(instruction.rest)
    if not _is_signal(word):
        raise DockerfileInvalid(f"invalid signal: {word}", hint="a name such as SIGINT, or a number")
    state.change(stop_signal=word)


def _is_signal(word: str) -> bool:
    if word.isdigit():
        return 1 <= int(word) <= 64
    name = word.upper().removeprefix("SIG")
    real = re.fullmatch(r"RT(?:MIN(?:\+(\d{1,2}))?|MAX(?:-(\d{1,2}))?)", name)
    return f"SIG{name}" in signal.Signals.__members__ or bool(real and int(real[1] or real[2] or 0) <= 30)


def _shell(state: State, instruction: Instruction) -> None:
    if not instruction.json:
        raise DockerfileInvalid("SHELL needs the JSON form", hint='SHELL ["/bin/bash", "-c"]')
    state.change(shell=instruction.json)


def _on_build(state: State, instruction: Instruction) -> None:
    text = instruction.rest
    for here in instruction.heredocs:
        text += f"\n{here.content}{here.name}"
    state.change(on_build=(*state.config.on_build, text))


def _maintainer(state: State, instruction: Instruction) -> None:
    state.change(author=instruction.rest)


_HANDLERS: dict[str, Callable[[State, Instruction], None]] = {
    "ARG": _arg, "ENV": _env, "LABEL": _label, "USER": _user, "EXPOSE": _expose, "VOLUME": _volume,
    "CMD": _cmd, "ENTRYPOINT": _entrypoint, "HEALTHCHECK": _health, "STOPSIGNAL": _stop_signal,
    "SHELL": _shell, "ONBUILD": _on_build, "MAINTAINER": _maintainer,
}  # fmt: skip
