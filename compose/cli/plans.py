"""``--dry-run``: print the plan a verb would execute, and why, instead of executing it.

Comes in:  the scope, the project, the options of the verb.
Goes out:  the plan as text on standard output. Nothing is asked of the supervisor, nothing changes.
"""

from collections.abc import Sequence

from compose.cli import report
from compose.cli.scope import Scope
from compose.engine.observe import observe
from compose.plan.observed import Container
from compose.plan.steps import Plan


def observed(
    scope: Scope, project: str, services: Sequence[str] = (), *, oneoff: bool = False
) -> list[Container]:
    """Containers of the project as a plan sees them."""
    found = observe(scope.places, project).containers
    return [c for c in found if (not services or c.service in services) and (oneoff or not c.oneoff)]


def show(plan: Plan) -> int:
    """Print ``plan``; the exit code is 0."""
    if plan.steps:
        report.put(plan.render() + "\n")
    else:
        report.say("nothing to do")
    return 0


def would(words: str, names: Sequence[str]) -> int:
    """Say what would happen to each of ``names``, for verbs that need no plan."""
    for name in names:
        report.say(f"DRY-RUN MODE -  Container {name}  {words}")
    return 0
