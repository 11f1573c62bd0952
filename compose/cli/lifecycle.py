"""What ``start``, ``stop``, ``restart``, ``kill``, ``rm`` and ``pause`` have in common.

Comes in:  the scope, the verb, service names.
Goes out:  the request, when there is something to ask for; the exit code.
Not here:  the flags of each verb (its own module).
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from compose.cli import containers
from compose.cli.containers import Container
from compose.cli.scope import Scope, unknown_service


def chosen(
    scope: Scope, services: Sequence[str], *, oneoff: bool = False, everything: bool = False
) -> list[Container]:
    """Containers of ``services``, of all active ones when none is named. Raises UsageError for unknown names.

    everything: none named means all of the project, also of inactive profiles and orphans.
    """
    identity = scope.identity()
    found = containers.of_project(scope.places, identity.name)
    known = {*identity.known, *(c.service for c in found)}
    for name in services:
        if name not in known:
            raise unknown_service(name, known)
    all_of_them = everything and not services
    return [
        c
        for c in found
        if (all_of_them or identity.acts_on(c.service, services)) and (oneoff or not c.oneoff)
    ]


def names(found: Sequence[Container]) -> list[str]:
    """The services of ``found``, for the request: by then others may have containers as well."""
    return sorted({c.service for c in found})


def ask(scope: Scope, verb: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Have the supervisor do ``verb``."""
    from compose.cli.remote import perform

    scope.require_rights()
    return perform(scope, scope.identity().name, verb, arguments)


def simple(
    scope: Scope,
    verb: str,
    services: Sequence[str],
    arguments: Mapping[str, Any],
    *,
    words: str,
    when: Callable[[Container], bool],
) -> int:
    """Ask for ``verb`` if ``when`` holds for one of the chosen containers; ``words`` for a dry run."""
    there = [c for c in chosen(scope, services) if when(c)]
    if scope.dry_run:
        from compose.cli import plans

        return plans.would(words, [c.name for c in there])
    if there:
        ask(scope, verb, {"services": names(chosen(scope, services)), **arguments})
    return 0
