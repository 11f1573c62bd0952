"""Where in the file a port of the host that is in use was asked for.

Comes in:  the error, the launch it is about, the project.
Goes out:  the error with the path of the attribute. Pure.
"""

from __future__ import annotations

from compose.errors import ComposeError
from compose.model.project import Project
from compose.plan.launch import Launch
from netns.errors import PortBusy


def placed(error: PortBusy, launch: Launch, project: Project) -> Exception:
    """The error with the place of its port in the file, if it has one."""
    path = _port_path(launch, project, error.published)
    return ComposeError(error.message, hint=error.hint, path=path) if path else error


def _port_path(launch: Launch, project: Project, published: int) -> str:
    """The attribute that asks for a port of the host, or ""."""
    service = project.services.get(launch.service)
    for index, port in enumerate(service.ports if service else ()):
        first, _, last = port.published.partition("-")
        if first.isdigit() and int(first) <= published <= int(last or first):
            return f"services.{launch.service}.ports[{index}].published"
    return ""
