"""What every verb starts from: the global flags, the places on disk, the project when it is asked for.

Comes in:  the global flags, the environment.
Goes out:  Scope, which loads the project at the first question and not before.
Not here:  reading files (``compose.load``), printing beyond the loader's warnings.
"""

import os
import sys
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Annotated, Any

from compose.cli import report
from compose.cli.options import DryRun, Option, Texts
from compose.cli.settings import truth
from compose.errors import ComposeError, NotPermitted, Several, UsageError
from compose.model.places import Places

if TYPE_CHECKING:
    from compose.load.project import Loaded
    from compose.load.request import LoadRequest
    from compose.model.project import Project

ANSI = ("auto", "never", "always")
ASSEMBLE = ("auto", "never", "always")
PROGRESS = ("auto", "tty", "plain", "json", "quiet")


class Identity:
    """As much of a project as reading its state takes: its name and the services of its file.

    services: the active ones; () when only the name is known. disabled: those of inactive profiles.
    from_file: whether a file says which services the project has.
    """

    __slots__ = ("disabled", "from_file", "name", "services")

    def __init__(
        self,
        name: str,
        services: Iterable[str] = (),
        disabled: Iterable[str] = (),
        *,
        from_file: bool = False,
    ) -> None:
        self.name = name
        self.services = tuple(services)
        self.disabled = tuple(disabled)
        self.from_file = from_file

    @property
    def known(self) -> tuple[str, ...]:
        """Every service of the file, whatever its profiles."""
        return (*self.services, *self.disabled)

    def acts_on(self, service: str, named: Iterable[str]) -> bool:
        """Whether a verb that was given ``named`` means ``service``; () means all active services."""
        return service in named if named else not self.from_file or service in self.services


File = Annotated[Texts, Option("-f", "--file", metavar="FILE", help="Compose configuration files")]
ProjectName = Annotated[str, Option("-p", "--project-name", metavar="NAME", help="Project name")]
ProjectDirectory = Annotated[
    str,
    Option("--project-directory", metavar="PATH", help="Specify an alternate working directory"),
]
EnvFile = Annotated[Texts, Option("--env-file", metavar="FILE", help="Specify an alternate environment file")]
Profile = Annotated[Texts, Option("--profile", metavar="NAME", help="Specify a profile to enable")]
Ansi = Annotated[
    str, Option("--ansi", metavar="WHEN", help="When to print ANSI control characters", choices=ANSI)
]
Progress = Annotated[
    str, Option("--progress", metavar="TYPE", help="Type of progress output", choices=PROGRESS)
]
Parallel = Annotated[
    int | None,
    Option("--parallel", metavar="INT", help="Limit pulls and builds at a time, -1 for none"),
]
AllResources = Annotated[
    bool, Option("--all-resources", help="Include all resources, even those not used by services")
]
Compatibility = Annotated[bool, Option("--compatibility", help="Run compose in backward compatibility mode")]
Verbose = Annotated[bool, Option("--verbose", help="Obsolete, no effect", hidden=True)]
NoAnsi = Annotated[bool, Option("--no-ansi", help="Obsolete, as --ansi never", hidden=True)]
Workdir = Annotated[
    str, Option("--workdir", metavar="PATH", help="Obsolete, as --project-directory", hidden=True)
]
Strict = Annotated[
    bool, Option("--strict", help="Refuse a file with attributes that have no effect, instead of a warning")
]
Assemble = Annotated[
    str,
    Option(
        "--assemble",
        metavar="WHEN",
        help="Make known images out of Debian packages where no registry answers",
        choices=ASSEMBLE,
    ),
]


