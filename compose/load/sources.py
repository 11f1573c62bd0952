"""Who gave a variable its value, in words for an error or an explanation.

Comes in:  the Scopes of a load, and the caller's environment.
Goes out:  ``.env:3``, ``the shell``; or one sentence about all variables in the text at a place.
Not here:  values: they may be secret.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from compose.errors import ComposeError, Several, Where
from compose.load.interpolate import MissingVariable, Scope
from compose.load.variables import mentions

UNSET = "nowhere: it is not set"


def source(name: str, scope: Scope, caller: Mapping[str, str]) -> str:
    """Where the value of variable ``name`` comes from."""
    if name in caller:
        return "the shell"
    if name in scope.where:
        return str(scope.where[name])
    return "the project" if scope.environment.get(name) is not None else UNSET


def variables(
    where: Where | None, scopes: Iterable[Scope], caller: Mapping[str, str]
) -> tuple[tuple[str, str], ...]:
    """(name, source) of every variable in the text at ``where``."""
    for scope in scopes:
        if where is not None and where in scope.texts:
            names = dict.fromkeys(one.name for one in mentions(scope.texts[where]))
            return tuple((name, source(name, scope, caller)) for name in names)
    return ()


def sentence(found: Iterable[tuple[str, str]]) -> str:
    """``PORT is from .env:3, TAG is from the shell``, or ""."""
    return ", ".join(
        f"{name} is not set" if origin == UNSET else f"{name} is from {origin}" for name, origin in found
    )


def add(error: ComposeError, text: str) -> None:
    """Put ``text`` behind the hint of ``error``."""
    error.hint = f"{error.hint}; {text}" if error.hint and text else error.hint or text


def explained(error: ComposeError, scopes: Iterable[Scope], caller: Mapping[str, str]) -> ComposeError:
    """``error`` with hints that name the origin of the variables in what it is about."""
    scopes = list(scopes)
    for one in error.errors if isinstance(error, Several) else (error,):
        if not isinstance(one, MissingVariable):
            add(one, sentence(variables(one.where, scopes, caller)))
    return error
