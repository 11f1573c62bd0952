"""Find out which control group hierarchies this machine has, and name the group of a container.

Comes in:  the text of /proc/self/mountinfo and of cgroup.controllers.
Goes out:  a Layout, and Groups below it.
Not here:  limits (``runtime.cgroup.writes``), files (``runtime.cgroup.apply``).
Source: cgroups(7), Documentation/admin-guide/cgroup-v2.rst.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from schemas.frozen import dataclass

OURS = "pycompose"
_V1 = {"blkio", "cpu", "cpuacct", "cpuset", "devices", "freezer", "hugetlb", "memory", "net_cls", "net_prio"}
_V1 |= {"perf_event", "pids", "rdma"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """The hierarchies of a machine.

    controllers: v1 controller -> mount point; several may share one.
    unified:     mount point of the v2 hierarchy, or None; ``unified_controllers`` are those it controls.
    """

    controllers: Mapping[str, Path]
    unified: Path | None = None
    unified_controllers: frozenset[str] = frozenset()

    @property
    def version(self) -> int:
        """2 when no controller is mounted as v1, else 1 (also for the hybrid of both)."""
        return 1 if self.controllers or self.unified is None else 2

    def roots(self) -> tuple[Path, ...]:
        """Every mount point, each once, v1 before v2."""
        unified = [self.unified] if self.unified else []
        return tuple(dict.fromkeys([*self.controllers.values(), *unified]))


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """One container's place in every hierarchy; ``name`` is relative, such as pycompose/shop/1a2b."""

    layout: Layout
    name: str

    def directories(self) -> tuple[Path, ...]:
        """The group's directory in each hierarchy."""
        return tuple(root / self.name for root in self.layout.roots())

    def directory(self, controller: str) -> Path | None:
        """Where ``controller`` is set for this group, or None when the machine lacks it."""
        root = self.layout.controllers.get(controller)
        if root is None and controller in self.layout.unified_controllers:
            root = self.layout.unified
        return root / self.name if root else None


def parse(mountinfo: str, controllers: Callable[[Path], str]) -> Layout:
    """Read a Layout out of ``mountinfo`` (proc(5)); ``controllers(mount)`` is its cgroup.controllers."""
    found: dict[str, Path] = {}
    unified: Path | None = None
    for line in mountinfo.split("\n"):  # other characters that end lines are parts of paths
        left, _, right = line.partition(" - ")
        fstype, _, options = (*right.split(" ", 2), "", "")[:3]
        if fstype == "cgroup2":
            unified = unified or Path(left.split()[4])
        elif fstype == "cgroup":
            for name in _V1.intersection(options.split(",")):
                found.setdefault(name, Path(left.split()[4]))
    have = frozenset(controllers(unified).split()) if unified else frozenset()
    return Layout(controllers=found, unified=unified, unified_controllers=have - found.keys())


def find() -> Layout:
    """Look at this machine."""
    text = Path("/proc/self/mountinfo").read_bytes().decode(errors="surrogateescape")
    return parse(text, lambda root: (root / "cgroup.controllers").read_text())


def group(layout: Layout, project: str, container: str, parent: str = "") -> Group:
    """Name the group of ``container``; ``parent`` is ``cgroup_parent``, which takes the project's place."""
    middle = "/".join(part for part in (parent or project).split("/") if part not in ("", ".", ".."))
    return Group(layout=layout, name=f"{OURS}/{middle}/{container}")
