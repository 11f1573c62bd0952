"""Who holds which network, address and port on this machine, on disk under RUN/networks.

Comes in:  Network, Endpoint and PortSpec values.
Goes out:  the same, read back; every change is one rename, made under one flock(2).
Not here:  choosing addresses (ipam), making links (links).

RUN/networks/<name>/network.json               Network
RUN/networks/<name>/endpoints/<container>.json Lease
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from netns.naming import directory_name
from netns.spec import Endpoint, EndpointSpec, Network, NetworkSpec, Pool, PortSpec
from schemas.frozen import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """One endpoint and what hangs on it.

    project: whose supervisor made it. link: the host's end of the veth.
    ports:   published by this endpoint (it holds the default route), ``published`` filled in.
    """

    endpoint: Endpoint
    project: str = ""
    link: str = ""
    ports: tuple[PortSpec, ...] = field(default=())


class Leases:
    """The records under ``run``; reading needs no lock, since files appear by rename."""

    def __init__(self, run: Path) -> None:
        self.root = run / "networks"
        self._lock = run / "networks.lock"
        self._read: dict[str, tuple[tuple[int, int], Lease]] = {}

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the machine-wide lock: one creator of networks and leases at a time."""
        self.root.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(self._lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def endpoints_directory(self, network: str) -> Path:
        return self.root / directory_name(network) / "endpoints"

    def write_network(self, network: Network) -> None:
        directory = self.root / directory_name(network.spec.name)
        (directory / "endpoints").mkdir(parents=True, exist_ok=True)
        data = asdict_network(network)
        write(directory / "network.json", data)

    def network(self, name: str) -> Network | None:
        data = read(self.root / directory_name(name) / "network.json")
        return network_from(data) if data else None

    def networks(self) -> list[Network]:
        files = sorted(self.root.glob("*/network.json"))
        return [network_from(data) for data in map(read, files) if data]

    def forget_network(self, name: str) -> None:
        shutil.rmtree(self.root / directory_name(name), ignore_errors=True)

    def claim(self, network: str, project: str, names: Iterable[str], addresses: Iterable[str]) -> None:
        """Note names and static addresses of a project on a network; who watches its endpoints sees it."""
        path = self._claims(network) / f"{directory_name(project)}.json"
        wanted = {"names": sorted(names), "addresses": sorted(addresses)}
        endpoints = self.endpoints_directory(network)
        if endpoints.exists() and read(path) != wanted:
            path.parent.mkdir(exist_ok=True)
            write(path, wanted)
            os.utime(endpoints)

    def disclaim(self, project: str) -> None:
        """Forget the names of a project on all networks."""
        for path in self.root.glob(f"*/claims/{directory_name(project)}.json"):
            path.unlink(missing_ok=True)
            os.utime(path.parent.with_name("endpoints"))

    def claimed(self, network: str, what: str = "names") -> list[str]:
        """The names (or ``addresses``) that projects ask for on a network, whatever runs."""
        found = map(read, map(Path, _entries(self._claims(network))))
        return [str(text) for data in found if data for text in data.get(what, ())]

    def _claims(self, network: str) -> Path:
        return self.root / directory_name(network) / "claims"

    def write(self, lease: Lease) -> None:
        spec = lease.endpoint.spec
        write(self.endpoints_directory(spec.network) / f"{spec.container}.json", asdict(lease))

    def of_network(self, network: str) -> list[Lease]:
        """The leases of one network by container id; files that did not change are not read again."""
        found: dict[str, tuple[tuple[int, int], Lease]] = {}
        directory = self.endpoints_directory(network)
        for entry in _entries(directory):
            try:
                status = os.stat(entry)
            except FileNotFoundError:
                continue
            stamp = (status.st_ino, status.st_mtime_ns)
            known = self._read.get(entry)
            if known and known[0] == stamp:
                found[entry] = known
            elif data := read(Path(entry)):
                found[entry] = (stamp, lease_from(data))
        start = f"{directory}/"
        self._read = {k: v for k, v in self._read.items() if not k.startswith(start)} | found
        return [lease for _, lease in found.values()]

    def of_container(self, container: str) -> list[Lease]:
        """The leases of one container in all networks, by interface name."""
        files = (Path(entry) / "endpoints" / f"{container}.json" for entry in _entries(self.root))
        found = [lease_from(data) for data in map(read, files) if data]
        return sorted(found, key=lambda lease: lease.endpoint.interface)

    def forget(self, lease: Lease) -> None:
        spec = lease.endpoint.spec
        (self.endpoints_directory(spec.network) / f"{spec.container}.json").unlink(missing_ok=True)


def _entries(directory: Path) -> list[str]:
    """Paths in a directory as texts: os.scandir costs a third of Path.iterdir."""
    try:
        with os.scandir(directory) as entries:
            return sorted(entry.path for entry in entries if not entry.name.startswith("."))
    except FileNotFoundError:
        return []


def write(path: Path, data: object) -> None:
    """Write JSON by temporary file and rename. No fsync: RUN does not outlive a reboot."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_text(json.dumps(data, separators=(",", ":")))
    temporary.rename(path)


def read(path: Path) -> dict[str, Any] | None:
    """The object in a file; None when it is missing or not whole."""
    try:
        data = json.loads(path.read_text())
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return None
    return data if isinstance(data, dict) else None


def asdict_network(network: Network) -> dict[str, Any]:
    spec = network.spec
    plain = {name: getattr(spec, name) for name in spec.__dataclass_fields__ if name != "labels"}
    plain["pools"] = [asdict(pool) for pool in spec.pools]
    out = {name: getattr(network, name) for name in network.__dataclass_fields__}
    return out | {"spec": plain | {"labels": dict(spec.labels)}}


def network_from(data: Mapping[str, Any]) -> Network:
    spec = dict(data["spec"])
    pools = tuple(Pool(**(pool | {"reserved": tuple(pool["reserved"])})) for pool in spec.pop("pools"))
    return Network(**{**data, "spec": NetworkSpec(**spec, pools=pools)})


def lease_from(data: Mapping[str, Any]) -> Lease:
    endpoint = dict(data["endpoint"])
    spec = dict(endpoint.pop("spec"))
    for name in ("names", "link_local", "sysctls"):
        spec[name] = tuple(spec.get(name, ()))
    return Lease(
        endpoint=Endpoint(spec=EndpointSpec(**spec), **endpoint),
        project=data["project"],
        link=data["link"],
        ports=tuple(PortSpec(**port) for port in data["ports"]),
    )
