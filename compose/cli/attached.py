"""Stay with running containers: print what they write, tell how they end, pass Ctrl-C on.

Comes in:  what to follow, and for ``up`` the request that is under way.
Goes out:  an exit code.
Not here:  finding new lines (``engine.follow``), printing them (``printer``), stopping (the supervisor).

Everything is read from disk and woken by inotify, so it goes on when the supervisor dies and another
takes over.
"""

import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from compose.cli import interrupt, report
from compose.cli.containers import Container
from compose.cli.endings import RECORD_SECONDS, Watch
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What an attached ``up`` was asked for.

    services: whose output is shown. awaited: it ends when these have ended. stopped: what Ctrl-C and an
    abort stop. abort: "", "any" exit or "failure" of one that is awaited ends all of them.
    code_from: the service whose exit code is returned, or "".
    """

    services: Sequence[str] = ()
    awaited: frozenset[str] = frozenset()
    stopped: frozenset[str] = frozenset()
    replicas: Mapping[str, int] = field(default_factory=dict)
    prefix: bool = True
    colour: bool = True
    times: bool = False
    timeout: int | None = None
    abort: str = ""
    code_from: str = ""


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
        chosen = identity.acts_on(container.service, services)
        return chosen and not container.oneoff and (not index or container.number == index)

    def wanted_log(name: str) -> bool:
        return name in printer.shown

    directory = scope.places.project_data(identity.name) / "logs"
    with Follower(directory, wanted=wanted_log) as follower:
        watch = Watch(scope, identity.name, follower, wanted, services)
        printer.lines(history())
        while True:
            for container in watch.containers:
                printer.add(container.name, container.shown_as, container.service)
            lines = follower.lines()
            printer.lines(line for line in lines if not until or line.time <= until)
            if until and lines and lines[-1].time > until:
                break
            settled = not watch.active
            patience = RECORD_SECONDS if watch.pending else None
            if follower.wait(timeout=0 if settled else patience) or watch.pending:
                for container in watch.endings():
                    if not until:
                        printer.lines((*follower.lines(), *follower.last_words(container.name)))
                        printer.ended(container.name, ending_text(container))
            elif settled:
                break
        if not until:
            printer.lines(follower.lines())
        printer.lines(line for name in printer.shown for line in follower.last_words(name))


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
    replica = replicas_of(loaded.project, wish.services)
    with Follower(directory, wanted=lambda name: replica(name) is not None) as follower:
        return _Stay(scope, loaded, wish, printer, follower).run(arguments)


def expected(project: "Project", wish: Wish) -> dict[str, tuple[str, str]]:
    """Name shown and service by container name, of the containers that will be attached to. Pure."""
    found = {}
    for name in wish.services:
        service = project.services[name]
        for number in range(1, wish.replicas.get(name, service.scale) + 1):
            if service.container_name:
                found[service.container_name] = (service.container_name, name)
            else:
                shown = f"{name}{project.separator}{number}"
                found[f"{project.name}{project.separator}{shown}"] = (shown, name)
    return found


def replicas_of(project: "Project", services: Sequence[str]) -> Callable[[str], tuple[str, str, str] | None]:
    """A function from a container's name to what ``Printer.add`` takes, None for others. Pure."""
    fixed = {project.services[name].container_name: name for name in services}
    dash = project.separator
    prefixes = {f"{project.name}{dash}{name}{dash}": name for name in services}

    def find(name: str) -> tuple[str, str, str] | None:
        if name in fixed:
            return name, name, fixed[name]
        head, _, number = name.rpartition(dash)
        service = prefixes.get(head + dash)
        return (name, f"{service}{dash}{number}", service) if service and number.isdigit() else None

    return find


class _Stay:
    """One attached ``up`` from its request to its end."""

    def __init__(
        self,
        scope: Scope,
        loaded: "Loaded",
        wish: Wish,
        printer: Printer,
        follower: Follower,
    ) -> None:
        self.scope = scope
        self.project = loaded.project.name
        self.wish = wish
        self.printer = printer
        self.follower = follower
        self.replica = replicas_of(loaded.project, wish.services)
        self.watch = Watch(
            scope, self.project, follower, lambda c: c.service in wish.awaited and not c.oneoff, wish.awaited
        )
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
                self._print_new()
            if changed or self.watch.pending:
                self._tell_endings()
            leaving = courier.done and not until_done and not self.aborted and not self.watch.active
            if courier.done and (until_done or self.aborted):
                return
            if self.aborted and not until_done:
                courier.cancel()
                return
            patience = RECORD_SECONDS if self.watch.pending else None
            changed = self.follower.wait(
                *(() if courier.done else (courier.fileno(),)), timeout=0 if leaving else patience
            )
            if leaving and not changed:
                return

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

    def _print_new(self) -> None:
        """Lines of all replicas of the shown services, also of those that came after the announcement."""
        lines = self.follower.lines()
        for name in {line.name for line in lines}:
            self._meet(name)
        self.printer.lines(lines)

    def _meet(self, name: str) -> bool:
        known = self.replica(name)
        if known is not None:
            self.printer.add(*known)
        return known is not None

    def _tell_endings(self) -> None:
        for container in self.watch.endings():
            end = container.state.exit
            assert end is not None
            if self.announced:
                self._print_new()
            if self._meet(container.name):
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
            self.scope,
            self.project,
            "stop",
            {"services": sorted(self.wish.stopped), "timeout": self.wish.timeout},
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
        perform(
            self.scope, self.project, "kill", {"services": sorted(self.wish.stopped), "signal": "SIGKILL"}
        )
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
