"""The form of each instruction's arguments, checked while the file is read and before anything is built.

Comes in:  one Instruction.
Goes out:  nothing, or DockerfileInvalid.
Not here:  what depends on variables, stages or files (runtime.build).
Source: Dockerfile reference; the wording is the one people know from BuildKit.
"""

from __future__ import annotations

import re

from runtime.image.dockerfile.errors import DockerfileInvalid
from runtime.image.dockerfile.instruction import Instruction, name_values
from runtime.image.dockerfile.words import split

_STAGE = re.compile(r"[a-z][a-z0-9._-]*")
_EXACTLY_ONE = ("MAINTAINER", "STOPSIGNAL", "USER", "WORKDIR")
_AT_LEAST_ONE = ("ARG", "ENV", "EXPOSE", "HEALTHCHECK", "LABEL", "ONBUILD", "SHELL", "VOLUME")
_HERE_WORD = re.compile(r"\d*<<-?[^<]+")


def check(found: Instruction, escape: str) -> None:
    """Refuse what cannot be right. Raises DockerfileInvalid without a line."""
    name = found.name
    if name in _EXACTLY_ONE and not found.rest:
        raise DockerfileInvalid(f"{name} requires exactly one argument")
    if name in _AT_LEAST_ONE and not found.rest:
        raise DockerfileInvalid(f"{name} requires at least one argument")
    if name in ("ENV", "LABEL"):
        name_values(found, escape)
    elif name == "FROM":
        _from(found)
    elif name in ("COPY", "ADD"):
        _copy(found)
    elif name == "ARG":
        _arg(found, escape)
    elif name == "VOLUME" and not all(word.strip() for word in found.words()):
        raise DockerfileInvalid("VOLUME specified can not be an empty string")
    elif name == "SHELL":
        _shell(found)
    elif name == "HEALTHCHECK":
        _health(found)
    elif name == "RUN" and found.json == ():
        raise DockerfileInvalid("RUN [] has no command")


def _from(found: Instruction) -> None:
    words = found.words()
    if len(words) not in (1, 3) or (len(words) == 3 and words[1].upper() != "AS"):
        raise DockerfileInvalid(
            "FROM needs one image, or '<image> AS <name>': it requires either one or three arguments"
        )
    if len(words) == 3 and not _STAGE.fullmatch(words[2].lower()):
        raise DockerfileInvalid(
            f"'{words[2]}' is not a name for a stage",
            hint="it begins with a letter; then letters, digits and - _ . may follow",
        )


def _copy(found: Instruction) -> None:
    words = found.words()
    if len(words) < 2:
        count = "only one was" if words else "none was"
        raise DockerfileInvalid(
            f"{found.name} needs a source and a destination: it requires at least two arguments, "
            f"but {count} provided"
        )
    if found.json is None and _HERE_WORD.fullmatch(words[-1]):
        raise DockerfileInvalid(f"{found.name} cannot accept a heredoc as a destination")


def _arg(found: Instruction, escape: str) -> None:
    for word in split(found.rest, escape, keep_quotes=True):
        if word.startswith("="):
            raise DockerfileInvalid("ARG names can not be blank")


def _shell(found: Instruction) -> None:
    if found.json is None:
        raise DockerfileInvalid(
            "SHELL requires the arguments to be in JSON form", hint='SHELL ["/bin/bash", "-c"]'
        )
    if not found.json:
        raise DockerfileInvalid("SHELL requires at least one argument")


def _health(found: Instruction) -> None:
    kind, *rest = found.rest.split(maxsplit=1)
    if kind.upper() == "NONE" and rest:
        raise DockerfileInvalid("HEALTHCHECK NONE takes no arguments")
    if kind.upper() not in ("NONE", "CMD"):
        raise DockerfileInvalid(f"HEALTHCHECK needs CMD or NONE, not '{kind}'")
    if kind.upper() == "CMD" and (not rest or found.json == ()):
        raise DockerfileInvalid("Missing command after HEALTHCHECK CMD")
