"""What a verb may be told, declared once: in the signature of the function that runs it.

Comes in:  a function with parameters ``Annotated[type, Option(...)]`` or ``Annotated[type, Argument(...)]``.
Goes out:  its Parameters, from which both fronts are made: ``parse`` (small, quick) and ``app`` (typer).
Not here:  parsing, help, completion. Nothing heavy may be imported here: every command pays for it.
"""

from collections.abc import Callable, Sequence
from typing import Annotated, Any, Final


class Option:
    """A flag of the command line: ``Option("-a", "--all", help="Show all")``.

    metavar: the word for its value in help, "" for a flag without value. choices: allowed values, or ().
    """

    __slots__ = ("choices", "help", "hidden", "metavar", "names")

    def __init__(
        self, *names: str, help: str, metavar: str = "", hidden: bool = False, choices: tuple[str, ...] = ()
    ) -> None:
        self.names = names
        self.help = help
        self.metavar = metavar
        self.hidden = hidden
        self.choices = choices


class Argument:
    """A word without dash: ``Argument("SERVICE")``; ``at_least`` words are required of a list.

    complete: what completion offers, "services" or "".
    """

    __slots__ = ("at_least", "complete", "metavar")

    def __init__(self, metavar: str, *, at_least: int = 0, complete: str = "") -> None:
        self.metavar = metavar
        self.at_least = at_least
        self.complete = complete


class Parameter:
    """One parameter of a verb.

    kind: "flag" (bool), "text" (str), "number" (int or None), "texts" (repeatable, a tuple),
          "word" (one positional), "words" (the rest of the positionals, a tuple).
    """

    __slots__ = ("default", "kind", "mark", "name")

    def __init__(self, name: str, kind: str, mark: Option | Argument, default: Any) -> None:
        self.name = name
        self.kind = kind
        self.mark = mark
        self.default = default


REQUIRED: Final = object()
Texts = tuple[str, ...]

Services = Annotated[Texts, Argument("[SERVICE...]", complete="services")]
OneService = Annotated[str, Argument("SERVICE", complete="services")]
Timeout = Annotated[
    int | None, Option("-t", "--timeout", metavar="INT", help="Specify a shutdown timeout in seconds")
]
Index = Annotated[
    int | None,
    Option("--index", metavar="INT", help="Index of the container if service has multiple replicas"),
]
RemoveOrphans = Annotated[
    bool,
    Option("--remove-orphans", help="Remove containers for services not defined in the Compose file"),
]
DryRun = Annotated[bool, Option("--dry-run", help="Show what would be done and do nothing")]

_KINDS: Final = {
    bool: "flag",
    str: "text",
    str | None: "text",
    int: "number",
    int | None: "number",
    Texts: "texts",
}
_WORDS: Final = {str: "word", Texts: "words"}


def parameters(run: Callable[..., Any]) -> tuple[Parameter, ...]:
    """Read the annotated parameters of ``run``, in order; the others (the scope) are left to the caller."""
    code = run.__code__
    names = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
    positional = run.__defaults__ or ()
    defaults = dict(
        zip(names[code.co_argcount - len(positional) : code.co_argcount], positional, strict=True)
    )
    defaults.update(run.__kwdefaults__ or {})
    found = []
    for name in names:
        annotation = run.__annotations__.get(name)
        if metadata := getattr(annotation, "__metadata__", None):
            table = _WORDS if isinstance(metadata[0], Argument) else _KINDS
            kind = table[annotation.__origin__]  # type: ignore[union-attr]
            found.append(Parameter(name, kind, metadata[0], defaults.get(name, REQUIRED)))
    return tuple(found)


def options(found: Sequence[Parameter]) -> dict[str, Parameter]:
    """Look-up from every spelling (``-a``, ``--all``) to its parameter."""
    table = {}
    for parameter in found:
        if isinstance(parameter.mark, Option):
            table.update(dict.fromkeys(parameter.mark.names, parameter))
    return table
