"""One short text that changes exactly when a container, network or volume has to be made anew.

Comes in:  values of ``compose.model``.
Goes out:  hex digests, kept in the label ``com.docker.compose.config-hash``.
Source: docker compose leaves out what does not live in the container: build, pull policy, scale,
depends_on and profiles.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from datetime import timedelta
from hashlib import sha256
from typing import Any

from compose.model.project import Network, Project, Volume
from compose.model.service import Service

_NOT_IN_THE_CONTAINER = {"build", "pull_policy", "scale", "depends_on", "profiles", "develop", "attach"}


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = dataclasses.fields(value)
        return {f.name: _plain(getattr(value, f.name)) for f in fields if getattr(value, f.name) != f.default}
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, timedelta):
        return value.total_seconds()
    return value


def _digest(data: Any) -> str:
    return sha256(json.dumps(data, sort_keys=True, default=str).encode()).hexdigest()


def service_hash(service: Service, project: Project | None = None) -> str:
    """Digest of everything of ``service`` that ends up in its containers.

    project: adds the content of configs and secrets that do not come from a file (a file is mounted,
    so its changes are seen without a new container).
    """
    plain = {key: item for key, item in _plain(service).items() if key not in _NOT_IN_THE_CONTAINER}
    deploy = plain.get("deploy")
    if isinstance(deploy, dict):
        plain["deploy"] = {key: item for key, item in deploy.items() if key != "replicas"}
    if project is not None:
        contents = [
            (mount.source, table[mount.source].content)
            for table, mounts in ((project.configs, service.configs), (project.secrets, service.secrets))
            for mount in mounts
            if mount.source in table and table[mount.source].content is not None
        ]
        if contents:
            plain["contents"] = contents
    return _digest(plain)


def network_hash(network: Network) -> str:
    """Digest of everything that cannot be changed on an existing network."""
    return _digest({key: item for key, item in _plain(network).items() if key != "key"})


def volume_hash(volume: Volume) -> str:
    """Digest of driver, options, name and labels of a volume."""
    return _digest({key: item for key, item in _plain(volume).items() if key != "key"})