class Scope:
    """The global flags and what follows from them."""

    def __init__(
        self,
        *,
        file: File = (),
        project_name: ProjectName = "",
        project_directory: ProjectDirectory = "",
        env_file: EnvFile = (),
        profile: Profile = (),
        ansi: Ansi = "",
        progress: Progress = "",
        parallel: Parallel = None,
        assemble: Assemble = "",
        strict: Strict = False,
        all_resources: AllResources = False,
        compatibility: Compatibility = False,
        verbose: Verbose = False,
        no_ansi: NoAnsi = False,
        workdir: Workdir = "",
        dry_run: DryRun = False,
    ) -> None:
        self.files = file
        self.given_name = project_name
        self.project_directory = project_directory or workdir
        self.all_resources = all_resources
        self.compatibility = compatibility or truth("COMPOSE_COMPATIBILITY")
        self.env_files = env_file
        self.profiles = profile
        self.progress = progress or os.environ.get("COMPOSE_PROGRESS", "") or "auto"
        self.parallel = parallel if parallel is not None else _limit()
        self.assemble = assemble or os.environ.get("PYCOMPOSE_ASSEMBLE", "") or "auto"
        self.strict = strict
        self.dry_run = dry_run
        self.places = Places.from_environment(os.environ)
        self._loaded: Loaded | None = None
        self._identity: Identity | None = None
        self._warned: set[str] = set()
        report.choose_ansi("never" if no_ansi else ansi or os.environ.get("COMPOSE_ANSI", "") or "auto")
        if self.progress not in PROGRESS:
            raise UsageError(
                f"unsupported progress type '{self.progress}'", hint="one of " + ", ".join(PROGRESS)
            )
        if self.assemble not in ASSEMBLE:
            raise UsageError(
                f"invalid PYCOMPOSE_ASSEMBLE '{self.assemble}'", hint="one of " + ", ".join(ASSEMBLE)
            )

    def loaded(self, services: Iterable[str] = ()) -> "Loaded":
        """The project of the files, read once. services: named on the command line, which activates them."""
        if self._loaded is None:
            self._loaded = self._read(self.request(services), order=True)
        return self._loaded

    def _read(self, request: "LoadRequest", *, order: bool) -> "Loaded":
        from compose.load.project import load

        try:
            loaded = load(request, order=order)
        except ComposeError as failure:
            self._warn(failure.warnings)
            raise
        self._strictly(loaded.canonical)
        self._warn(loaded.warnings)
        return loaded

    @property
    def was_loaded(self) -> bool:
        """Whether the files could be read: what went wrong, went wrong later."""
        return self._loaded is not None

    def request(self, services: Iterable[str] = ()) -> "LoadRequest":
        """What the loader is asked for."""
        from compose.load.request import LoadRequest

        return LoadRequest(
            files=self.files,
            project_name=self.given_name,
            project_directory=self.project_directory,
            env_files=self.env_files,
            profiles=self.profiles,
            environment=dict(os.environ),
            cwd=working_directory(),
            services=tuple(services),
            separator="_" if self.compatibility else "-",
            all_resources=self.all_resources,
        )

    def _strictly(self, model: Mapping[str, Any]) -> None:
        """Refuse attributes without effect where ``--strict`` asks for it."""
        found = model.get("x-pycompose", {}).get("ignored", ()) if self.strict else ()
        if found:
            hint = "remove them, or leave out --strict"
            *others, last = found
            raise Several([*map(UsageError, others), UsageError(last, hint=hint)])

    def _warn(self, warnings: Iterable[str]) -> None:
        for warning in warnings:
            if warning not in self._warned:
                self._warned.add(warning)
                report.warn(warning)

    def project(self, services: Iterable[str] = ()) -> "Project":
        """The frozen model. Raises UsageError for a service that the file does not have."""
        names = tuple(services)
        project = self.loaded(names).project
        for name in names:
            if name not in project.services:
                raise unknown_service(name, project.services)
        return project

    def model(self, services: Iterable[str] = ()) -> Mapping[str, Any]:
        """The canonical model, JSON-able; from the cache it costs no YAML and no frozen nouns."""
        if self._loaded is None and "-" not in self.files:
            from compose.load import cache
            from compose.load.request import Reader

            request = self.request(services)
            hit = cache.find(cache.directory(request.environment), request, Reader())
            if hit is not None:
                self._strictly(hit.canonical)
                self._warn(hit.warnings)
                return hit.canonical
            return self._read(request, order=False).canonical
        return self.loaded(services).canonical

    def partial_model(self, omit: Texts, services: Iterable[str] = ()) -> Mapping[str, Any]:
        """The model without the stages ``omit`` (``load.request.STAGES``): to be printed, not to be run."""
        from compose.load import raw, resolve
        from compose.load.request import Reader
        from schemas.frozen import replace

        request = replace(self.request(services), omit=omit)
        try:
            if "interpolate" in omit:
                return raw.model(request, Reader())
            model, notes = resolve.model(request, Reader())
        except ComposeError as failure:
            self._warn(failure.warnings)
            raise
        self._warn(resolve.warnings(notes))
        return model

    def identity(self) -> Identity:
        """Name and services of the project; a name given by flag or variable needs no file."""
        if self._identity is None:
            self._identity = self._find_identity()
        return self._identity

    def _find_identity(self) -> Identity:
        if self.by_name:
            return Identity(self.by_name)
        try:
            model = self.model()
        except ComposeError as failure:
            found = self._despite(failure)
            if isinstance(found, str):
                return Identity(found)
            model = found.canonical
        disabled = model.get("x-pycompose", {}).get("disabled", ())
        return Identity(model["name"], model["services"], disabled, from_file=True)

    @property
    def by_name(self) -> str:
        """The name of ``-p`` when no ``-f`` goes with it: the records of the project are enough then.

        Only for verbs that act on what exists. Raises UsageError for a name that none can have.
        """
        name = "" if self.files else self.given_name
        if name and not is_name(name):
            raise UsageError(
                f"'{name}' is not a project name", hint="use lower case letters, digits, '-' and '_'"
            )
        return name

    def loaded_or_name(self, services: Iterable[str] = ()) -> "Loaded | str":
        """The project of the files or, for verbs that act on what exists, its name where that is enough."""
        if self.by_name:
            return self.by_name
        try:
            return self.loaded(services)
        except ComposeError as failure:
            return self._despite(failure, services)

    def _despite(self, failure: ComposeError, services: Iterable[str] = ()) -> "Loaded | str":
        """What is known of a project that cannot be loaded: all but its env files, or its name.

        Raises ``failure`` when neither COMPOSE_PROJECT_NAME nor the rest of the files tells.
        """
        from compose.load.project import load
        from schemas.frozen import replace

        try:
            self._loaded = load(replace(self.request(services), omit=("env-files",)))
            return self._loaded
        except ComposeError:
            name = "" if self.files else self.environment("COMPOSE_PROJECT_NAME")
        if not is_name(name):  # files that somebody names are meant
            raise failure
        if not isinstance(failure, UsageError):
            why = f"pycompose cannot use the files of project '{name}' and uses its records"
            self._warn([f"{why}: {failure.message}"])
        return name

    def variables(self) -> Mapping[str, str]:
        """What variables of the files are replaced with: the caller's, completed by the env files."""
        from compose.load.files import discover
        from compose.load.request import Reader

        return discover(self.request(), Reader()).environment

    def environment(self, name: str) -> str:
        """A variable of the caller, "" when it is not set."""
        return os.environ.get(name, "")

    def require_rights(self) -> None:
        """Raise NotPermitted without CAP_SYS_ADMIN. Source: capabilities(7), proc_pid_status(5)."""
        with open("/proc/self/status", encoding="ascii", errors="replace") as file:
            status = file.read()
        if not may_make_namespaces(status):
            words = " ".join(["sudo pycompose", *sys.argv[1:2]])
            raise NotPermitted("pycompose needs root to make containers", hint=f"try '{words}'")


