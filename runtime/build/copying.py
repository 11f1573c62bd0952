"""COPY and ADD as steps: their words, their key, their layer.

Comes in:  an instruction, the stage it stands in.
Goes out:  a layer on top of the stage.
Not here:  what can be read (sources), writing files (copy).
Source: Dockerfile reference, sections COPY and ADD; "Linked copies" for ``--link``.
"""

from __future__ import annotations

import posixpath
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from runtime.build.copy import Layer, Wish, copy
from runtime.build.facts import Facts
from runtime.build.sources import Lot
from runtime.build.state import State
from runtime.build.words import printable
from runtime.image.dockerfile.errors import DockerfileInvalid
from runtime.image.dockerfile.instruction import Instruction
from runtime.image.view import View

if TYPE_CHECKING:
    from runtime.build.stage import StageBuild

Known = dict[str, tuple[int, int, int]]


def step(stage: StageBuild, state: State, instruction: Instruction) -> None:
    """Carry out one COPY or ADD. Raises BuildFailed, DockerfileInvalid, RegistryError."""
    *names, destination = words(state, instruction)
    lots = stage.desk.sources.lots(state, instruction, stage.stage, names)
    target, view = state.directory(destination), stage.view(state)
    linked = instruction.flag("link", "false") != "false"
    wish = _wish(stage, state, instruction, owners=any(lot.owners for lot in lots))
    parents = directories(view, target) if linked else {}
    facts = Facts(
        text=printable(instruction.text()),
        layers=() if linked else tuple(state.layers),
        parts={
            "name": instruction.name, "the destination": target, "--chown": wish.owner, "--chmod": wish.mode,
            "--parents": wish.parents, "--exclude": wish.exclude, "--unpack": [lot.unpack for lot in lots],
            "directories above": parents, "pivot": [lot.pivot for lot in lots],
        },
        files=[file for lot in lots for file in lot.files],
    )  # fmt: skip

    def make(diff: Path) -> None:
        below = Layer(diff, View([]) if linked else view, parents)
        write(below, lots, target, wish)

    stage.layer(state, facts, make)


def write(layer: Layer, lots: Sequence[Lot], target: str, wish: Wish) -> None:
    """Write every lot to ``target``."""
    from schemas.frozen import replace

    for lot in lots:
        source, items = lot.open()
        copy(layer, source, items, target, replace(wish, unpack=lot.unpack, pivot=lot.pivot))


def _wish(stage: StageBuild, state: State, instruction: Instruction, *, owners: bool) -> Wish:
    chown = state.expand(instruction.flag("chown"))
    owner = stage.owner(state, chown, "--chown=") if chown else None if owners else (0, 0)
    return Wish(
        owner=owner,
        chown=bool(chown),
        mode=state.expand(instruction.flag("chmod")),
        parents=instruction.flag("parents", "false") != "false",
        exclude=tuple(state.expand(word) for word in instruction.all("exclude")),
    )


def words(state: State, instruction: Instruction) -> list[str]:
    """Sources and destination, variables replaced. Raises DockerfileInvalid."""
    here = {heredoc.word for heredoc in instruction.heredocs}
    found = [word if word in here else state.expand(word) for word in instruction.words()]
    if len(found) < 2:
        raise DockerfileInvalid(f"{instruction.name} needs a source and a destination")
    return found


def directories(view: View, target: str) -> Known:
    """Owner and mode of the directories on the way to ``target`` that are there: a linked layer, which stands
    on nothing, must not change them. Links on the way are not followed, as with BuildKit."""
    found: Known = {}
    path = ""
    for part in (part for part in posixpath.normpath(target).split("/") if part):
        path = f"{path}/{part}"
        there = view.find(path, follow=False)
        if there is None or not there.is_dir():
            break
        info = there.info
        found[path] = (info.st_uid, info.st_gid, stat.S_IMODE(info.st_mode))
    return found
