"""Names of containers are taken once on a machine, whatever project has them.

Comes in:  names that are wanted; the records of all projects.
Goes out:  ComposeError for a name that is taken.
Not here:  which names are legal (``plan.admission``).
"""

from __future__ import annotations

from collections.abc import Collection

from compose.engine.inventory import kept
from compose.errors import ComposeError
from compose.model.places import Places
from compose.model.project import Project
from compose.plan.steps import Kind, Plan


def refuse(places: Places, name: str) -> None:
    """Raise ComposeError when a container of the machine is called ``name``."""
    _refuse_taken(places, {name: ""}, ())


def refuse_of(places: Places, project: Project, plan: Plan) -> None:
    """Raise ComposeError when ``plan`` makes a container of a name that one has which stays.

    Names that the file does not give carry the project's name: only its own containers can have them.
    """
    made = {s.name: s.service for s in plan.steps if s.kind is Kind.CREATE}
    if not made:
        return
    going = {s.id for s in plan.steps if s.kind is Kind.REMOVE}
    fixed = {name: s for name, s in made.items() if project.services[s].container_name == name}
    if fixed:
        _refuse_taken(places, fixed, going)


def _refuse_taken(places: Places, wanted: dict[str, str], going: Collection[str]) -> None:
    """wanted: service by name, "" for one that no file gives."""
    for one in kept(places):
        if one.name in wanted and one.id not in going:
            service = wanted[one.name]
            raise ComposeError(
                f"the container name '{one.name}' is already in use by container {one.id[:12]} "
                f"of project '{one.project}'",
                hint="remove that container, or choose another name",
                path=f"services.{service}.container_name" if service else "",
            )