def _limit() -> int | None:
    from compose.cli.parse import number

    text = os.environ.get("COMPOSE_PARALLEL_LIMIT", "")
    if text and number(text) is None:
        raise UsageError(f"COMPOSE_PARALLEL_LIMIT is '{text}', which is no whole number")
    return number(text) if text else None


def working_directory() -> str:
    """The working directory as the caller sees it: $PWD, links and all, if it is the same directory.

    Source: POSIX pwd -L, getcwd(3).
    """
    path = os.environ.get("PWD", "")
    try:
        if path.startswith("/") and os.path.samestat(os.stat(path), os.stat(".")):
            return path
    except OSError:
        pass
    return os.getcwd()


def may_make_namespaces(status: str) -> bool:
    """Whether /proc/PID/status tells of CAP_SYS_ADMIN (bit 21) among the effective capabilities. Pure."""
    effective = next((line for line in status.splitlines() if line.startswith("CapEff:")), "CapEff: 0")
    return bool(int(effective.split()[1], 16) >> 21 & 1)


def is_name(text: str) -> bool:
    """Whether ``text`` is a legal project name: ``[a-z0-9][a-z0-9_-]*``."""
    letters = frozenset("abcdefghijklmnopqrstuvwxyz0123456789")
    return text[:1] in letters and text != "" and letters.union("_-").issuperset(text)


def unknown_service(name: str, known: Iterable[str]) -> UsageError:
    """The error for a service name that is not in the file, with the nearest that is."""
    from difflib import get_close_matches

    names = sorted(known)
    close = get_close_matches(name, names, n=1)
    hint = (
        f"did you mean '{close[0]}'?" if close else f"services of this project: {', '.join(names) or 'none'}"
    )
    return UsageError(f"no such service: {name}", hint=hint)


def services_for_completion(shared: Mapping[str, Any]) -> list[str]:
    """Service names for the shell; an unreadable file completes to nothing."""
    try:
        values: dict[str, Any] = {n: tuple(v) if isinstance(v, list) else v for n, v in shared.items()}
        return sorted(Scope(**values).identity().known)
    except (ComposeError, OSError):
        return []
