"""Where COPY takes files from: a directory of the host, or the files of an image or stage.

Comes in:  a directory and its ignore rules, or a View of layers; source names with wildcards.
Goes out:  Item values in order: what is to be copied, to which relative name; and what each file is.
Not here:  writing (copy), the rules themselves (image.dockerfile.ignore).
"""

from __future__ import annotations

import os
import posixpath
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Protocol

from runtime.build.digests import Digests
from runtime.errors import BuildFailed
from runtime.image.dockerfile import ignore
from runtime.image.dockerfile.errors import DockerfileInvalid
from runtime.image.view import View
from schemas.frozen import dataclass

_ATTRIBUTES = ("trusted.overlay.", "user.overlay.", "security.selinux", "system.posix_acl")


@dataclass(frozen=True, slots=True)
class Item:
    """One file to copy. path: in the source, no leading slash. host: where its bytes are. info: lstat of
    it."""

    path: str
    host: str
    info: os.stat_result

    def is_dir(self) -> bool:
        """Whether it is a directory."""
        return stat.S_ISDIR(self.info.st_mode)


class Source(Protocol):
    """Something that COPY can read. owners: whether the files' owners mean anything; plain: whether all of it
    lies in one directory of the host as it is to be seen."""

    owners: bool
    plain: bool

    def find(self, path: str) -> Item | None:
        """The file of that name, links followed inside the source; None when missing or ignored."""
        ...

    def children(self, item: Item) -> Iterator[Item]:
        """What is in a directory, sorted; without what is ignored with everything below it."""
        ...

    def hides(self, item: Item) -> bool:
        """Whether a directory is there only for what is below it and not ignored."""
        ...


class Directory:
    """A build context on the host. Links never lead out of it."""

    owners = False

    def __init__(self, root: Path, rules: ignore.Ignore | None = None) -> None:
        self._view = View([root])
        self._rules = rules
        self.plain = rules is None

    def find(self, path: str) -> Item | None:
        found = self._view.find(path)
        name = posixpath.normpath("/" + path).lstrip("/")
        if found is None or (name and self._rules and self._drops(name, directory=found.is_dir())):
            return None
        return Item(found.path.lstrip("/"), str(found.host), found.info)

    def _drops(self, path: str, *, directory: bool) -> bool:
        rules = self._rules
        return rules is not None and rules.matches(path) and (not directory or rules.prunes(path))

    def children(self, item: Item) -> Iterator[Item]:
        with os.scandir(item.host) as entries:
            names = sorted(entries, key=lambda entry: entry.name)
        for entry in names:
            path = f"{item.path}/{entry.name}" if item.path else entry.name
            if self._rules is None or not self._drops(path, directory=entry.is_dir(follow_symlinks=False)):
                yield Item(path, entry.path, entry.stat(follow_symlinks=False))

    def hides(self, item: Item) -> bool:
        return self._rules is not None and self._rules.matches(item.path)


class Files:
    """The files of an image or stage."""

    owners = True
    plain = False

    def __init__(self, layers: Sequence[Path]) -> None:
        self._view = View(layers)

    def find(self, path: str) -> Item | None:
        found = self._view.find(path)
        return Item(found.path.lstrip("/"), str(found.host), found.info) if found else None

    def children(self, item: Item) -> Iterator[Item]:
        directory = self._view.find("/" + item.path, follow=False)
        if directory is not None:
            for _, found in self._view.entries(directory):
                yield Item(found.path.lstrip("/"), str(found.host), found.info)

    def hides(self, item: Item) -> bool:
        return False


def matches(source: Source, pattern: str) -> list[Item]:
    """Files for one source word of COPY: the one of that name, or those that match its wildcards, sorted.

    Raises BuildFailed for a name that is not there.
    """
    name = posixpath.normpath("/" + pattern).lstrip("/")
    if not ignore.is_pattern(name):
        item = source.find(name)
        if item is None:
            raise BuildFailed(
                f"'{pattern}' is not in the build context" if not source.owners else f"'{pattern}' not found",
                hint="names are relative to the context; .dockerignore may keep it out",
            )
        return [item if item.is_dir() else Item(name, item.host, item.info)]  # by the name of a link to it
    root = source.find("")
    return [_followed(source, item) for item in _match(source, root, name.split("/"))] if root else []


