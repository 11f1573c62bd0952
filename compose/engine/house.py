"""What the owner of this machine says about published ports.

Comes in:  the environment; ``/etc/pycompose/config.toml`` and the user's (or PYCOMPOSE_CONFIG alone).
Goes out:  a project with these rules applied.
Not here:  registries (runtime.image.settings), which reads the same files.

    [ports]
    host_ip = "127.0.0.1"       # for ports that give no address themselves
    obey_firewall = true        # as 'x-ports-obey-firewall: true' of every service
"""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from compose.errors import ComposeError
from compose.model.project import Project
from compose.model.service import Service
from schemas.frozen import dataclass, replace


@dataclass(frozen=True, slots=True, kw_only=True)
class House:
    """host_ip: where ports without an address are published; obey_firewall: subject to the INPUT rules."""

    host_ip: str = ""
    obey_firewall: bool = False


def read(environment: Mapping[str, str]) -> House:
    """Read the files, the later over the earlier. Raises ComposeError naming the file and what is wrong."""
    found: dict[str, Any] = {}
    for path in _files(environment):
        found |= _ports(path)
    return House(host_ip=found.get("host_ip", ""), obey_firewall=found.get("obey_firewall", False))


def _files(environment: Mapping[str, str]) -> tuple[Path, ...]:
    """As ``runtime.image.settings.files``, which would bring 5 ms of imports into every supervisor."""
    if named := environment.get("PYCOMPOSE_CONFIG"):
        return (Path(named),)
    home = environment.get("XDG_CONFIG_HOME") or f"{environment.get('HOME', '')}/.config"
    return (Path("/etc/pycompose/config.toml"), Path(home) / "pycompose" / "config.toml")


def apply(project: Project, house: House) -> Project:
    """``project`` with the rules of the house. Pure."""
    if house == House():
        return project
    services = {name: _service(service, house) for name, service in project.services.items()}
    return replace(project, services=services)


def _service(service: Service, house: House) -> Service:
    ports = tuple(port if port.host_ip else replace(port, host_ip=house.host_ip) for port in service.ports)
    obey = service.ports_obey_firewall or house.obey_firewall
    return replace(service, ports=ports, ports_obey_firewall=obey)


def _ports(path: Path) -> dict[str, Any]:
    try:
        text = path.read_bytes()
    except OSError:
        return {}
    import tomllib  # here only: most machines have no such file

    try:
        table = tomllib.loads(text.decode()).get("ports", {})
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ComposeError(f"{path}: {error}", hint="correct the file, or move it away") from None
    if not isinstance(table, dict):
        raise ComposeError(f"{path}: 'ports' is not a table", hint="write '[ports]' above the keys")
    for key, value in table.items():
        if key not in ("host_ip", "obey_firewall"):
            raise ComposeError(f"{path}: '{key}' is not known under [ports]", hint="host_ip, obey_firewall")
        if key == "obey_firewall" and not isinstance(value, bool):
            raise ComposeError(f"{path}: obey_firewall is '{value}'", hint="true or false, without quotes")
        if key == "host_ip":
            _check_address(path, value)
    return table


def _check_address(path: Path, value: object) -> None:
    try:
        ip_address(str(value))
    except ValueError:
        raise ComposeError(
            f"{path}: host_ip is '{value}', which is no address", hint='such as host_ip = "127.0.0.1"'
        ) from None
