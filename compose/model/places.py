"""Where things lie on this machine, as ``docs/architecture.md`` draws it.

Comes in:  the environment (PYCOMPOSE_RUN, PYCOMPOSE_DATA).
Goes out:  paths; ``secure`` makes the two roots, nothing else is created here.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from schemas.frozen import dataclass

_RUN, _DATA = ("networks", "ports"), ("cache", "images", "projects", "volumes")


@dataclass(frozen=True, slots=True)
class Places:
    """``run`` is volatile (sockets, locks, states), ``data`` is kept (images, volumes, records)."""

    run: Path = Path("/run/pycompose")
    data: Path = Path("/var/lib/pycompose")

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Places:
        """Read PYCOMPOSE_RUN and PYCOMPOSE_DATA; the defaults are those of root."""
        return cls(
            Path(environment.get("PYCOMPOSE_RUN") or "/run/pycompose"),
            Path(environment.get("PYCOMPOSE_DATA") or "/var/lib/pycompose"),
        )

    def secure(self) -> None:
        """Make both roots and close them: records tell addresses, volumes may hold set-user-id programs.

        What lies below is closed too, in case that a root is somebody else's directory.
        """
        from runtime.state import close

        for directory in (self.run, self.data):
            close(directory)
        for directory in (*(self.run / name for name in _RUN), *(self.data / name for name in _DATA)):
            if directory.exists():
                close(directory)

    def project_run(self, project: str) -> Path:
        """Sockets and states of one project."""
        return self.run / project

    def project_data(self, project: str) -> Path:
        """Container records and logs of one project."""
        return self.data / "projects" / project

    @property
    def images(self) -> Path:
        """The image store."""
        return self.data / "images"

    @property
    def volumes(self) -> Path:
        """One directory per named volume."""
        return self.data / "volumes"
