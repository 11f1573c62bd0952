"""The walk of ``build --check`` through the instructions of one stage, variables in hand.

Comes in:  a Stage, what its base is like, global and given arguments.
Goes out:  calls of ``note(rule, instruction, words...)``.
Not here:  what is seen in the file as a whole (lint), the rules' words (rules).
Source: docs.docker.com/reference/build-checks.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

from runtime.image.dockerfile.errors import DockerfileInvalid
from runtime.image.dockerfile.ignore import Ignore
from runtime.image.dockerfile.instruction import Instruction, legacy, name_values
from runtime.image.dockerfile.parse import trigger
from runtime.image.dockerfile.words import expand, expand_text, expand_words, split
from runtime.image.manifest import ImageConfig, host_platform
from runtime.spec import DEFAULT_PATH

Note = Callable[..., None]
_SECRET = re.compile(r"(?i)(?:_|^)(?:apikey|auth|credentials?|key|password|pword|passwd|secret|token)(?:_|$)")
_PUBLIC = re.compile(r"(?i)(?:_|^)public(?:_|$)")
_NOT_IN_ENV = ("BUILDKIT_SBOM_SCAN_CONTEXT", "BUILDKIT_SBOM_SCAN_STAGE")
_ONLY_ONCE = ("CMD", "ENTRYPOINT", "HEALTHCHECK")
_REMOTE = ("http://", "https://")


class Noting(Mapping[str, str]):
    """Variables that remember, in order, who was asked for: ``known`` and ``unknown`` names."""

    def __init__(self, values: Mapping[str, str]) -> None:
        self._values = values
        self.known: set[str] = set()
        self.unknown: dict[str, None] = {}

    def __getitem__(self, name: str) -> str:
        if name in self._values:
            self.known.add(name)
        else:
            self.unknown[name] = None
        return self._values[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)


@dataclass(slots=True)
class Stage:
    """One FROM and what is known after it.

    variables: None when the base image is not known. declared: names of ARG. rooted: a WORKDIR was met.
    """

    head: Instruction
    number: int
    instructions: list[Instruction] = field(default_factory=list)
    base: str = ""
    platform: str = ""
    variables: dict[str, str] = field(default_factory=dict)
    complete: bool = True
    declared: set[str] = field(default_factory=set)
    shell: bool = False
    rooted: bool = False
    triggers: list[Instruction] = field(default_factory=list)

    @property
    def name(self) -> str:
        """In lower case, "" when it has none."""
        words = self.head.words()
        return words[2].lower() if len(words) == 3 else ""

    def start(self, config: ImageConfig | None, escape: str) -> None:
        """From an image. Raises DockerfileInvalid for a trigger in it that is broken."""
        self.complete = config is not None
        self.variables = {"PATH": DEFAULT_PATH}
        if config is not None:
            self.variables.update(item.partition("=")[::2] for item in config.env)
            self.shell = bool(config.shell)
            self.triggers = [trigger(text, self.head.line, escape) for text in config.on_build]

    def inherit(self, parent: Stage) -> None:
        """From an earlier stage."""
        self.variables, self.complete = dict(parent.variables), parent.complete
        self.declared, self.shell, self.rooted = set(parent.declared), parent.shell, parent.rooted
        self.triggers = [
            trigger(one.rest, self.head.line) for one in parent.instructions if one.name == "ONBUILD"
        ]


class Walk:
    """Through one stage, from top to bottom."""

    def __init__(
        self,
        stage: Stage,
        outer: Mapping[str, str],
        given: Mapping[str, str],
        escape: str,
        ignore: Ignore | None,
        note: Note,
    ) -> None:
        self._stage, self._outer, self._given, self._escape = stage, outer, given, escape
        self._ignore, self._note = ignore, note
        self._met: dict[str, Instruction] = {}

    def all(self) -> None:
        """Every instruction. Raises DockerfileInvalid with a line."""
        for one in (*self._stage.triggers, *self._stage.instructions):
            with placed(one):
                self._one(one)

    def _one(self, one: Instruction) -> None:
        if one.name in _ONLY_ONCE:
            self._last_wins(one)
        if one.name in ("CMD", "ENTRYPOINT") and one.json is None and not self._stage.shell:
            self._note("JSONArgsRecommended", one, one.word)
        handlers: dict[str, Callable[[Instruction], None]] = {
            "ADD": self._copy, "ARG": self._arg, "COPY": self._copy, "ENV": self._pairs,
            "EXPOSE": self._expose, "LABEL": self._pairs, "STOPSIGNAL": self._word, "USER": self._word,
            "VOLUME": self._volume, "WORKDIR": self._workdir,
        }  # fmt: skip
        if one.name in handlers:
            handlers[one.name](one)
        elif one.name == "RUN":
            for mount in one.all("mount"):
                self._expand(one, mount)
        elif one.name == "SHELL":
            self._stage.shell = True

    def _last_wins(self, one: Instruction) -> None:
        if one.name in self._met:
            self._note("MultipleInstructionsDisallowed", self._met[one.name], one.word)
        self._met[one.name] = one

    def _expand(self, one: Instruction, text: str, *, lines: bool = False) -> str:
        """A word, or ``lines`` of a here-document, with unknown names told of."""
        noting = Noting(self._stage.variables)
        try:
            return expand_text(text, noting) if lines else expand(text, noting, self._escape)
        finally:
            self._undefined(one, noting)

    def _undefined(self, one: Instruction, noting: Noting) -> None:
        for name in noting.unknown if self._stage.complete else ():
            if name not in self._stage.declared and name not in _NOT_IN_ENV:
                close = nearest(name, self._stage.variables)
                self._note("UndefinedVar", one, name, f" (did you mean ${close}?)" if close else "")

    def _copy(self, one: Instruction) -> None:
        for flag in ("chown", "chmod", "checksum") if one.name == "ADD" else ("chown", "chmod"):
            self._expand(one, one.flag(flag))
        for pattern in one.all("exclude") if one.name == "ADD" else ():
            self._expand(one, pattern)
        documents = {here.word for here in one.heredocs}
        *names, target = one.words()
        words = [self._expand(one, word) for word in names if word not in documents]
        self._expand(one, target)
        for here in one.heredocs:
            if here.expand:
                self._expand(one, here.text(), lines=True)
        for word in words if not one.flag("from") else ():
            self._ignored(one, word)

    def _ignored(self, one: Instruction, word: str) -> None:
        """Ignore files with exceptions say nothing: what lies in an ignored directory may be taken in."""
        if self._ignore is None or self._ignore.exceptions or word.startswith(_REMOTE):
            return
        if self._ignore.covers(posixpath.normpath(word)):
            self._note("CopyIgnoredFile", one, one.name.capitalize(), word)

    def _arg(self, one: Instruction) -> None:
        for word in split(one.rest, self._escape, keep_quotes=True):
            name, equals, default = word.partition("=")
            self._secret(one, name)
            value = self._given.get(name)
            if value is None and equals:
                value = self._expand(one, default)
            elif value is None:
                value = self._outer.get(name)
            if value is not None and name not in _NOT_IN_ENV:
                self._stage.variables[name] = value
            self._stage.declared.add(name)

    def _pairs(self, one: Instruction) -> None:
        pairs = [
            (self._expand(one, key), self._expand(one, value))
            for key, value in name_values(one, self._escape)
        ]
        if legacy(one, self._escape):
            self._note("LegacyKeyValueFormat", one, one.word)
        if one.name == "ENV":
            for name, _ in pairs:
                self._secret(one, name)
            self._stage.variables.update(pairs)

    def _secret(self, one: Instruction, name: str) -> None:
        if _SECRET.search(name) and not _PUBLIC.search(name):
            self._note("SecretsUsedInArgOrEnv", one, one.name, name)

    def _expose(self, one: Instruction) -> None:
        for port in sorted(one.words()):
            for word in expand_words(port, self._stage.variables, self._escape):
                front, _, rest = word.rpartition(":")
                protocol = rest.partition("/")[2]
                if protocol != protocol.lower():
                    self._note("ExposeProtoCasing", one, word)
                if front:
                    self._note("ExposeInvalidFormat", one, word)

    def _word(self, one: Instruction) -> None:
        self._expand(one, one.rest)

    def _volume(self, one: Instruction) -> None:
        for word in one.words():
            if not self._expand(one, word):
                raise DockerfileInvalid("VOLUME specified can not be an empty string")

    def _workdir(self, one: Instruction) -> None:
        path = self._expand(one, one.rest)
        if not self._stage.rooted and not path.startswith("/"):
            self._note("WorkdirRelativePath", one, path)
        self._stage.rooted = True


@contextmanager
def placed(one: Instruction) -> Iterator[None]:
    """Errors without a line get the one of this instruction."""
    try:
        yield
    except DockerfileInvalid as error:
        raise DockerfileInvalid(error.bare, line=error.line or one.line, hint=error.hint) from error


def predefined(platform: str, given: Mapping[str, str]) -> dict[str, str]:
    """The arguments every FROM knows. Source: Dockerfile reference, "Automatic platform ARGs"."""
    found = {"TARGETSTAGE": "default"}
    for prefix, text in (("BUILD", host_platform()), ("TARGET", platform)):
        system, _, rest = text.partition("/")
        machine, _, variant = rest.partition("/")
        names = {"PLATFORM": text, "OS": system, "OSVERSION": "", "ARCH": machine, "VARIANT": variant}
        found.update({prefix + key: value for key, value in names.items()})
    return {name: given.get(name, value) for name, value in found.items()}


def sources(stage: Stage) -> Iterator[str]:
    """What a stage copies from or mounts, by the names in the file."""
    for one in stage.instructions:
        if one.name == "COPY":
            yield one.flag("from")
        for mount in one.all("mount"):
            yield dict(part.partition("=")[::2] for part in mount.split(",")).get("from", "")


def nearest(name: str, known: Iterable[str]) -> str:
    """The first of ``known`` that at most two edits part from ``name``, the nearer the better; "" if none."""
    best, distance = "", 3
    for other in known:
        edits = _edits(name, other) if abs(len(name) - len(other)) < distance else distance
        if edits < distance:
            best, distance = other, edits
    return best


def _edits(one: str, other: str) -> int:
    """Levenshtein's distance."""
    row = list(range(len(other) + 1))
    for number, char in enumerate(one, 1):
        diagonal, row[0] = row[0], number
        for place, against in enumerate(other, 1):
            cost = min(row[place] + 1, row[place - 1] + 1, diagonal + (char != against))
            diagonal, row[place] = row[place], cost
    return row[-1]
