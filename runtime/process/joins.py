"""Resolve "container:<id>" and "path:<path>" to namespaces.

Comes in:  a spec and where its project lies.
Goes out:  kind -> path, for ``launch``.
Not here:  joining them.
"""

from __future__ import annotations

import json

from runtime.errors import RuntimeFailure
from runtime.spec import ContainerSpec
from runtime.state import Place, alive

FILES = {"network": "net", "ipc": "ipc", "uts": "uts", "cgroup": "cgroup", "pid": "pid"}


def joins(spec: ContainerSpec, place: Place, only: str = "") -> dict[str, str]:
    """The namespaces that ``spec`` shares with others, or ``only`` one kind of them.

    Raises RuntimeFailure if one of those containers does not run.
    """
    found = {}
    for kind, file in FILES.items():
        if only and kind != only:
            continue
        wanted = getattr(spec.namespaces, kind)
        if wanted.startswith("path:"):
            found[kind] = wanted.removeprefix("path:")
        elif wanted.startswith("container:"):
            found[kind] = f"/proc/{_pid(wanted.removeprefix('container:'), place)}/ns/{file}"
    return found


def _pid(id: str, place: Place) -> int:
    """The pid of a running container of this project, else of any other on this machine."""
    runs = [place.run, *(run for run in place.run.parent.iterdir() if run != place.run)]
    for run in runs:
        try:
            state = json.loads((run / "containers" / id / "state.json").read_bytes())
        except OSError:
            continue
        if alive(state.get("pid", 0), state.get("start_time", 0)):
            return int(state["pid"])
    raise RuntimeFailure(f"container {id[:12]}, whose namespace is to be shared, is not running")
