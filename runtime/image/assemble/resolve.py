"""Choose the set of packages that some wished ones need.

Comes in:  names, the packages of an archive, what is installed below already.
Goes out:  the packages to unpack, in the order they were found; or PackageMissing.
Not here:  versions: an archive is consistent within itself, so only names are looked at; Recommends and
           Conflicts: recipes are a closed, tested list.
Source: Debian Policy 7.2 (Depends, Pre-Depends), 7.5 (virtual packages).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Sequence
from typing import Protocol

from runtime.image.assemble.errors import PackageMissing
from runtime.image.assemble.packages import Package


class Archive(Protocol):
    """What is asked of ``packages.Packages``."""

    def find(self, name: str) -> Package | None: ...
    def providers(self, name: str) -> list[str]: ...


def resolve(wished: Sequence[str], archive: Archive, present: Collection[str] = ()) -> list[Package]:
    """Close ``wished`` under Pre-Depends and Depends, leaving out what is ``present`` (names).

    Of alternatives the first that is chosen or present already counts, else the first that exists, else the
    first package that provides one of them. Raises PackageMissing.
    """
    chosen: dict[str, Package] = {}
    taken = set(present) | set(wished)
    queue: deque[tuple[str, ...]] = deque((name,) for name in wished)
    while queue:
        group = queue.popleft()
        name = _pick(group, taken, archive)
        if name in chosen or name in present:
            continue
        package = archive.find(name)
        if package is None:
            raise PackageMissing(f"the archive has no package '{' | '.join(group)}'")
        chosen[name] = package
        taken.add(name)
        queue.extend(package.depends)
    return list(chosen.values())


def _pick(group: tuple[str, ...], taken: Collection[str], archive: Archive) -> str:
    for name in group:
        if name in taken or any(owner in taken for owner in archive.providers(name)):
            return name if name in taken else next(o for o in archive.providers(name) if o in taken)
    for name in group:
        if archive.find(name):
            return name
    for name in group:
        for owner in archive.providers(name):
            return owner
    return group[0]
