"""The stages of a Dockerfile and which of them a target needs.

Comes in:  parsed instructions, build arguments.
Goes out:  Stage values with their base expanded; the numbers of those that must be built, in order.
Not here:  doing it (builder).
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path

from runtime.build.spec import BuildSpec
from runtime.errors import BuildFailed
from runtime.image.dockerfile.errors import DockerfileInvalid
from runtime.image.dockerfile.instruction import Dockerfile, Instruction
from runtime.image.dockerfile.words import expand, split
from runtime.image.errors import InvalidReference
from runtime.image.manifest import host_platform
from runtime.image.reference import parse
from schemas.frozen import dataclass, replace


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """One FROM and what follows. base: an image reference, the name or number of a stage, or "scratch".
    context: the place of the named context that stands for the whole stage, or ""."""

    number: int
    name: str
    base: str
    platform: str
    line: int
    instructions: tuple[Instruction, ...]
    context: str = ""


def platform_arguments(platform: str = "") -> dict[str, str]:
    """The predefined TARGET* and BUILD* arguments. Source: Dockerfile reference, "Automatic platform
    ARGs"."""
    found: dict[str, str] = {}
    for prefix, text in (("TARGET", platform or host_platform()), ("BUILD", host_platform())):
        system, _, rest = text.partition("/")
        architecture, _, variant = rest.partition("/")
        names = {"PLATFORM": text, "OS": system, "ARCH": architecture, "VARIANT": variant}
        found.update({prefix + key: value for key, value in names.items()})
    return found


def split_stages(
    dockerfile: Dockerfile, args: Mapping[str, str], platform: str = ""
) -> tuple[list[Stage], dict[str, str]]:
    """Cut into stages; gives them and the global arguments. Raises DockerfileInvalid."""
    known = platform_arguments(platform)
    found: list[Stage] = []
    body: list[Instruction] = []
    for instruction in dockerfile.instructions:
        if instruction.name == "FROM":
            body = []
            found.append(_open(instruction, len(found), known, dockerfile.escape))
        elif found:
            body.append(instruction)
        elif instruction.name == "ARG":
            known.update(_global(instruction, args, known, dockerfile.escape))
        else:
            raise DockerfileInvalid(f"{instruction.name} comes before FROM", line=instruction.line)
        if found:
            found[-1] = replace(found[-1], instructions=tuple(body))
    if not found:
        raise DockerfileInvalid("there is no FROM", line=dockerfile.instructions[-1].line)
    return found, known


def _open(instruction: Instruction, number: int, known: Mapping[str, str], escape: str) -> Stage:
    words = split(instruction.rest, escape)
    if len(words) not in (1, 3) or (len(words) == 3 and words[1].upper() != "AS"):
        raise DockerfileInvalid("FROM needs one image, or '<image> AS <name>'", line=instruction.line)
    try:
        base = expand(split(instruction.rest, escape, keep_quotes=True)[0], known, escape)
        platform = expand(instruction.flag("platform"), known, escape)
    except DockerfileInvalid as error:
        raise DockerfileInvalid(error.bare, line=instruction.line) from error
    if not base:
        raise DockerfileInvalid(
            f"the base of FROM is empty: '{words[0]}'", line=instruction.line, hint="is its ARG set?"
        )
    name = words[2].lower() if len(words) == 3 else ""
    if name and not (name[0].isalpha() and all(c.isalnum() or c in "-_." for c in name)):
        raise DockerfileInvalid(f"'{words[2]}' is not a name for a stage", line=instruction.line)
    return Stage(
        number=number, name=name, base=base, platform=platform, line=instruction.line, instructions=()
    )


def _global(
    instruction: Instruction, args: Mapping[str, str], known: Mapping[str, str], escape: str
) -> Iterator[tuple[str, str]]:
    for word in split(instruction.rest, escape, keep_quotes=True):
        name, equals, default = word.partition("=")
        if name in args:
            yield name, args[name]
        elif equals:
            yield name, expand(default, known, escape)


def find_stage(stages: Sequence[Stage], word: str, *, before: int | None = None) -> Stage | None:
    """The stage of that name or number; the last one of a name wins."""
    candidates = stages if before is None else stages[:before]
    if word.isdigit():
        return candidates[int(word)] if int(word) < len(candidates) else None
    return next((stage for stage in reversed(candidates) if stage.name and stage.name == word.lower()), None)


def from_stage(stages: Sequence[Stage], word: str, stage: Stage) -> Stage | None:
    """The stage that ``--from=word`` in ``stage`` means; None when it means an image.

    Raises DockerfileInvalid for one that comes later or is not there.
    """
    found = find_stage(stages, word, before=stage.number) or find_stage(stages, word)
    if found is None and word.isdigit():
        raise DockerfileInvalid(f"invalid stage index {word}")
    if found is not None and found.number >= stage.number:
        names = [one.name or str(one.number) for one in (found, stage)]
        raise DockerfileInvalid(
            f"cannot read from stage '{names[0]}': it has to be defined before stage '{names[1]}'"
        )
    return found


def named_context(contexts: Mapping[str, str], word: str) -> str:
    """The place of the named context that stands for ``word``, a stage or an image, or ""."""
    if word in contexts or not contexts:
        return contexts.get(word, "")
    full = _full(word)
    return next((place for name, place in contexts.items() if full and _full(name) == full), "")


def _full(name: str) -> str:
    try:
        return str(parse(name))
    except InvalidReference:
        return ""


def replaced(stages: Sequence[Stage], contexts: Mapping[str, str]) -> list[Stage]:
    """The stages, those replaced for which a named context stands."""
    found = []
    for stage in stages:
        place = contexts.get(stage.name, "") if stage.name else ""
        found.append(replace(stage, context=place, instructions=()) if place else stage)
    return found


def needed(stages: Sequence[Stage], target: str = "") -> list[Stage]:
    """The target (default: the last stage) and all it is made from, in order. Raises DockerfileInvalid."""
    goal = find_stage(stages, target) if target else stages[-1]
    if goal is None:
        close = get_close_matches(target, [stage.name for stage in stages if stage.name], n=1)
        raise DockerfileInvalid(
            f"there is no stage '{target}'", hint=f"did you mean '{close[0]}'?" if close else "", line=0
        )
    wanted, todo = set(), [goal]
    while todo:
        stage = todo.pop()
        if stage.number not in wanted:
            wanted.add(stage.number)
            words = (
                [] if stage.context else [stage.base if not stage.base.isdigit() else "", *_sources(stage)]
            )
            found = (find_stage(stages, word, before=stage.number) for word in words if word)
            todo.extend(source for source in found if source is not None)
    return [stage for stage in stages if stage.number in wanted]


def _sources(stage: Stage) -> Iterator[str]:
    for instruction in stage.instructions:
        inner = instruction
        if inner.name == "COPY" and inner.flag("from"):
            yield inner.flag("from")
        for mount in inner.all("mount") if inner.name == "RUN" else ():
            yield dict(part.partition("=")[::2] for part in mount.split(",")).get("from", "")


def dockerfile_text(home: Path, spec: BuildSpec) -> str:
    """The text of the Dockerfile: given, or read at its absolute path or below the context ``home``.

    Raises BuildFailed.
    """
    if spec.dockerfile_text:
        return spec.dockerfile_text
    path = Path(os.path.normpath(home / spec.dockerfile))
    try:
        return path.read_text("utf-8", "surrogateescape")
    except FileNotFoundError as error:
        raise BuildFailed(f"there is no {path}", hint="name it with 'dockerfile:'") from error
    except OSError as error:
        raise BuildFailed(f"{path} cannot be read: {error.strerror}") from error
