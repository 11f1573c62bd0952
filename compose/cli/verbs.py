"""The list of verbs: one module each, imported when its verb is called.

Comes in:  the name of a verb.
Goes out:  its function, its parameters, whether options may stand behind its words.
"""

from collections.abc import Callable
from importlib import import_module

from compose.cli.options import DryRun, Parameter, parameters

# in the order of help
VERBS = (
    "attach",
    "build",
    "builder",
    "commit",
    "config",
    "cp",
    "create",
    "df",
    "dns",
    "down",
    "events",
    "exec",
    "explain",
    "export",
    "graph",
    "image",
    "images",
    "import",
    "kill",
    "load",
    "login",
    "logout",
    "logs",
    "ls",
    "net",
    "pause",
    "port",
    "ps",
    "pull",
    "push",
    "restart",
    "rm",
    "rmi",
    "run",
    "save",
    "scale",
    "schema",
    "start",
    "stats",
    "stop",
    "top",
    "unpause",
    "up",
    "version",
    "volumes",
    "wait",
    "watch",
)
ALIASES = {"convert": "config"}


def _dry_run(*, dry_run: DryRun = False) -> None:
    """Every verb takes ``--dry-run``, before and behind its name, as docker compose's do."""


class Verb:
    """A verb with what its module declares.

    run:          called with the scope and a value for every parameter but ``dry_run``; gives the exit code.
    interspersed: options may follow the first word; in ``exec`` and ``run`` what follows is a command.
    """

    __slots__ = ("interspersed", "name", "parameters", "run")

    def __init__(self, name: str, run: Callable[..., int], *, interspersed: bool) -> None:
        self.name = name
        self.run = run
        self.interspersed = interspersed
        self.parameters: tuple[Parameter, ...] = (*parameters(run), *parameters(_dry_run))


def verb(name: str) -> Verb | None:
    """The verb of that name, or None; imports its module and nothing else."""
    name = ALIASES.get(name, name)
    if name not in VERBS:
        return None
    module = import_module(f"compose.cli.{name}")
    return Verb(name, module.run, interspersed=getattr(module, "INTERSPERSED", True))
