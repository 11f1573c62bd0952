"""What a recipe is: the packages of an image, what is done around configuring them, its configuration.

Comes in:  nothing.
Goes out:  Recipe, Need (which packages), and small helpers that recipes share.
Not here:  the recipes (recipes/), which tag means which (catalog), carrying them out (assembly).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from importlib import resources

from runtime.image.assemble.packages import Package
from runtime.image.assemble.tree import Tree
from runtime.image.assemble.unpack import Skip, everything
from runtime.image.manifest import ImageConfig
from schemas.frozen import dataclass, field

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_HERE = resources.files("runtime.image.assemble")
VERSION = "1"  # of all recipes: a change of any of them makes new layers


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What recipes may want to know. packages: of this layer, by name. mirror: main and security URIs."""

    codename: str
    packages: dict[str, Package]
    mirror: tuple[str, str]
    check_dates: bool = True

    def version(self, name: str) -> str:
        """The whole Debian version of a package of this layer."""
        return self.packages[name].version

    def upstream(self, name: str) -> str:
        """The version its makers gave it: no epoch, no Debian revision."""
        version = self.version(name).partition(":")[2] or self.version(name)
        return version.rpartition("-")[0].partition("+")[0].partition("~")[0] or version


def _nothing(tree: Tree, facts: Facts) -> None:
    """The step of a recipe that has nothing to do."""


def _never(name: str) -> bool:
    return False


Step = Callable[[Tree, Facts], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """How one layer is made.

    packages: wished by name; what they depend on comes with them. required: also the whole minimal system.
    hollow:   packages recorded as installed, but not fetched: what needs them works without.
    skip:     files left out. settled: packages whose postinst is not run, because the recipe does its work.
    layout:   before the first file. before: right after unpacking.
    script:   shell, run in the root after dpkg has configured everything.
    after:    at the end.
    """

    packages: tuple[str, ...]
    required: bool = False
    hollow: tuple[str, ...] = ()
    skip: Skip = everything
    settled: Callable[[str], bool] = _never
    layout: Step = _nothing
    before: Step = _nothing
    script: str = ""
    after: Step = _nothing
    has_dpkg: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """One image. title: as in "Debian stand-in for postgres:15". layers: lowest first.

    main: the package whose upstream version is the image's, "" for the release itself.
    """

    title: str
    codename: str
    layers: tuple[Layer, ...]
    main: str = ""
    config: Callable[[Facts], ImageConfig] = field(default=lambda facts: ImageConfig())


def shipped(name: str) -> bytes:
    """A file of ``files/`` that goes into images as it is."""
    return _HERE.joinpath("files", name).read_bytes()


def fingerprint() -> str:
    """A digest of everything that recipes are written in, so that a changed one makes a new layer."""
    state = hashlib.sha256(VERSION.encode())
    for folder in ("files", "recipes"):
        for item in sorted(_HERE.joinpath(folder).iterdir(), key=lambda item: item.name):
            if item.is_file():
                state.update(item.name.encode() + item.read_bytes())
    return state.hexdigest()


def add_user(tree: Tree, name: str, uid: int, home: str, shell: str = "/usr/sbin/nologin") -> None:
    """Add a user and a group of the same name and number, before a script picks another number."""
    lines: Sequence[tuple[str, str, int]] = (
        ("etc/passwd", f"{name}:x:{uid}:{uid}::{home}:{shell}\n", 0o644),
        ("etc/group", f"{name}:x:{uid}:\n", 0o644),
        ("etc/shadow", f"{name}:!:19000::::::\n", 0o640),
        ("etc/gshadow", f"{name}:!::\n", 0o640),
    )
    for path, line, mode in lines:
        text = tree.read(path)
        if not any(old.startswith(f"{name}:") for old in text.splitlines()):
            tree.file(path, text + line, mode, 0, 42 if mode == 0o640 else 0)