def _followed(source: Source, item: Item) -> Item:
    """What a link leads to, under the link's name. Raises BuildFailed when it leads nowhere."""
    if not stat.S_ISLNK(item.info.st_mode):
        return item
    found = source.find(item.path)
    if found is None:
        raise BuildFailed(f"'{item.path}' is a link that leads nowhere")
    return found if found.is_dir() else Item(item.path, found.host, found.info)


def _match(source: Source, item: Item, parts: Sequence[str]) -> Iterator[Item]:
    if not parts:
        yield item
        return
    if parts[0] == "**":
        yield from _match(source, item, parts[1:])
    if not item.is_dir():
        return
    expression = ignore.compile_pattern(parts[0] if parts[0] != "**" else "*")
    for child in source.children(item):
        if expression.fullmatch(posixpath.basename(child.path)):
            yield from _match(source, child, parts if parts[0] == "**" else parts[1:])


def walk(source: Source, item: Item, exclude: Sequence[str] = ()) -> Iterator[tuple[str, Item]]:
    """``item`` and everything below, parents first, as (name relative to it, Item); "" for itself."""
    rules = ignore.patterns(exclude) if exclude else None
    yield "", item
    if item.is_dir():
        yield from _below(source, item, "", rules)


def _below(source: Source, item: Item, above: str, rules: ignore.Ignore | None) -> Iterator[tuple[str, Item]]:
    for child in source.children(item):
        name = f"{above}/{child.path.rpartition('/')[2]}" if above else child.path.rpartition("/")[2]
        excluded = rules is not None and rules.matches(name)
        if not child.is_dir():
            if not excluded:
                yield name, child
            continue
        if excluded and rules is not None and rules.prunes(name):
            continue
        inner = _below(source, child, name, rules)
        if excluded or source.hides(child):  # it is there only if something below it is
            first = next(inner, None)
            if first is None:
                continue
            yield name, child
            yield first
        else:
            yield name, child
        yield from inner


def contents(
    source: Source, items: Sequence[Item], exclude: Sequence[str], digests: Digests
) -> list[tuple[str, str]]:
    """What a step reads: each file's path and, in one text, mode, owner and content; times do not count."""
    found = []
    for item in items:
        for name, inner in walk(source, item, exclude):
            info = inner.info
            owner = f"{info.st_uid}:{info.st_gid}{_attributes(inner.host)}" if source.owners else "-"
            path = f"{item.path}/{name}" if name and item.path else name or item.path
            found.append((path, f"{info.st_mode:o} {owner} {_content(inner, digests)}"))
    return found


def _content(item: Item, digests: Digests) -> str:
    mode = item.info.st_mode
    if stat.S_ISREG(mode):
        return digests.of(item.host, item.info)
    if stat.S_ISLNK(mode):
        return os.fspath(Path(item.host).readlink()).replace(" ", "\0").replace("\n", "\0\0")
    return str(item.info.st_rdev) if stat.S_ISCHR(mode) or stat.S_ISBLK(mode) else "-"


def _attributes(path: str) -> str:
    """Extended attributes that COPY takes along, such as capabilities of a program."""
    names = [name for name in os.listxattr(path, follow_symlinks=False) if not name.startswith(_ATTRIBUTES)]
    values = [f",{name}={os.getxattr(path, name, follow_symlinks=False).hex()}" for name in sorted(names)]
    return "".join(values)


def open_directory(root: Path, dockerfile: str) -> Directory:
    """The context at ``root`` with its ignore rules. Raises BuildFailed."""
    return Directory(root, ignore_rules(root, dockerfile))


def ignore_rules(root: Path, dockerfile: str) -> ignore.Ignore | None:
    """Those of ``<dockerfile>.dockerignore`` or ``.dockerignore``, None for none. Raises BuildFailed."""
    for name in (f"{dockerfile}.dockerignore" if dockerfile else "", ".dockerignore"):
        path = root / name
        if name and path.is_file():
            try:
                return ignore.read(path.read_text("utf-8", "surrogateescape"), name)
            except DockerfileInvalid as error:  # its place is in that file, not in the Dockerfile
                raise BuildFailed(error.message, hint=error.hint) from error
    return None
