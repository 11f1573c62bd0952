"""What COPY, ADD and RUN --mount can read in one build: the context, named contexts, stages, images, URLs.

Comes in:  the words of an instruction.
Goes out:  a Source; Lots: what a step reads, told before it is fetched.
Not here:  looking into a source (context), fetching (contexts, remote, git), writing (copy).
"""

from __future__ import annotations

import hashlib
import os
import posixpath
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

from runtime.build import git, remote
from runtime.build.context import Directory, Files, Item, Source, contents, matches, open_directory
from runtime.build.contexts import LAYOUT, Contexts
from runtime.build.digests import Digests
from runtime.build.git import Git, Repository
from runtime.build.remote import Answer, Downloads
from runtime.build.spec import BuildSpec
from runtime.build.stages import Stage, from_stage, named_context
from runtime.build.state import State
from runtime.errors import BuildFailed
from runtime.image.dockerfile.errors import DockerfileInvalid
from runtime.image.dockerfile.instruction import Heredoc, Instruction
from runtime.image.dockerfile.words import expand_text
from runtime.image.manifest import Image
from schemas.frozen import dataclass

Content = tuple[Source, list[Item]]


@dataclass(frozen=True, slots=True)
class Lot:
    """One source word. files: for the key, known without fetching; open: fetches; unpack: archives of it are
    unpacked; count: files it gives at the top; pivot: what stands before ``/./`` in it."""

    files: Sequence[tuple[str, str]]
    open: Callable[[], Content]
    owners: bool = False
    unpack: bool = False
    count: int = 1
    pivot: str = ""


class Sources:
    """Opened once each. layers: of a stage, waited for; image: by reference; room: for what is passing."""

    def __init__(
        self, spec: BuildSpec, stages: Sequence[Stage], layers: Callable[[Stage], list[Path]],
        image: Callable[[str], Image], contexts: Contexts, downloads: Downloads, git: Git, digests: Digests,
        room: Path,
    ) -> None:  # fmt: skip
        self._spec, self._stages, self._layers, self._image, self._room = spec, stages, layers, image, room
        self._contexts, self._downloads, self._git = contexts, downloads, git
        self._lock = threading.RLock()
        self._known: dict[str, Source] = {}
        self._count = 0
        self.digests = digests

    # --- where from

    def source(self, word: str, stage: Stage) -> Source:
        """The context for "", or what ``--from`` names: named context, stage before ``stage``, image."""
        place = named_context(self._spec.additional_contexts, word) if word else ""
        earlier = from_stage(self._stages, word, stage) if word and not place else None
        if earlier is not None:
            return Files(self._layers(earlier))
        with self._lock:
            if word not in self._known:
                self._known[word] = self._open(word, place)
            return self._known[word]

    def _open(self, word: str, place: str) -> Source:
        if not word:
            file = self._spec.dockerfile if not self._spec.dockerfile_text else ""
            return open_directory(self._contexts.directory(self._spec.context), file)
        if image := self.image_of(place or word):
            return Files(image.layers)
        return open_directory(self._contexts.directory(place), "")

    def image_of(self, place: str) -> Image | None:
        """The image behind a named context or a reference; None when it is a directory."""
        if place.startswith(LAYOUT):
            return self._contexts.layout(place)
        if place.startswith("/") or remote.is_url(place) or git.read(place):
            return None
        return self._image(place.removeprefix("docker-image://"))

    def directory_of(self, place: str) -> Source:
        """The files of a named context that is a directory."""
        return open_directory(self._contexts.directory(place), "")

    # --- what

    def lots(self, state: State, instruction: Instruction, stage: Stage, names: Sequence[str]) -> list[Lot]:
        """What the source words of a COPY or ADD name. Raises BuildFailed, RegistryError."""
        heredocs = {here.word: here for here in instruction.heredocs}
        exclude = tuple(state.expand(word) for word in instruction.all("exclude"))
        found = []
        for name in names:
            if name in heredocs:
                found.append(self._here(state, heredocs[name]))
            elif instruction.name == "ADD" and (repository := git.read(name)):
                found.append(self._repository(instruction, state, name, repository))
            elif instruction.name == "ADD" and remote.is_url(name):
                found.append(self._download(instruction, state, name))
            else:
                found.append(self._local(instruction, state, stage, name, exclude))
        return found

    def _local(
        self, instruction: Instruction, state: State, stage: Stage, name: str, exclude: Sequence[str]
    ) -> Lot:
        word = instruction.flag("from")
        if "$" in word:
            raise DockerfileInvalid(
                "variable expansion is not supported for --from",
                hint="define a stage 'FROM $ARG AS name' with a global ARG and copy from that",
            )
        source = self.source(word, stage)
        items = matches(source, name)
        return Lot(
            contents(source, items, exclude, self.digests),
            lambda: (source, items),
            owners=source.owners,
            unpack=instruction.name == "ADD" and instruction.flag("unpack", "true") != "false",
            count=len(items),
            pivot=posixpath.normpath("/" + name.partition("/./")[0]).lstrip("/") if "/./" in name else "",
        )

    def _here(self, state: State, here: Heredoc) -> Lot:
        if "/" in here.name or here.name in (".", ".."):
            raise DockerfileInvalid(f"'{here.name}' is not a name for a file")
        text = expand_text(here.text(), state.variables()) if here.expand else here.text()
        data = text.encode("utf-8", "surrogateescape")

        def write() -> Content:
            home = self._home()
            path = home / here.name
            path.write_bytes(data)
            path.chmod(0o644)
            os.utime(path, (0, 0))
            return _only(home, here.name)

        return Lot([(here.name, f"here - {hashlib.sha256(data).hexdigest()}")], write)

    def _download(self, instruction: Instruction, state: State, url: str) -> Lot:
        """A file behind a URL, mode 0600 as Docker gives it; only ``--unpack`` unpacks it.

        With ``--checksum`` nothing is asked for as long as the step is kept.
        """
        checksum, name = state.expand(instruction.flag("checksum")), remote.file_name(url)
        if checksum and not checksum.startswith("sha256:"):
            raise BuildFailed(f"--checksum={checksum} is not a sha256 digest", hint="sha256:<64 digits>")
        answer = Answer(checksum[7:], -1) if checksum else self._downloads.look(url)

        def fetch() -> Content:
            home = self._home()
            self._downloads.file(url, checksum).rename(home / name)
            return _only(home, name)

        unpack = instruction.flag("unpack", "false") != "false"
        return Lot([(url, f"url {answer.when} {answer.digest}")], fetch, unpack=unpack)

    def _repository(self, instruction: Instruction, state: State, text: str, repository: Repository) -> Lot:
        keep = instruction.flag("keep-git-dir", "false") != "false" or self._spec.args.get(
            "BUILDKIT_CONTEXT_KEEP_GIT_DIR", ""
        ) in ("1", "true")
        commit, checksum = self._git.commit(repository), state.expand(instruction.flag("checksum"))
        if checksum and not commit.startswith(checksum):
            raise BuildFailed(f"{text} is the commit {commit}, not {checksum}")

        def fetch() -> Content:
            home = self._home() / "files"
            source = Directory(self._git.check_out(repository, commit, home, keep=keep))
            return _only_root(source)

        return Lot([(text, f"git {keep} {commit}")], fetch)

    def _home(self) -> Path:
        with self._lock:
            self._count += 1
            home = self._room / f"source-{self._count}"
        home.mkdir()
        return home


def _only(home: Path, name: str) -> Content:
    source = Directory(home)
    item = source.find(name)
    return source, [item] if item else []


def _only_root(source: Directory) -> Content:
    item = source.find("")
    return source, [item] if item else []
