"""The containers of a project as they are now, read from the state on disk; no supervisor is asked.

Comes in:  the places, a project's name.
Goes out:  Containers with what ``ps``, ``logs``, ``exec`` and ``port`` say about them.
Not here:  laying out (``table``), the truth about processes (``runtime.state``).
"""

import json
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from compose.cli import humane
from compose.cli.scope import Scope, unknown_service
from compose.errors import UsageError
from compose.model.places import Places
from runtime import state
from runtime.spec import ContainerSpec, ContainerState

LABEL = "com.docker.compose."
IMAGE_NAME = "io.pycompose.image-name"
TO_SAY_SO = 1.0  # seconds the engine may take to write down whether it restarts a container
STATES = ("paused", "restarting", "removing", "running", "dead", "created", "exited")


class Container:
    """One container: its spec, its state, and what the engine keeps about it in ``engine.json``."""

    __slots__ = ("facts", "number", "oneoff", "record", "service", "spec", "state")

    def __init__(self, spec: ContainerSpec, found: ContainerState, record: Path) -> None:
        self.spec = spec
        self.state = found
        self.record = record
        self.facts = _read(record / "engine.json")
        self.service = self.label("service")
        self.number = int(self.label("container-number") or 1)
        self.oneoff = self.label("oneoff") == "True"

    def label(self, key: str) -> str:
        """One of the labels that compose itself sets."""
        return self.spec.labels.get(LABEL + key, "")

    @property
    def name(self) -> str:
        """Its full name, such as ``shop-web-1``."""
        return self.spec.name

    @property
    def shown_as(self) -> str:
        """Its name in log prefixes: without the project's name."""
        return self.name.removeprefix(self.label("project")).lstrip("-_") or self.name

    @property
    def image(self) -> str:
        """The image by the name it was asked for, else its id."""
        return self.spec.labels.get(IMAGE_NAME) or self.label("image")

    def launch(self) -> dict[str, Any]:
        """What the engine was told to launch: networks, volumes; read when it is asked for."""
        return _read(self.record / "launch.json")

    @property
    def upper(self) -> Path:
        """Its writable layer."""
        return Path(self.spec.upper) if self.spec.upper else self.record / "upper"

    @property
    def created_at(self) -> float:
        """When it was made (epoch): its launch is written once, its state at every start."""
        try:
            return (self.record / "launch.json").stat().st_mtime
        except OSError:
            return self.state.created_at

    @property
    def running(self) -> bool:
        """Whether its processes live, paused ones included."""
        return self.state.status in ("running", "paused")

    @property
    def status(self) -> str:
        """The one word for its state, "restarting" while the engine waits to start it again."""
        down = self.state.status in ("exited", "created")
        return "restarting" if down and self._restarts() else self.state.status

    def _restarts(self) -> bool:
        """Whether the engine is to start it again: it says so, or has had no time yet to say anything."""
        end = self.state.exit
        said = bool(self.facts.get("restarting"))
        if said or end is None or self.facts.get("stopped") or time.time() - end.at > TO_SAY_SO:
            return said
        restart = self.launch().get("restart", "no")
        if restart == "no":
            return False
        from runtime.policy.restart import decide

        return decide(restart, end, int(self.facts.get("restarts", 0)), 0.0, False) is not None

    @property
    def undecided(self) -> bool:
        """Its end is so fresh that what the engine will do about it is only guessed."""
        end = self.state.exit
        return bool(end and self.state.status == "exited" and time.time() - end.at < TO_SAY_SO)

    @property
    def health(self) -> str:
        """ "starting", "healthy", "unhealthy" or ""; only something that runs has a health."""
        return str(self.facts.get("health", "")) if self.running else ""


def troubles(places: Places, project: str) -> list[str]:
    """What cuts the networks of a project off, as its supervisor noticed (``troubles.json``)."""
    return [str(text) for text in _read(places.project_run(project) / "troubles.json").get("troubles", ())]


def failed_lookups(places: Places, project: str) -> list[dict[str, Any]]:
    """Names that containers of a project asked for and nobody knew (``lookups.json``)."""
    rows = _read(places.project_run(project) / "lookups.json").get("failed", ())
    return [row for row in rows if isinstance(row, dict)]


def of_project(places: Places, project: str, services: Iterable[str] = ()) -> list[Container]:
    """Containers of ``project`` by name; those of ``services`` only when some are named."""
    run, data = places.project_run(project), places.project_data(project)
    wanted = frozenset(services)
    found = []
    for spec, current in state.containers(run, data):
        container = Container(spec, current, data / "containers" / spec.id)
        if not wanted or container.service in wanted:
            found.append(container)
    found.sort(key=lambda c: (c.service, c.number, c.name))
    return found


