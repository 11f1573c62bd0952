"""Look at the machine once, before the plan.

Comes in:  where things lie, the project's name.
Goes out:  Observed. Reads records only; works without a supervisor.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from compose.model.places import Places
from compose.plan import observed as label
from compose.plan.observed import Container, Observed
from runtime import state, volume
from runtime.spec import ContainerSpec, ContainerState


def observe(places: Places, project: str) -> Observed:
    """Snapshot of the project's containers, and of all networks and volumes of the machine."""
    run, data = places.project_run(project), places.project_data(project)
    containers = tuple(
        _container(spec, found, data / "containers" / spec.id) for spec, found in state.containers(run, data)
    )
    volumes = {item.name: item.labels for item in volume.list(places.volumes)}
    return Observed(containers=containers, networks=networks(places.run), volumes=volumes)


def networks(run: Path) -> dict[str, Mapping[str, str]]:
    """Labels of every network of the machine by name, from RUN/networks/*/network.json."""
    found: dict[str, Mapping[str, str]] = {}
    try:
        entries = sorted((run / "networks").iterdir())
    except FileNotFoundError:
        return found
    for entry in entries:
        document = read_json(entry / "network.json")
        if document:
            spec = document.get("spec", document)
            found[spec["name"]] = spec.get("labels", {})
    return found


def facts(record: Path) -> dict[str, Any]:
    """``engine.json`` of one container record; {} when there is none yet."""
    return read_json(record / "engine.json")


def read_json(path: Path) -> dict[str, Any]:
    """The JSON object in ``path``, or {} when the file is missing or torn."""
    try:
        value = json.loads(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}


def _container(spec: ContainerSpec, found: ContainerState, record: Path) -> Container:
    labels = spec.labels
    launch = read_json(record / "launch.json")
    depends = labels.get(label.DEPENDS_ON, "")
    return Container(
        id=spec.id,
        name=spec.name,
        service=labels.get(label.SERVICE, ""),
        number=int(labels.get(label.NUMBER, "1")),
        oneoff=labels.get(label.ONEOFF) == "True",
        status=found.status,
        health=str(facts(record).get("health", "")),
        exit_code=found.exit.code if found.exit else None,
        config_hash=labels.get(label.CONFIG_HASH, ""),
        image=labels.get(label.IMAGE, ""),
        image_name=labels.get(label.IMAGE_NAME, ""),
        networks=tuple(endpoint["network"] for endpoint in launch.get("endpoints", ())),
        depends_on=tuple(item.split(":")[0] for item in depends.split(",") if item),
        anonymous={v["target"]: v["name"] for v in launch.get("volumes", ()) if v.get("anonymous")},
    )
