"""``pycompose watch``: bring changed files into running containers, or build and restart what uses them."""

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from compose.cli import report
from compose.cli.options import Option, Services
from compose.cli.scope import Scope
from compose.errors import UsageError

if TYPE_CHECKING:
    from compose.cli.containers import Container
    from compose.engine.watching import Rules, Task
    from compose.load.project import Loaded
    from compose.model.service import Hook

IDLE = 250  # milliseconds until the first look, which tells that the watch is on
DEBOUNCE, STEP = (
    50,
    10,
)  # milliseconds: changes are gathered for so long at most, until none comes for so long


def run(
    scope: Scope,
    services: Services = (),
    *,
    no_up: Annotated[bool, Option("--no-up", help="Do not build & start services before watching")] = False,
    prune: Annotated[bool, Option("--prune", help="Prune dangling images on rebuild")] = True,
    quiet: Annotated[bool, Option("--quiet", help="Hide build output")] = False,
) -> int:
    """Watch build context for service and rebuild/refresh containers when files are updated"""
    scope.project(services)
    loaded = scope.loaded(services)
    rules = rules_of(loaded, services)
    if scope.dry_run:
        return 0
    scope.require_rights()
    if not no_up:
        from compose.cli.up import run as up

        up(scope, services, detach=True, build=True, quiet_build=quiet)
    follow(scope, loaded, rules, prune=prune, quiet=quiet)
    return 0


def rules_of(loaded: "Loaded", services: Services) -> "Rules":
    """The rules of ``services``, of all when none is named. Raises UsageError when there are none."""
    from compose.engine.watching import Rules

    chosen = [one for name, one in loaded.project.services.items() if not services or name in services]
    contexts = {one.build.context for one in chosen if one.build is not None and one.develop}
    rules = Rules(chosen, {path: _text(Path(path, ".dockerignore")) for path in contexts})
    if not rules.services:
        raise UsageError(
            "none of the selected services is configured for watch, consider setting a 'develop' section",
            hint="add develop.watch with path, action and target to a service",
        )
    for path in rules.paths:
        if not Path(path).exists():
            raise UsageError(
                f"watched path '{path}' does not exist", hint="make it, or correct 'develop.watch'"
            )
    return rules


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except (OSError, ValueError):
        return ""


def follow(
    scope: Scope, loaded: "Loaded", rules: "Rules", *, prune: bool, quiet: bool, beside_up: bool = False
) -> None:
    """Do what changes ask for until somebody ends it. beside_up: at the latest when our parent has ended."""
    from watchfiles import watch

    work = _Work(scope, loaded, rules, prune=prune, quiet=quiet)
    changes = watch(
        *rules.paths,
        watch_filter=None,
        debounce=DEBOUNCE,
        step=STEP,
        rust_timeout=IDLE,
        yield_on_timeout=True,
    )
    early = next(changes)  # the watch is on: what is saved from now on is seen
    work.fill()
    report.tell("Watch enabled")
    starter = os.getppid()
    for found in chain((early,), changes):
        if beside_up and os.getppid() != starter:
            return  # the ``up`` that this watch belongs to was killed
        work.fill()
        for task in rules.tasks((path for _, path in found), os.path.lexists):
            work.do(task)


