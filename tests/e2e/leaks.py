"""What a stack could leave behind on a machine: looked at before a test and after it.

Comes in:  the run and data directories under test.
Goes out:  a Snapshot, and the difference of two as readable lines.
Not here:  cleaning up; whoever leaks has to be mended.
"""

from __future__ import annotations

import os
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from tests.support.programs import program


@dataclass(frozen=True)
class Snapshot:
    """Sets of texts, one field per kind of object.

    processes: those that carry our directories in their environment, command line or mounts.
    links, tables, cgroups: the whole machine's; PYCOMPOSE_E2E_SHARED=1 leaves them out where
               those of others come and go.
    """

    processes: frozenset[str]
    mounts: frozenset[str]
    links: frozenset[str]
    tables: frozenset[str]
    cgroups: frozenset[str]
    files: frozenset[str]

    def left_since(self, before: Snapshot) -> list[str]:
        """Lines such as ``mounts: /run/x``, for everything here that was not there ``before``."""
        return [
            f"{name}: {item}"
            for name in self.__dataclass_fields__
            for item in sorted(getattr(self, name) - getattr(before, name))
        ]


def look(run: Path, data: Path) -> Snapshot:
    """Take a snapshot."""
    shared = bool(os.environ.get("PYCOMPOSE_E2E_SHARED"))
    return Snapshot(
        processes=_processes(run, data),
        mounts=frozenset(
            line.split(" ")[4]
            for line in Path("/proc/self/mountinfo").read_text().splitlines()
            if str(run) in line or str(data) in line
        ),
        links=frozenset() if shared else frozenset(link.name for link in Path("/sys/class/net").iterdir()),
        tables=frozenset() if shared else _tables(),
        cgroups=frozenset() if shared else _cgroups(),
        files=_files(run, data),
    )


def wait_until_clean(before: Snapshot, run: Path, data: Path, *, seconds: float = 5.0) -> list[str]:
    """What is left, after giving the kernel ``seconds`` to take down what it removes asynchronously."""
    end = time.monotonic() + seconds
    while (left := look(run, data).left_since(before)) and time.monotonic() < end:
        time.sleep(0.1)
    return left


def _processes(run: Path, data: Path) -> frozenset[str]:
    ours = Path("/proc/self/ns/mnt").readlink()
    found = set()
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
            if not command:  # a kernel thread or a zombie
                continue
            text = command.encode() + (entry / "environ").read_bytes()
            if (entry / "ns/mnt").readlink() != ours:
                text += (entry / "mountinfo").read_bytes()
            if os.fsencode(run) in text or os.fsencode(data) in text:
                found.add(f"{entry.name} {command}")
        except OSError:
            continue
    return frozenset(found)


def _tables() -> frozenset[str]:
    out = subprocess.run([program("nft"), "list", "tables"], capture_output=True, text=True, check=False)
    return frozenset(out.stdout.splitlines())


def _cgroups() -> frozenset[str]:
    return frozenset(directory for directory, _, _ in os.walk("/sys/fs/cgroup") if "pycompose" in directory)


def _files(run: Path, data: Path) -> frozenset[str]:
    """Projects, networks and volumes on disk; images and caches are meant to stay."""
    rooms = (run, run / "networks", run / "ports", data / "projects", data / "volumes")
    kept = {"networks", "networks.lock", "ports", ".models"}
    return frozenset(
        str(path) for room in rooms if room.is_dir() for path in room.iterdir() if path.name not in kept
    )
