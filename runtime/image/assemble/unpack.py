"""Do what ``dpkg --unpack`` does, for many packages at once: files in place, and dpkg's database saying so.

Comes in:  packages taken apart (deb), a Tree.
Goes out:  files, /var/lib/dpkg/{status,info,triggers}; packages "unpacked", ready to be configured.
Not here:  running their scripts (configure). preinst scripts are not run: recipes are a closed, tested list.
Source: deb-control(5), dpkg(1), deb-triggers(5), /usr/share/doc/dpkg/triggers.txt.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from runtime.image.assemble.deb import Deb
from runtime.image.assemble.packages import Package, fields
from runtime.image.assemble.tree import Tree

DATABASE = "var/lib/dpkg"
SLIM = re.compile(
    r"usr/share/(doc/(?!.*copyright$).*|man/.*|info/.*|groff/.*|lintian/.*|linda/.*|locale/(?!locale\.alias).*)"
)
Skip = Callable[[str], bool]


def everything(name: str) -> bool:
    """A ``Skip`` that skips nothing."""
    return False


def slim(name: str) -> bool:
    """A ``Skip`` for what slim images leave out: manuals, translations, documents but copyrights."""
    return SLIM.fullmatch(name) is not None


@dataclass(slots=True)
class Unpacked:
    """What was unpacked so far: stanzas for ``status``, and who waits for which trigger.

    settled: whether a package, by name, counts as installed without its postinst, whose work the recipe does.
    A package without a postinst has nothing left to do either; ldconfig runs after all of them.
    """

    settled: Callable[[str], bool] = field(default=lambda name: False)
    stanzas: list[str] = field(default_factory=list)
    triggers: dict[str, list[str]] = field(default_factory=dict)
    paths: list[str] = field(default_factory=list)

    def add(self, deb: Deb, tree: Tree, skip: Skip = everything) -> None:
        """Put one package's files in place and remember what dpkg must know."""
        control = fields(deb.control["control"].decode())
        shipped = set(deb.control.get("conffiles", b"").decode().split("\n"))
        names: list[str] = []
        sums: dict[str, str] = {}
        for entry in deb.entries():
            names.append(entry.name)
            if skip(entry.name) or (entry.kind == "5" and skip(entry.name + "/")):
                continue
            tree.entry(entry)
            if f"/{entry.name}" in shipped:
                sums[f"/{entry.name}"] = hashlib.md5(entry.data, usedforsecurity=False).hexdigest()
        self._record(control, deb, tree, names, sums)

    @staticmethod
    def files(deb: Deb, tree: Tree, skip: Skip) -> None:
        """Put one package's files in place, and no word of it in a database: for roots without dpkg."""
        for entry in deb.entries():
            if entry.kind != "5" and not skip(entry.name):
                tree.entry(entry)

    def hollow(self, package: Package, tree: Tree) -> None:
        """Record a package as installed with no files, so that apt finds the dependency met."""
        control = {
            "Package": package.name,
            "Version": package.version,
            "Architecture": package.architecture,
            "Multi-Arch": package.multi_arch,
            "Maintainer": "Debian",
            "Description": "left out of this image\n Nothing of it is here; what needs it works without.",
        }
        control = {name: value for name, value in control.items() if value}
        tree.file(f"{DATABASE}/info/{_info(control)}.list", "/.\n")
        tree.file(f"{DATABASE}/info/{_info(control)}.md5sums", "")
        self.stanzas.append(stanza(control, {}, "installed"))

    def _record(
        self, control: dict[str, str], deb: Deb, tree: Tree, names: list[str], sums: dict[str, str]
    ) -> None:
        info = f"{DATABASE}/info/{_info(control)}"
        for member, content in deb.control.items():
            if member != "control":
                mode = 0o755 if member in ("preinst", "postinst", "prerm", "postrm", "config") else 0o644
                tree.file(f"{info}.{member}", content, mode)
        tree.file(f"{info}.list", listing(names))
        waiting = "postinst" in deb.control and not self.settled(control["Package"])
        self.stanzas.append(stanza(control, sums, "unpacked" if waiting else "installed"))
        self._triggers(control["Package"], deb.control.get("triggers", b"").decode())

    def _triggers(self, package: str, text: str) -> None:
        """deb-triggers(5): ``interest[-noawait] NAME-or-/PATH``; activations need no record."""
        for line in text.splitlines():
            words = line.split("#")[0].split()
            if len(words) == 2 and words[0].startswith("interest"):
                waiter = f"{package}/noawait" if words[0].endswith("-noawait") else package
                if words[1].startswith("/"):
                    self.paths.append(f"{words[1]} {waiter}\n")
                else:
                    self.triggers.setdefault(words[1], []).append(waiter + "\n")

    def write(self, tree: Tree) -> None:
        """Add to dpkg's database in ``tree`` what was unpacked; what lower layers have is kept."""
        status = tree.read(f"{DATABASE}/status")
        tree.file(f"{DATABASE}/status", status + "".join(self.stanzas))
        for name, waiters in self.triggers.items():
            before = tree.read(f"{DATABASE}/triggers/{name}")
            tree.file(f"{DATABASE}/triggers/{name}", before + "".join(waiters))
        if self.paths:
            tree.file(
                f"{DATABASE}/triggers/File", tree.read(f"{DATABASE}/triggers/File") + "".join(self.paths)
            )


def prepare(tree: Tree) -> None:
    """Make an empty dpkg database."""
    for name in ("info", "updates", "triggers", "alternatives", "parts"):
        tree.directory(f"{DATABASE}/{name}")
    tree.file(f"{DATABASE}/info/format", "1\n")
    for name in (
        "status",
        "available",
        "diversions",
        "statoverride",
        "lock",
        "lock-frontend",
        "triggers/Unincorp",
    ):
        tree.file(f"{DATABASE}/{name}", "", 0o640 if name.startswith("lock") else 0o644)


def listing(names: Iterable[str]) -> str:
    """The text of ``info/*.list``: absolute paths, the root as ``/.``."""
    return "".join(f"/{name}\n" if name else "/.\n" for name in names)


def stanza(control: dict[str, str], sums: dict[str, str], state: str) -> str:
    """One paragraph of ``status``, with a blank line after it."""
    lines = [f"Package: {control['Package']}", f"Status: install ok {state}"]
    lines += [f"{name}: {value}" for name, value in control.items() if name != "Package"]
    if sums:
        lines.append("Conffiles:" + "".join(f"\n {path} {digest}" for path, digest in sums.items()))
    return "\n".join(lines) + "\n\n"


def _info(control: dict[str, str]) -> str:
    """The name under which dpkg keeps a package's files: with its architecture when it is co-installable."""
    name = control["Package"]
    return f"{name}:{control['Architecture']}" if control.get("Multi-Arch") == "same" else name
