"""The containers of a project as an attached command sees them: which run, how they end, which come back.

Comes in:  the records on disk, and what inotify(7) tells of them.
Goes out:  endings, each once; whether it is worth to stay.
Not here:  printing (``printer``), the request under way (``attach``).
"""

import time
from collections.abc import Callable, Collection
from pathlib import Path

from compose.cli import containers
from compose.cli.containers import Container
from compose.cli.scope import Scope
from compose.engine import returning
from compose.engine.follow import Follower

RECORD_SECONDS = 3.0


class Watch:
    """The containers of a project, looked at again whenever something about them changed on disk."""

    def __init__(
        self,
        scope: Scope,
        project: str,
        follower: Follower,
        wanted: Callable[[Container], bool],
        services: Collection[str] = (),
    ) -> None:
        """wanted: which containers count; services: those they can belong to, () for any."""
        self.places = scope.places
        self.project = project
        self.follower = follower
        self.wanted = wanted
        self.services = frozenset(services)
        self.containers: list[Container] = []
        self._unrecorded: dict[str, float] = {}
        self._running: set[str] = set()
        self._watched: set[str] = set()
        self._returning: frozenset[str] = frozenset()
        self._told = {key for key in map(_ending, self._look()) if key}

    def _look(self) -> list[Container]:
        """Read the state of all; what is new is watched first and read again, so that no change is missed."""
        run = self.places.project_run(self.project)
        for directory in (self.places.run, run, run / "containers"):
            self.follower.watch(directory)
        before = returning.services(run)
        while True:
            found = [c for c in containers.of_project(self.places, self.project) if self.wanted(c)]
            there = {c.spec.id for c in found if self.follower.watch(Path(run, "containers", c.spec.id))}
            if there <= self._watched:
                break
            self._watched |= there
        for container in found:
            self._note(container)
        self.containers = found
        self._returning = before | returning.services(run)
        return found

    def _note(self, container: Container) -> None:
        """A container that has run and ended may wait a moment for its exit record, seen running or not."""
        id = container.spec.id
        if container.running:
            self._running.add(id)
            self._unrecorded.pop(id, None)
        elif container.state.exit is not None:
            self._unrecorded.pop(id, None)
        elif id in self._running or container.state.started_at:
            self._unrecorded.setdefault(id, time.monotonic() + RECORD_SECONDS)

    def endings(self) -> list[Container]:
        """Look again; containers that have ended since the last call."""
        found = []
        for container in self._look():
            key = _ending(container)
            if key and key not in self._told:
                self._told.add(key)
                found.append(container)
        found.sort(key=lambda c: c.state.exit.at if c.state.exit else 0.0)
        return found

    @property
    def seen_active(self) -> bool:
        """Something has run since the watch began."""
        return bool(self._running)

    @property
    def active(self) -> bool:
        """Something runs, or will again (by its restart policy, or because a request stops and starts it)."""
        if self.pending or any(c.running or c.status == "restarting" for c in self.containers):
            return True
        return bool(self._returning & self.services if self.services else self._returning)

    @property
    def pending(self) -> bool:
        """Something is about to be written down: how a container ended, or whether it is started again.

        Not for ever: whoever writes it may have been killed.
        """
        guessed = any(c.status == "restarting" and c.undecided for c in self.containers)
        return guessed or any(time.monotonic() < limit for limit in self._unrecorded.values())


def _ending(container: Container) -> tuple[str, float] | None:
    end = container.state.exit
    return (container.spec.id, end.at) if end and container.state.status == "exited" else None
