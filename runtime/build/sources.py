"""What COPY, ADD and RUN --mount can read in one build: the context, named contexts, stages, images, URLs.

Comes in:  the words of an instruction.
Goes out:  a Source and the Items in it.
Not here:  looking into a source (context), writing (copy).
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from urllib.parse import unquote, urlsplit

from runtime.build.context import Directory, Files, Item, Source, matches, open_directory
from runtime.build.spec import BuildSpec
from runtime.build.stages import Stage, find_stage
from runtime.build.state import State
from runtime.build.words import expand_heredoc
from runtime.errors import BuildFailed, RegistryError
from runtime.image.dockerfile.errors import DockerfileInvalid
from runtime.image.dockerfile.parse import Instruction
from runtime.image.manifest import Image
from runtime.image.transport import request

_URL = ("http://", "https://")
_GIT = ("git@", "git://", "ssh://")
_CHUNK = 1 << 18


class Sources:
    """Opened once each. layers: of a finished stage; image: by reference; work: a directory for what is
    passing."""

    def __init__(
        self,
        spec: BuildSpec,
        stages: Sequence[Stage],
        layers: Callable[[Stage], list[Path]],
        image: Callable[[str], Image],
        work: Path,
    ) -> None:
        self._spec, self._stages, self._layers, self._image, self._work = spec, stages, layers, image, work
        self._known: dict[str, Source] = {}

    def source(self, word: str, stage: Stage) -> Source:
        """The context for "", or what ``--from`` names: a stage before ``stage``, a named context, an
        image."""
        earlier = find_stage(self._stages, word, before=stage.number) if word else None
        if earlier is not None:
            return Files(self._layers(earlier))
        if word not in self._known:
            self._known[word] = self._open(word)
        return self._known[word]

    def _open(self, word: str) -> Source:
        if not word:
            file = self._spec.dockerfile if not self._spec.dockerfile_text else ""
            return open_directory(Path(self._spec.context), file)
        place = self._spec.additional_contexts.get(word, "")
        if place.startswith("/"):
            return open_directory(Path(place), "")
        return Files(self._image(place or word).layers)

    def items(
        self, state: State, instruction: Instruction, stage: Stage, names: Sequence[str]
    ) -> tuple[Source, list[Item]]:
        """Everything that the sources of a COPY or ADD name. Raises BuildFailed, RegistryError."""
        if instruction.heredocs:
            return self._here(state, instruction, names)
        if instruction.name == "ADD" and any(name.startswith((*_URL, *_GIT)) for name in names):
            return self._remote(state, instruction, names)
        source = self.source(state.expand(instruction.flag("from")), stage)
        items = [item for name in names for item in matches(source, name)]
        if not items:
            raise BuildFailed(f"nothing matches {' '.join(names)}")
        return source, items

    def _here(
        self, state: State, instruction: Instruction, names: Sequence[str]
    ) -> tuple[Source, list[Item]]:
        """Here-documents are files of a directory of their own; other sources cannot stand beside them."""
        if len(names) != len(instruction.heredocs):
            raise BuildFailed("files and here-documents cannot be copied by one instruction")
        home = self._home()
        for here in instruction.heredocs:
            if "/" in here.name or here.name in (".", ".."):
                raise DockerfileInvalid(f"'{here.name}' is not a name for a file")
            text = expand_heredoc(here.text(), state) if here.expand else here.text()
            _put(home / here.name, text.encode("utf-8", "surrogateescape"), 0o644)
        source = Directory(home)
        return source, [item for here in instruction.heredocs for item in matches(source, here.name)]

    def _home(self) -> Path:
        home = self._work / f"source-{len(list(self._work.iterdir()))}"
        home.mkdir()
        return home

    def _remote(
        self, state: State, instruction: Instruction, names: Sequence[str]
    ) -> tuple[Source, list[Item]]:
        """Files behind URLs, mode 0600 as Docker gives them; never unpacked unless ``--unpack`` asks for
        it."""
        home = self._home()
        for name in names:
            if not name.startswith(_URL) or urlsplit(name).path.endswith(".git"):
                raise BuildFailed(
                    f"ADD cannot fetch '{name}'", hint="files by http and https; clone repositories in a RUN"
                )
            file = unquote(urlsplit(name).path.rpartition("/")[2])
            if not file or "/" in file or file in (".", ".."):
                raise BuildFailed(f"'{name}' does not end in the name of a file")
            _fetch(name, home / file, state.expand(instruction.flag("checksum")))
        source = Directory(home)
        return source, [item for path in sorted(home.iterdir()) if (item := source.find(path.name))]


def _put(path: Path, data: bytes, mode: int) -> None:
    path.write_bytes(data)
    path.chmod(mode)
    os.utime(path, (0, 0))


def _fetch(url: str, target: Path, checksum: str) -> None:
    state = hashlib.sha256()
    with request("GET", url, {}) as answer, target.open("wb") as out:
        if answer.status != 200:
            raise RegistryError(f"{url} answered with {answer.status}")
        while chunk := answer.body.read(_CHUNK):
            out.write(chunk)
            state.update(chunk)
    target.chmod(0o600)
    os.utime(target, (0, 0))
    actual = "sha256:" + state.hexdigest()
    if checksum and checksum != actual:
        raise BuildFailed(f"{url} has the digest {actual}, not {checksum}")