class _Work:
    """Does the tasks; a failure is told and the watch goes on."""

    def __init__(self, scope: Scope, loaded: "Loaded", rules: "Rules", *, prune: bool, quiet: bool) -> None:
        self.scope = scope
        self.loaded = loaded
        self.rules = rules
        self.prune = prune
        self.quiet = quiet
        self._filled: set[tuple[tuple[str, tuple[str, ...]], str]] = set()

    def fill(self) -> None:
        """``initial_sync`` of containers that are new since the last call."""
        for task in self.rules.first():
            key = (task.service, task.caused)
            fresh = [c for c in self._running(task.service) if (key, c.spec.id) not in self._filled]
            self._filled |= {(key, c.spec.id) for c in fresh}
            for container in fresh:
                try:
                    sync(container, self._files(task), ())
                except Exception as failure:  # such as one that has just ended
                    report.error(failure)

    def do(self, task: "Task") -> None:
        """One task, and a line about what caused it and how long it took."""
        begun = time.monotonic()
        try:
            words = self._done(task)
        except Exception as failure:  # whatever it is, the next change may go well
            report.error(failure)
            return
        what = self._shown(task.caused)
        report.tell(f"{words}: {what} ({(time.monotonic() - begun) * 1000:.0f} ms)")

    def _done(self, task: "Task") -> str:
        if task.rebuild:
            self._rebuild(task.service)
            return f'Rebuilding service "{task.service}" after changes were detected'
        if task.copies or task.removals:
            for container in self._running(task.service):
                sync(container, self._files(task), task.removals)
        for hook in task.exec:
            self._execute(task.service, hook)
        if task.restart:
            self._restart(task.service)
            report.tell(f'service(s) ["{task.service}"] restarted')
        return f'Syncing service "{task.service}" after {len(task.caused)} changes were detected'

    def _files(self, task: "Task") -> list[tuple[str, str]]:
        """The copies file by file; of a directory those that the rules want."""
        found = []
        for source, target in task.copies:
            if not os.path.isdir(source) or os.path.islink(source):  # noqa: PTH112, PTH114
                found.append((source, target))
                continue
            for directory, _, names in os.walk(source):
                inner = os.path.relpath(directory, source)
                for name in names:
                    path = os.path.join(directory, name)  # noqa: PTH118
                    if self.rules.wants(task.service, path):
                        found.append((path, os.path.normpath(f"{target}/{inner}/{name}")))
        return list(dict.fromkeys(found))

    def _running(self, service: str) -> "list[Container]":
        from compose.cli import containers

        found = containers.of_project(self.scope.places, self.loaded.project.name, (service,))
        return [c for c in found if c.running and not c.oneoff]

    def _execute(self, service: str, hook: "Hook") -> None:
        from runtime.process.enter import enter
        from runtime.spec import ExecSpec

        spec = ExecSpec(
            argv=hook.command,
            env=tuple(f"{name}={value}" for name, value in hook.environment.items() if value is not None),
            user=hook.user,
            working_dir=hook.working_dir,
            privileged=hook.privileged,
        )
        directory = self.scope.places.project_run(self.loaded.project.name)
        for container in self._running(service):
            sys.stdout.flush()
            code = enter(container.spec, spec, run=directory, interactive=False)
            if code:
                raise UsageError(f"the command of sync+exec exited with {code} in {container.name}")

    def _restart(self, service: str) -> None:
        from compose.cli.remote import model, perform

        told = {**model(self.loaded), "services": [service], "timeout": None, "no_deps": True}
        perform(self.scope, self.loaded.project.name, "restart", told)

    def _rebuild(self, service: str) -> None:
        from compose.cli.up import run as up

        up(self.scope, (service,), detach=True, build=True, no_deps=True, quiet_build=self.quiet)
        if self.prune:
            from compose.cli.image import prune_dangling

            prune_dangling(self.scope)

    def _shown(self, caused: tuple[str, ...]) -> str:
        first = os.path.relpath(caused[0], self.loaded.project.working_dir)
        return first if len(caused) == 1 else f"{first} and {len(caused) - 1} more"


def sync(container: "Container", copies: list[tuple[str, str]], removals: tuple[str, ...]) -> None:
    """Copy files of the host into a running container, and take away what has gone there."""
    from runtime.image import copying
    from runtime.process.outside import root

    inside = root(container.spec, container.state, container.record)
    host = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for target in removals:
            copying.remove(inside, target)
        for source, target in copies:
            parent, _, name = target.rstrip("/").rpartition("/")
            try:
                chunks = copying.pack(host, source, name, follow=False)
                copying.unpack(inside, parent or "/", chunks, copying.Owner(0, 0))
            except FileNotFoundError:  # it has gone meanwhile: the next change tells
                continue
    finally:
        os.close(host)
        os.close(inside)


@contextmanager
def beside(scope: Scope, loaded: "Loaded", services: Services) -> Iterator[None]:
    """``up --watch``: watch in a process of its own for as long as the block lasts."""
    import signal

    from compose.supervisor import client

    rules = rules_of(loaded, services)
    sys.stdout.flush()
    sys.stderr.flush()
    child = os.fork()
    if child == 0:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        client.cancel_prestart()  # our ends of its pipes would keep the supervisor of ``up`` waiting
        try:
            follow(scope, loaded, rules, prune=True, quiet=False, beside_up=True)
        except Exception as failure:
            report.error(failure)
        finally:
            os._exit(0)
    try:
        yield
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
