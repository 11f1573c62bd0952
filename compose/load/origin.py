"""Where a value comes from: each place that gave it, what the last one overrode, the variables in it.

Comes in:  a LoadRequest and a path such as ``services.web.environment.DB_URL``.
Goes out:  an Explanation for every value at or below that path.
Not here:  printing (``compose.cli.explain``). Values of secrets are masked here already.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from typing import Any

from compose.errors import ComposeError, UsageError, Where
from compose.load import resolve, sources
from compose.load.canonical import EXTRA
from compose.load.files import LoadRequest, Reader
from compose.load.merge import REPLACED, identity
from compose.load.notes import Notes
from compose.load.tree import Map, Override, Reset, Seq, dotted, place, plain
from schemas.frozen import dataclass, replace

Path = tuple[str | int, ...]
MASK = "***"


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One place that says something about the value.

    text:      what stands there, before variables were replaced; None for a ``!reset``.
    variables: (name, where its value comes from) of every variable in ``text``.
    """

    where: str
    text: Any
    place: Where | None = None
    variables: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """The final value of ``path`` and the steps that led to it, the winner last; none for a default."""

    path: str
    value: Any
    steps: tuple[Step, ...] = ()


def explain(request: LoadRequest, path: str) -> tuple[Explanation, ...]:
    """Explain every value at or below ``path``, also of a service whose profiles are not active.

    Raises UsageError for a path that neither the model nor any file has.
    """
    model, notes = resolve.model(request, Reader())
    asleep = next((name for name in model[EXTRA]["disabled"] if _begins(path, f"services.{name}")), "")
    if asleep:
        model, notes = resolve.model(replace(request, services=(*request.services, asleep)), Reader())
    shown = {key: value for key, value in model.items() if key != EXTRA}
    secret = {value for (section, _), value in notes.values.items() if section == "secrets" and value}
    try:
        steps = _parse(shown, path)
    except UsageError:
        # what a '!reset' took away is in no model
        gone = tuple(int(word) if word.isdigit() else word for word in re.findall(r"[^.\[\]]+", path))
        told = tuple(_masked_step(one, secret, gone) for one in _steps(notes, request, gone, shown))
        if not told:
            raise
        return (Explanation(path=path, value=None, steps=told),)
    return tuple(
        Explanation(
            path=dotted(leaf),
            value=_masked(value, secret, leaf),
            steps=tuple(_masked_step(one, secret, leaf) for one in _steps(notes, request, leaf, shown)),
        )
        for leaf, value in _leaves(_at(shown, steps), steps)
    )


def _begins(path: str, start: str) -> bool:
    return path == start or path.startswith((f"{start}.", f"{start}["))


def locate(request: LoadRequest, path: str) -> Step | None:
    """The step that gave ``path`` its value, for errors after the load; None where nothing tells."""
    try:
        return next((one.steps[-1] for one in explain(request, path) if one.steps), None)
    except (ComposeError, OSError):
        return None


def _parse(model: Any, text: str) -> Path:
    """``text`` as steps into ``model``; names may hold dots, the longest that fits is taken."""
    steps: list[str | int] = []
    rest = text
    while rest:
        if isinstance(model, Mapping):
            fitting = [k for k in model if rest == k or rest.startswith((f"{k}.", f"{k}["))]
            if not fitting:
                raise _no_such(dotted(steps), rest, list(model))
            steps.append(max(fitting, key=len))
            rest = rest[len(str(steps[-1])) :].removeprefix(".")
        else:
            match = re.match(r"\[(\d+)\]\.?", rest)
            if match is None or not isinstance(model, list) or int(match[1]) >= len(model):
                raise _no_such(dotted(steps), rest, [f"[{n}]" for n in range(len(model or ()))])
            steps.append(int(match[1]))
            rest = rest[match.end() :]
        model = model[steps[-1]]
    return tuple(steps)


def _no_such(before: str, rest: str, known: Sequence[str]) -> UsageError:
    close = get_close_matches(rest.split(".")[0], known, n=1)
    hint = f"did you mean '{close[0]}'?" if close else "there is: " + (", ".join(known) or "nothing below it")
    return UsageError(f"the model has no '{rest}'" + (f" in '{before}'" if before else ""), hint=hint)


