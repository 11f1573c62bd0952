"""The same command line by typer: help, completion, and a clear word about every mistake.

Comes in:  the words after ``pycompose`` that ``parse`` did not take.
Goes out:  the same Invocation that ``parse`` gives; help and completion scripts are printed here.
Not here:  what verbs declare (``options``), running them (``compose.cli``).
"""

import inspect
from collections.abc import Sequence
from difflib import get_close_matches
from typing import Annotated, Any

import typer

from compose.cli.options import REQUIRED, Argument, Option, Parameter, parameters
from compose.cli.parse import Invocation, NotPlain, split
from compose.cli.scope import Scope, services_for_completion
from compose.cli.verbs import VERBS, Verb, verb
from compose.errors import UsageError

_TYPES: dict[str, Any] = {
    "flag": bool,
    "text": str | None,
    "number": int | None,
    "texts": list[str],
    "word": str,
    "words": list[str],
}
# typer ships its own click or uses the public one: its root error is the same class for both
_CLICK_ERROR: type[Exception] = typer.BadParameter.__mro__[2]


def _complete_services(context: typer.Context, incomplete: str) -> list[str]:
    root = context.find_root().params
    return [name for name in services_for_completion(root) if name.startswith(incomplete)]


def _typed(parameter: Parameter) -> tuple[Any, Any]:
    """The annotation and default by which typer knows ``parameter``."""
    mark, required = parameter.mark, parameter.default is REQUIRED
    default: Any = inspect.Parameter.empty if required else parameter.default
    if isinstance(mark, Argument):
        info = typer.Argument(
            metavar=mark.metavar.strip("[]").split()[0].rstrip("."),
            autocompletion=_complete_services if mark.complete else None,
            show_default=False,
            hidden=True,
        )
        default = inspect.Parameter.empty if mark.at_least else default
    else:
        info = typer.Option(
            *mark.names,
            help=_help(mark),
            metavar=mark.metavar or None,
            hidden=mark.hidden,
            show_default=False,
        )
    if isinstance(default, tuple):
        default = list(default)
    return Annotated[_TYPES[parameter.kind], info], default


def _help(mark: Option) -> str:
    return f"{mark.help} ({'|'.join(mark.choices)})" if mark.choices else mark.help


def _command(name: str, found: Sequence[Parameter], call: Any, about: str | None) -> Any:
    """A function that typer can inspect: a keyword for each of ``found``, handed on to ``call``."""

    def command(context: typer.Context, **given: Any) -> None:
        call(context, {p.name: _plain(p, given[p.name]) for p in found})

    shown = [inspect.Parameter("context", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=typer.Context)]
    for parameter in found:
        annotation, default = _typed(parameter)
        shown.append(
            inspect.Parameter(
                parameter.name, inspect.Parameter.KEYWORD_ONLY, annotation=annotation, default=default
            )
        )
    command.__signature__ = inspect.Signature(shown)  # type: ignore[attr-defined]
    command.__annotations__ = {item.name: item.annotation for item in shown}
    command.__name__ = name
    command.__doc__ = about
    return command


def _plain(parameter: Parameter, value: Any) -> Any:
    mark = parameter.mark
    if isinstance(mark, Option) and mark.choices and value != parameter.default and value not in mark.choices:
        allowed = ", ".join(mark.choices)
        raise UsageError(f"invalid value '{value}' for {mark.names[-1]}", hint=f"one of {allowed}")
    if isinstance(mark, Argument) and mark.at_least and len(value) < mark.at_least:
        raise UsageError(f"requires at least {mark.at_least} {mark.metavar} words")
    return tuple(value) if parameter.kind in ("texts", "words") else value


def build(found: Sequence[Verb], results: list[Invocation]) -> typer.Typer:
    """A typer application over ``found``; what it reads is appended to ``results`` and not run."""
    app = typer.Typer(
        name="pycompose",
        add_completion=True,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    shared = parameters(Scope.__init__)

    def remember(context: typer.Context, values: dict[str, Any]) -> None:
        context.obj = values

    app.callback()(_command("pycompose", shared, remember, "Run a docker-compose.yml with no Docker"))
    for item in found:
        _register(app, item, results)
    return app


def _register(app: typer.Typer, item: Verb, results: list[Invocation]) -> None:
    def call(context: typer.Context, values: dict[str, Any]) -> None:
        results.append(Invocation(dict(context.obj), item.name, values))

    settings = {"allow_interspersed_args": item.interspersed}
    app.command(item.name, context_settings=settings)(
        _command(item.name, item.parameters, call, item.run.__doc__)
    )


def read(argv: Sequence[str]) -> Invocation | int:
    """Read ``argv`` by typer. Gives an Invocation, or the exit code when help or completion was the answer.

    Raises UsageError for what does not fit, with a hint.
    """
    results: list[Invocation] = []
    words = list(argv) or ["--help"]
    command = typer.main.get_command(build(_needed(words), results))
    try:
        code = command.main(words, prog_name="pycompose", standalone_mode=False)
    except _CLICK_ERROR as failure:
        raise _usage(failure, words) from None
    if results:
        return results[-1]
    return code if isinstance(code, int) else 0


def _needed(words: Sequence[str]) -> list[Verb]:
    """The one verb that ``words`` name, as far as that is clear; else all, for help and completion."""
    try:
        named = verb(split(parameters(Scope.__init__), words)[1])
    except NotPlain:
        named = None
    return [named] if named else [item for name in VERBS if (item := verb(name)) is not None]


def _usage(failure: Any, words: Sequence[str]) -> UsageError:
    """Say what typer found wrong in the words of docker compose."""
    context = getattr(failure, "ctx", None)
    path = context.command_path if context is not None else "pycompose"
    hint = f"see '{path} --help'"
    if option := getattr(failure, "option_name", ""):
        close = getattr(failure, "possibilities", None)
        if "requires an argument" in failure.format_message():
            return UsageError(f"flag needs an argument: {option}", hint=hint)
        return UsageError(f"unknown flag: {option}", hint=f"did you mean {close[0]}?" if close else hint)
    message: str = failure.format_message().rstrip(".")
    if message.startswith("No such command"):
        name = message.split("'")[1]
        close = get_close_matches(name, VERBS, n=1)
        return UsageError(f"unknown command: {name}", hint=f"did you mean '{close[0]}'?" if close else hint)
    return UsageError(message[:1].lower() + message[1:], hint=hint)
