"""Stay with running containers: print what they write, tell how they end, pass Ctrl-C on.

Comes in:  what to follow, and for ``up`` the request that is under way.
Goes out:  an exit code.
Not here:  finding new lines (``engine.follow``), printing them (``printer``), stopping (the supervisor).

Everything is read from disk and woken by inotify, so it goes on when the supervisor dies and another
takes over.
"""

import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from compose.cli import containers, interrupt, report
from compose.cli.containers import Container
from compose.cli.printer import Printer
from compose.cli.progress import Display, Quiet, Unless, display, show
from compose.cli.remote import Courier, Event, perform
from compose.cli.scope import Identity, Scope
from compose.engine.follow import Follower
from compose.engine.logs import Line

if TYPE_CHECKING:
    from compose.load.project import Loaded
    from compose.model.project import Project

INTERRUPTED = 130
RECORD_SECONDS = 3.0
REPLACED_SECONDS = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What an attached ``up`` was asked for.

    services: whose output is shown. abort: "", "any" exit or "failure" stops everything.
    code_from: the service whose exit code is returned, or "".
    """

    services: Sequence[str] = ()
    replicas: Mapping[str, int] = field(default_factory=dict)
    prefix: bool = True
    colour: bool = True
    times: bool = False
    timeout: int | None = None
    abort: str = ""
    code_from: str = ""


class Watch:
    """The containers of a project, looked at again whenever something about them changed on disk."""

    def __init__(
        self, scope: Scope, project: str, follower: Follower, wanted: Callable[[Container], bool]
    ) -> None:
        self.places = scope.places
        self.project = project
        self.follower = follower
        self.wanted = wanted
        self.containers: list[Container] = []
        self._unrecorded: dict[str, float] = {}
        self._running: set[str] = set()
        self._watched: set[str] = set()
        self._told = {key for key in map(_ending, self._look()) if key}

    def _look(self) -> list[Container]:
        """Read the state of all; what is new is watched first and read again, so that no change is missed."""
        run = self.places.project_run(self.project)
        for directory in (self.places.run, run, run / "containers"):
            self.follower.watch(directory)
        while True:
            found = [c for c in containers.of_project(self.places, self.project) if self.wanted(c)]
            there = {c.spec.id for c in found if self.follower.watch(Path(run, "containers", c.spec.id))}
            if there <= self._watched:
                break
            self._watched |= there
        for container in found:
            self._note(container)
        self.containers = found
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
        """Something runs, or will again by its restart policy, or its exit record is still being written."""
        return self.pending or any(c.running or c.status == "restarting" for c in self.containers)

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


def follow_logs(
    scope: Scope,
    identity: Identity,
    services: Sequence[str],
    index: int | None,
    printer: Printer,
    history: Callable[[], Iterable[Line]],
    *,
    until: str = "",
) -> None:
    """``logs -f``: the history, then what comes, until no container of ``services`` is active any more."""

    def wanted(container: Container) -> bool:
        chosen = not services or container.service in services
        return chosen and not container.oneoff and (not index or container.number == index)

    def wanted_log(name: str) -> bool:
        return name in printer.shown

    directory = scope.places.project_data(identity.name) / "logs"
    with Follower(directory, wanted=wanted_log) as follower:
        watch = Watch(scope, identity.name, follower, wanted)
        printer.lines(history())
        while True:
            for container in watch.containers:
                printer.add(container.name, container.shown_as, container.service)
            lines = follower.lines()
            printer.lines(line for line in lines if not until or line.time <= until)
            if until and lines and lines[-1].time > until:
                break
            if not watch.active and not _comes_back(watch, follower):
                break
            if follower.wait(timeout=RECORD_SECONDS if watch.pending else None) or watch.pending:
                watch.endings()
        printer.lines(line for name in printer.shown for line in follower.last_words(name))


def _comes_back(watch: Watch, follower: Follower) -> bool:
    """Whether something is active again a moment after nothing was: a container that is being replaced."""
    limit = time.monotonic() + REPLACED_SECONDS
    while watch.seen_active and time.monotonic() < limit:
        if follower.wait(timeout=max(0.0, limit - time.monotonic())):
            watch.endings()
            if watch.active:
                return True
    return False


def attached(scope: Scope, loaded: "Loaded", arguments: Mapping[str, Any], wish: Wish) -> int:
    """``up`` in the foreground. Gives 0 when all ended by themselves, 130 after Ctrl-C."""
    names = expected(loaded.project, wish)
    printer = Printer(
        {name: shown for name, (shown, _) in names.items()},
        {name: service for name, (_, service) in names.items()},
        prefix=wish.prefix,
        colour=wish.colour,
        times=wish.times,
        split=True,
    )
    directory = scope.places.project_data(loaded.project.name) / "logs"
    with Follower(directory, wanted=lambda name: name in printer.shown) as follower:
        stay = _Stay(scope, loaded, wish, printer, follower, frozenset(arguments["order"]))
        return stay.run(arguments)


def expected(project: "Project", wish: Wish) -> dict[str, tuple[str, str]]:
    """Name shown and service by container name, of the containers that will be attached to. Pure."""
    found = {}
    for name in wish.services:
        service = project.services[name]
        for number in range(1, wish.replicas.get(name, service.scale) + 1):
            if service.container_name:
                found[service.container_name] = (service.container_name, name)
            else:
                found[f"{project.name}-{name}-{number}"] = (f"{name}-{number}", name)
    return found


class _Stay:
    """One attached ``up`` from its request to its end."""

    def __init__(
        self,
        scope: Scope,
        loaded: "Loaded",
        wish: Wish,
        printer: Printer,
        follower: Follower,
        members: frozenset[str],
    ) -> None:
        self.scope = scope
        self.project = loaded.project.name
        self.wish = wish
        self.printer = printer
        self.follower = follower
        self.members = members
        self.watch = Watch(scope, self.project, follower, lambda c: c.service in members and not c.oneoff)
        self.shown: Display = Unless("Running", display(scope.progress))
        self.announced = False
        self.code = 0
        self.aborted = False
        self.interrupts = 0  # those that are dealt with

    def run(self, arguments: Mapping[str, Any]) -> int:
        courier = None
        try:
            courier = Courier(self.scope, self.project, "up", arguments)
            self._follow(courier, self._up)
        except KeyboardInterrupt:
            if courier is not None:
                courier.cancel()
            return self._interrupted()
        except BaseException:
            if courier is not None:
                courier.cancel()
            self.shown.close()
            raise
        if self.aborted:
            report.say(report.paint("Aborting on container exit...", report.RED, sys.stderr))
            try:
                self._stop()
            except KeyboardInterrupt:
                return self._killed()
        return self.code

    def _follow(
        self, courier: Courier, on_event: Callable[[Event], None], *, until_done: bool = False
    ) -> None:
        """Print and tell until nothing is active any more, or (``until_done``) the request is answered."""
        changed = True
        while True:
            if interrupt.count > self.interrupts:
                raise KeyboardInterrupt
            if not courier.done:
                for event in courier.events():
                    on_event(event)
                changed |= courier.done
            if courier.done:
                self._announce()
            if self.announced:
                self.printer.lines(self.follower.lines())
            if changed or self.watch.pending:
                self._tell_endings()
            if courier.done and (until_done or self.aborted or not self.watch.active):
                return
            if self.aborted and not until_done:
                courier.cancel()
                return
            changed = self.follower.wait(
                *(() if courier.done else (courier.fileno(),)),
                timeout=RECORD_SECONDS if self.watch.pending else None,
            )

    def _up(self, event: Event) -> None:
        """While it comes up: progress until the first start, then only what matters amid the output."""
        if event.get("event") == "step" and event["kind"] == "container" and event["status"] == "Starting":
            self._announce()
        if (
            not self.announced
            or event.get("event") in ("warning", "notice")
            or event.get("status") == "Error"
        ):
            show(event, self.shown)

    def _announce(self) -> None:
        if self.announced:
            return
        self.announced = True
        self.shown.close()
        report.tell("Attaching to " + ", ".join(sorted(self.printer.shown.values())))
        self.shown = Quiet()

    def _tell_endings(self) -> None:
        for container in self.watch.endings():
            end = container.state.exit
            assert end is not None
            if self.announced:
                self.printer.lines(self.follower.lines())
            if container.name in self.printer.shown:
                self.printer.lines(self.follower.last_words(container.name))
                self.printer.ended(container.name, ending_text(container))
            self._judge(container, 255 if end.code is None else end.code)

    def _judge(self, container: Container, code: int) -> None:
        wish = self.wish
        if container.status == "restarting" or not wish.abort:
            return
        if not self.aborted and (wish.abort == "any" or code):
            self.aborted = True
            if not wish.code_from:
                self.code = code
        if container.service == wish.code_from and container.number == 1:
            self.code = code

    def _stop(self) -> None:
        self.interrupts = interrupt.count
        courier = Courier(
            self.scope, self.project, "stop", {"services": sorted(self.members), "timeout": self.wish.timeout}
        )
        live = self.scope.progress in ("auto", "tty")  # the lines of services would run through live ones
        shown = display("plain" if live else self.scope.progress)
        try:
            self._follow(courier, lambda event: show(event, shown), until_done=True)
        except BaseException:
            courier.cancel()
            raise
        finally:
            shown.close()
        self._tell_endings()

    def _interrupted(self) -> int:
        self.announced = True
        self.shown.close()
        report.say("Gracefully Stopping... press Ctrl+C again to force")
        try:
            self._stop()
        except KeyboardInterrupt:
            return self._killed()
        return INTERRUPTED

    def _killed(self) -> int:
        report.say("Killing...")
        perform(self.scope, self.project, "kill", {"services": sorted(self.members), "signal": "SIGKILL"})
        self._tell_endings()
        return INTERRUPTED


def ending_text(container: Container) -> str:
    """ "exited with code 137 (memory limit of 64 MiB reached)", with "(restarting)" when it will be. Pure."""
    end = container.state.exit
    assert end is not None
    text = f"exited with code {'unknown' if end.code is None else end.code}"
    if end.reason:
        text += f" ({end.reason})"
    elif end.oom:
        text += " (out of memory)"
    return text + " (restarting)" if container.status == "restarting" else text
