"""What ``watch`` does about files that changed: which services, which copies, which action.

Comes in:  the rules of ``develop.watch``, absolute paths that changed, whether they are still there.
Goes out:  a Task for each service. Pure.
Not here:  noticing changes and doing the work (``compose.cli.watch``).
Source: Compose Develop Specification; docker compose pkg/watch.
"""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Iterable, Mapping, Sequence

from compose.model.service import Hook, Service, Watch
from runtime.image.dockerfile.ignore import Ignore, patterns, read
from schemas.frozen import dataclass

# what editors and tools leave beside a file while they save it
EPHEMERAL = (
    "**/.git", "**/*___jb_tmp___", "**/*___jb_old___", "**/.idea", "**/.#*", "**/#*#", "**/4913", "**/*~",
    "**/.*.swp", "**/.*.swx", "**/.*.swo", "**/.*.kate-swp", "**/.goutputstream-*", "**/*-go-tmp-umask",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """What is to be done for one service.

    rebuild: beside it nothing else matters. copies: source on the host and target in the container, in order;
    removals: targets whose source has gone. caused: the paths on the host.
    """

    service: str
    rebuild: bool = False
    copies: tuple[tuple[str, str], ...] = ()
    removals: tuple[str, ...] = ()
    restart: bool = False
    exec: tuple[Hook, ...] = ()
    caused: tuple[str, ...] = ()


class Rules:
    """The rules of all watched services.

    ignored: the text of each service's .dockerignore by its build context, for rules that lie below it.
    """

    def __init__(self, services: Iterable[Service], ignored: Mapping[str, str]) -> None:
        self._rules: list[tuple[str, Watch, Callable[[str], bool]]] = [
            (service.name, rule, _wanted(rule, service, ignored))
            for service in services
            for rule in (service.develop or ())
        ]

    @property
    def services(self) -> tuple[str, ...]:
        """Those that watch something."""
        return tuple(dict.fromkeys(name for name, _, _ in self._rules))

    @property
    def paths(self) -> tuple[str, ...]:
        """What is watched."""
        return tuple(dict.fromkeys(rule.path for _, rule, _ in self._rules))

    def first(self) -> list[Task]:
        """The copies that ``initial_sync`` asks for."""
        return [
            Task(service=name, copies=((rule.path, rule.target),), caused=(rule.path,))
            for name, rule, _ in self._rules
            if rule.initial_sync and rule.target
        ]

    def wants(self, service: str, path: str) -> bool:
        """Whether a rule of ``service`` takes ``path``; ignored files of an initial copy are left out."""
        return any(
            name == service and inside(rule.path, path) and wanted(path) for name, rule, wanted in self._rules
        )

    def tasks(self, changed: Iterable[str], exists: Callable[[str], bool]) -> list[Task]:
        """What the changed paths ask for, by service in the order of the file."""
        every = sorted(set(changed))
        found = [self._task(service, every, exists) for service in self.services]
        return [task for task in found if task is not None]

    def _task(self, service: str, changed: Sequence[str], exists: Callable[[str], bool]) -> Task | None:
        hits = [
            (rule, path)
            for path in changed
            for name, rule, wanted in self._rules
            if name == service and inside(rule.path, path) and wanted(path)
        ]
        if not hits:
            return None
        moved = [(path, _target(rule, path)) for rule, path in hits if "sync" in rule.action]
        gone = tuple(dict.fromkeys(target for path, target in moved if not exists(path)))
        actions = {rule.action for rule, _ in hits}
        hooks = [rule.exec for rule, _ in hits if rule.action == "sync+exec" and rule.exec is not None]
        return Task(
            service=service,
            rebuild="rebuild" in actions,
            copies=tuple(dict.fromkeys((path, target) for path, target in moved if exists(path))),
            removals=gone,
            restart=bool(actions & {"restart", "sync+restart"}),
            exec=tuple(hook for n, hook in enumerate(hooks) if hook not in hooks[:n]),
            caused=tuple(dict.fromkeys(path for _, path in hits)),
        )


def inside(directory: str, path: str) -> bool:
    """Whether ``path`` is ``directory`` or lies below it. Pure."""
    return path == directory or path.startswith(directory.rstrip("/") + "/")


def _target(rule: Watch, path: str) -> str:
    rest = path[len(rule.path.rstrip("/")) :].lstrip("/")
    return posixpath.join(rule.target, rest) if rest else rule.target


def _wanted(rule: Watch, service: Service, ignored: Mapping[str, str]) -> Callable[[str], bool]:
    own = patterns(rule.ignore)
    ephemeral = patterns(EPHEMERAL)
    include = patterns(rule.include) if rule.include else None
    context = service.build.context if service.build is not None else ""
    of_context = read(ignored[context]) if context in ignored else Ignore()

    def wanted(path: str) -> bool:
        relative = path[len(rule.path.rstrip("/")) :].lstrip("/")
        if not relative:
            return True
        if (
            context
            and inside(context, path)
            and of_context.matches(path[len(context.rstrip("/")) :].lstrip("/"))
        ):
            return False
        if own.matches(relative) or ephemeral.matches(relative):
            return False
        return include is None or include.matches(relative)

    return wanted
