"""Where things lie on this machine, as ``docs/architecture.md`` draws it.

Comes in:  the environment (PYCOMPOSE_RUN, PYCOMPOSE_DATA).
Goes out:  paths; ``secure`` makes the two roots, nothing else is created here.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from schemas.frozen import dataclass


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
        """Make both roots; what is kept is for its owner alone: volumes may hold setuid programs."""
        self.run.mkdir(parents=True, exist_ok=True, mode=0o755)
        self.data.mkdir(parents=True, exist_ok=True, mode=0o700)

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