def _read(path: Path) -> dict[str, Any]:
    try:
        with open(path, "rb") as file:
            value = json.load(file)
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}


def pick(found: Sequence[Container], service: str, index: int | None) -> Container:
    """The running container of ``service``, replica ``index`` or the first; else one of ``run``.

    Raises UsageError.
    """
    running = [c for c in found if c.service == service and c.running]
    own = [c for c in running if not c.oneoff and index in (None, 0, c.number)]
    own = own or [c for c in running if not index]
    if not own:
        replica = f" index={index}" if index else ""
        raise UsageError(
            f'service "{service}" is not running{replica}', hint=f"start it: pycompose up -d {service}"
        )
    return min(own, key=lambda c: c.number)


def pick_any(scope: Scope, service: str, index: int | None) -> Container:
    """The container of ``service``, running or not, replica ``index`` or the first. Raises UsageError."""
    identity = scope.identity()
    found = of_project(scope.places, identity.name)
    known = {*identity.known, *(c.service for c in found)}
    if service not in known:
        raise unknown_service(service, known)
    every = [c for c in found if c.service == service]
    own = [c for c in every if not c.oneoff and index in (None, 0, c.number)]
    own = own or [c for c in every if not index]
    if not own:
        replica = f" index={index}" if index else ""
        raise UsageError(
            f'no container found for service "{service}"{replica}', hint=f"make it: pycompose up -d {service}"
        )
    return min(own, key=lambda c: c.number)


def status_line(container: Container, now: float) -> str:
    """The STATUS column: "Up 3 minutes (healthy)", "Exited (137) 3 seconds ago (out of memory)"."""
    found, end = container.state, container.state.exit
    if container.running:
        line = "Up " + humane.duration(now - found.started_at)
        if found.status == "paused":
            return line + " (Paused)"
        health = container.health
        return f"{line} ({'health: starting' if health == 'starting' else health})" if health else line
    if found.status == "created" or end is None:
        return found.status.capitalize()
    code = "unknown" if end.code is None else end.code
    word = "Restarting" if container.status == "restarting" else "Exited"
    line = f"{word} ({code}) {humane.duration(now - end.at)} ago"
    return line + " (out of memory)" if end.oom else line


def publishers(container: Container) -> list[dict[str, Any]]:
    """Published and exposed ports in docker's words; an address of "" means all of the host's, v4 and v6."""
    found: list[dict[str, Any]] = []
    for port in container.facts.get("ports", ()) if container.running else ():
        published = int(port.get("published") or 0)
        addresses = ("0.0.0.0", "::") if published and not port.get("host_ip") else (port.get("host_ip", ""),)
        for address in addresses:
            entry = {"URL": address, "TargetPort": int(port["target"]), "PublishedPort": published}
            found.append({**entry, "Protocol": port.get("protocol") or "tcp"})
    found.sort(key=lambda p: (p["TargetPort"], p["Protocol"], p["URL"], p["PublishedPort"]))
    return found


def ports_text(found: Sequence[dict[str, Any]]) -> str:
    """The PORTS column; neighbouring ports of one address are joined: ``0.0.0.0:80-81->80-81/tcp``."""
    runs: list[list[Any]] = []  # [address, protocol, first target, last target, first published]
    for port in sorted(found, key=lambda p: (p["URL"], p["Protocol"], p["TargetPort"], p["PublishedPort"])):
        target, published = port["TargetPort"], port["PublishedPort"]
        if runs:
            address, protocol, first, last, host = runs[-1]
            follows = target == last + 1 and (published == host + target - first if host else not published)
            if (address, protocol) == (port["URL"], port["Protocol"]) and follows:
                runs[-1][3] = target
                continue
        runs.append([port["URL"], port["Protocol"], target, target, published])
    runs.sort(key=lambda run: (run[4] == 0, run[2], run[0]))
    return ", ".join(_run(*run) for run in runs)


def _run(address: str, protocol: str, first: int, last: int, host: int) -> str:
    inside = f"{first}/{protocol}" if first == last else f"{first}-{last}/{protocol}"
    if not host:
        return inside
    outside = str(host) if first == last else f"{host}-{host + last - first}"
    return f"{f'[{address}]' if ':' in address else address}:{outside}->{inside}"
