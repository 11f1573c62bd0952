"""``--change``: instructions that alter the configuration of an image which no Dockerfile made.

Comes in:  a configuration, instructions as texts.
Goes out:  the configuration after them. Pure.
Source: docker import and docker commit, --change.
"""

from __future__ import annotations

from collections.abc import Iterable

from runtime.build.state import State, apply
from runtime.image.dockerfile.errors import DockerfileInvalid
from runtime.image.dockerfile.parse import parse
from runtime.image.manifest import ImageConfig
from schemas.frozen import replace

ALLOWED = (
    "CMD", "ENTRYPOINT", "ENV", "EXPOSE", "HEALTHCHECK", "LABEL", "ONBUILD", "STOPSIGNAL", "USER", "VOLUME",
    "WORKDIR",
)  # fmt: skip


def changed(config: ImageConfig, changes: Iterable[str]) -> ImageConfig:
    """Apply each text of ``changes`` in order. Raises DockerfileInvalid for what is no such instruction."""
    state = State(layers=[], config=config, given={}, outer={})
    for text in changes:
        for instruction in parse(text, "--change").instructions:
            if instruction.name not in ALLOWED:
                raise DockerfileInvalid(
                    f"{instruction.name} is not allowed in --change", hint="one of " + ", ".join(ALLOWED)
                )
            if instruction.name == "WORKDIR":
                path = state.directory(state.expand(instruction.rest))
                state.change(working_dir=path.rstrip("/") or "/")
            else:
                apply(state, instruction)
    return replace(state.config, history=config.history)
