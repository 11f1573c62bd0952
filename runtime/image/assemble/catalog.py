"""Which references can be assembled, and by which recipe.

Comes in:  a reference as a user writes it.
Goes out:  yes or no, the recipe, or the tags that come closest.
Not here:  the recipes. A tag is offered only when the version it names is the one that Debian has; where it
           names a patch release, that is checked against the archive first (``Offer.exact``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from difflib import SequenceMatcher
from functools import partial

from runtime.image.assemble.recipe import Recipe
from runtime.image.assemble.recipes.busybox import busybox
from runtime.image.assemble.recipes.debian import debian
from runtime.image.assemble.recipes.nginx import nginx
from runtime.image.assemble.recipes.node import node
from runtime.image.assemble.recipes.postgres import postgres
from runtime.image.assemble.recipes.python import python
from runtime.image.assemble.recipes.redis import redis
from runtime.image.errors import InvalidReference
from runtime.image.reference import parse
from schemas.frozen import dataclass

Make = Callable[..., Recipe]


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """A tag that can be had. exact: the upstream version it names, "" when it names none ("slim", "15")."""

    reference: str
    make: Callable[[], Recipe]
    exact: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """The tags of one recipe. versions: first the shortest; suffixes: "" means the bare version.

    open: the last version begins patch releases that the archive moves through ("15" of "15.20").
    """

    repository: str
    versions: tuple[str, ...]
    suffixes: tuple[str, ...]
    make: Make
    names: tuple[str, ...] = ()
    open: bool = False

    def tags(self) -> list[str]:
        """Every tag with a fixed spelling."""
        return [*self.names, *(version + suffix for version in self.versions for suffix in self.suffixes)]

    def match(self, tag: str) -> str | None:
        """None when ``tag`` is not of this line, else the exact version it asks for, or ""."""
        if tag in self.tags():
            return ""
        if self.open:
            for suffix in sorted(self.suffixes, key=len, reverse=True):
                version = tag.removesuffix(suffix) if suffix else tag
                patch = version.removeprefix(self.versions[-1] + ".")
                if tag.endswith(suffix) and patch != version and patch.isdigit():
                    return version
        return None


def _debian(codename: str, number: str, *names: str) -> Iterable[Line]:
    versions = (codename, number, *names)
    make = partial(debian, codename)
    yield Line(
        repository="debian", versions=versions, suffixes=("",), make=partial(make, small=False), open=False
    )
    yield Line(repository="debian", versions=versions, suffixes=("-slim",), make=partial(make, small=True))


def _python(codename: str, version: str) -> Iterable[Line]:
    make = partial(python, codename, version)
    slim, full = ("-slim", f"-slim-{codename}"), ("", f"-{codename}")
    yield Line(
        repository="python", versions=(version,), suffixes=slim, make=partial(make, small=True), open=True
    )
    yield Line(
        repository="python", versions=(version,), suffixes=full, make=partial(make, small=False), open=True
    )


def _node(codename: str, version: str, minor: str) -> Iterable[Line]:
    make = partial(node, codename)
    versions = (version, minor)
    slim, full = ("-slim", f"-{codename}-slim"), ("", f"-{codename}")
    yield Line(repository="node", versions=versions, suffixes=slim, make=partial(make, small=True), open=True)
    yield Line(
        repository="node", versions=versions, suffixes=full, make=partial(make, small=False), open=True
    )


def _suffixes(codename: str) -> tuple[str, ...]:
    return ("", f"-{codename}")


LINES: tuple[Line, ...] = (
    *_debian("bookworm", "12", "oldstable"),
    *_debian("trixie", "13", "stable", "latest"),
    *_python("bookworm", "3.11"),
    *_python("trixie", "3.13"),
    *_node("bookworm", "18", "18.20"),
    *_node("trixie", "20", "20.19"),
    Line(
        repository="postgres",
        versions=("15",),
        suffixes=_suffixes("bookworm"),
        make=partial(postgres, "bookworm", "15", llvm="libllvm14"),
        open=True,
    ),
    Line(
        repository="postgres",
        versions=("17",),
        suffixes=_suffixes("trixie"),
        make=partial(postgres, "trixie", "17", llvm="libllvm19"),
        open=True,
    ),
    Line(
        repository="redis",
        versions=("7", "7.0"),
        suffixes=_suffixes("bookworm"),
        make=partial(redis, "bookworm"),
        open=True,
    ),
    Line(
        repository="redis",
        versions=("8", "8.0"),
        suffixes=_suffixes("trixie"),
        make=partial(redis, "trixie"),
        open=True,
    ),
    Line(
        repository="nginx",
        versions=("1.22",),
        suffixes=_suffixes("bookworm"),
        make=partial(nginx, "bookworm"),
        open=True,
    ),
    Line(
        repository="nginx",
        versions=("1.26",),
        suffixes=_suffixes("trixie"),
        make=partial(nginx, "trixie"),
        open=True,
    ),
    Line(
        repository="busybox",
        versions=("1", "1.35"),
        suffixes=("", "-glibc"),
        make=partial(busybox, "bookworm"),
        names=("latest", "stable", "glibc", "stable-glibc"),
        open=True,
    ),
)


def find(reference: str) -> Offer | None:
    """The offer for a reference in any spelling ("postgres:15", "docker.io/library/postgres:15"), or None.

    A digest asks for exact content, which nothing made here has: None.
    """
    try:
        name = parse(reference)
    except InvalidReference:
        return None
    repository = name.repository.removeprefix("library/")
    if name.registry != "docker.io" or name.digest or "/" in repository:
        return None
    tag = name.tag or "latest"
    for line in LINES:
        exact = line.match(tag) if line.repository == repository else None
        if exact is not None:
            title = f"{repository}:{tag}"
            return Offer(reference=title, make=partial(line.make, title=title), exact=exact)
    return None


def offers(reference: str) -> bool:
    """Whether ``reference`` is one that can be assembled."""
    return find(reference) is not None


def closest(reference: str) -> tuple[str, ...]:
    """The tags that can be had in place of ``reference``: of its repository, the likeliest first; or none.

    Of the same meaning only the shortest spelling is named.
    """
    try:
        name = parse(reference)
    except InvalidReference:
        return ()
    repository = name.repository.removeprefix("library/")
    tag = name.tag or "latest"
    slim = "slim" in tag
    found = [line for line in LINES if line.repository == repository]
    found.sort(key=lambda line: (("-slim" in line.suffixes[0]) != slim, -_alike(tag, line.versions[0])))
    have = [f"{repository}:{line.versions[0]}{line.suffixes[0]}" for line in found]
    return tuple(have)


def _alike(wanted: str, version: str) -> float:
    return SequenceMatcher(None, wanted, version).ratio()