def _at(model: Any, path: Path) -> Any:
    for step in path:
        model = model[step]
    return model


def _leaves(value: Any, path: Path) -> Iterator[tuple[Path, Any]]:
    if isinstance(value, Mapping | list) and value:
        entries = value.items() if isinstance(value, Mapping) else enumerate(value)
        for key, entry in entries:
            yield from _leaves(entry, (*path, key))
    else:
        yield path, value


def _steps(notes: Notes, request: LoadRequest, path: Path, model: Mapping[str, Any]) -> Iterator[Step]:
    for known, at, text in notes.from_files:
        if known == path:
            yield Step(where=str(at), text=text, place=at)
    seen: set[Where] = set()
    for layer in notes.layers:
        found, where = _find(layer, path, model)
        if where is not None and where not in seen:
            seen.add(where)
            yield _step(notes, request, path, (found, _inside(model, path)), where)


def _find(layer: Map, path: Path, model: Mapping[str, Any]) -> tuple[Any, Where | None]:
    """What ``layer`` says about ``path``, and where.

    An entry of a list is the one that merging takes for the same; one of a list that is replaced as a whole,
    such as a command, is found by its number.
    """
    tree: Any = layer
    for number, step in enumerate(path):
        tree = tree.value if isinstance(tree, Override) else tree
        if isinstance(tree, Seq) and isinstance(step, int):
            index = _entry(tree, step, str(path[number - 1]), _inside(model, path[: number + 1]))
            if index is None:
                return None, None
            item, where = tree[index], tree.at[index]
            rest = path[number + 1 :]
            found = _inside(item, rest)
            return (
                (None, None) if found is None else (found, place(item, rest) or where or place(layer, path))
            )
        if not isinstance(tree, Map) or step not in tree:
            return None, None
        tree = tree[str(step)]
    return tree, place(layer, path)


def _entry(items: Seq, number: int, attribute: str, wanted: Any) -> int | None:
    """The index in ``items`` of what became entry ``number`` of the model."""
    if attribute in REPLACED:
        return number if number < len(items) else None
    same = (
        index for index, item in enumerate(items) if identity(attribute, item) == identity(attribute, wanted)
    )
    return next(same, None)


def _inside(item: Any, path: Path) -> Any:
    for step in path:
        item = item.value if isinstance(item, Override) else item
        try:
            item = item[step]
        except (KeyError, IndexError, TypeError):
            return None
    return item


def _step(notes: Notes, request: LoadRequest, path: Path, values: tuple[Any, Any], where: Where) -> Step:
    """values: what stands at ``where``, and what became of it in the end."""
    for scope in notes.scopes:
        if where in scope.texts:
            told = sources.variables(where, [scope], request.environment)
            return Step(where=str(where), text=scope.texts[where], place=where, variables=told)
    if values[0] is None and len(path) > 2 and path[-2] in ("environment", "args"):
        return _inherited(notes, request, str(path[-1]), values[1], where)
    text = None if isinstance(values[0], Reset) else plain(values[0])
    return Step(where=str(where), text=text, place=where)


def _inherited(notes: Notes, request: LoadRequest, name: str, value: Any, where: Where) -> Step:
    """A name without value: an included project takes it from its own env file."""
    fitting = (scope for scope in notes.scopes if scope.environment.get(name) == value)
    scope = next(fitting, notes.scopes[0])
    told = ((name, sources.source(name, scope, request.environment)),)
    return Step(where=str(where), text="", place=where, variables=told)


def _masked_step(step: Step, secret: set[str], path: Path) -> Step:
    return replace(step, text=_masked(step.text, secret, path))


def _masked(value: Any, secret: set[str], path: Path) -> Any:
    """``value`` without any value of a secret."""
    if path[:1] == ("secrets",) and path[-1] == "content":
        return MASK
    if isinstance(value, str):
        for one in secret:
            value = value.replace(one, MASK)
    return value
