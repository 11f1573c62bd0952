"""Holding a file against the schema, and saying what is wrong in our own sentences.

Comes in:  the tree of one file (or the merged tree), after interpolation.
Goes out:  errors with file, line, column, path and the nearest known key; what is merely missing apart,
           because another file may still bring it.
Not here:  the schema (``schemas``); references between sections (``check``).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from difflib import get_close_matches
from functools import cache
from typing import Any, NamedTuple

import jsonschema_rs

import schemas
from compose.errors import ComposeError, FileInvalid
from compose.load.cast import shortened
from compose.load.tree import Map, Override, Seq, dotted, gone, place, plain

_KINDS = {
    "string": "text", "number": "a number", "integer": "a whole number", "boolean": "true or false",
    "object": "a mapping", "array": "a list", "null": "empty",
}  # fmt: skip
_PATTERNS = {
    "container_name": "is not a container name: two or more letters, digits, '_', '.' or '-'",
    "pull_policy": "is not one of always, never, missing, build, daily, weekly, every_<duration>",
}
_ONCE = frozenset({  # lists in which the same entry twice counts once, as after merging
    "additional_contexts", "aliases", "annotations", "args", "cap_add", "cap_drop", "configs", "devices",
    "dns", "dns_opt", "dns_search", "env_file", "environment", "expose", "labels", "link_local_ips", "links",
    "ports", "profiles", "secrets", "sysctls", "tags", "tmpfs", "volumes",
})  # fmt: skip
Path = Sequence[str | int]


class Finding(NamedTuple):
    """One error and the path it makes useless."""

    path: tuple[str | int, ...]
    error: ComposeError


@cache
def _schemas() -> dict[str, Any]:
    bundle = schemas.bundle()
    return {"": bundle, f"{schemas.ROOT}.json": bundle} | {
        f"{name}.json": schema for name, schema in bundle["$defs"].items()
    }


@cache
def _validator() -> Any:
    return jsonschema_rs.Draft202012Validator(_schemas()[""])


def validate(tree: Map) -> tuple[list[Finding], list[Finding]]:
    """(what is wrong, what is missing) in ``tree``; both empty for a valid file. O(size)."""
    wrong: list[Finding] = []
    missing: list[Finding] = []
    for error in _leaves(_validator().iter_errors(plain(tree))):
        if error.kind.name == "uniqueItems" and list(error.instance_path)[-1] in _ONCE:
            continue
        later = error.kind.name == "required" or _is_null(error)
        into = missing if later else wrong
        into += _explain(error, tree)
    return wrong, missing


def _is_null(error: Any) -> bool:
    """Whether a service or an attribute is empty: laid over another file it changes nothing."""
    path = list(error.instance_path)
    deep = len(path) > 2 or (len(path) == 2 and path[0] == "services")
    return deep and error.instance is None and error.kind.name in ("type", "anyOf")


def _leaves(errors: Any) -> Iterator[Any]:
    """Errors with every ``anyOf`` replaced by those of the alternative that was meant."""
    for error in errors:
        if error.kind.name != "anyOf":
            yield error
            continue
        meant = [b for b in error.kind.context if not any(_is_other_type(e, error) for e in b)]
        if meant:
            yield from _leaves(min(meant, key=len))
        else:
            yield error


def _is_other_type(inner: Any, outer: Any) -> bool:
    """Whether ``inner`` only says that the whole value has another type."""
    if list(inner.instance_path) != list(outer.instance_path):
        return False
    if inner.kind.name == "anyOf":
        return all(any(_is_other_type(e, inner) for e in branch) for branch in inner.kind.context)
    return bool(inner.kind.name == "type")


def _explain(error: Any, tree: Map) -> list[Finding]:
    path = _real(tree, error.instance_path)
    kind = error.kind.name
    if kind in ("additionalProperties", "unevaluatedProperties"):
        return [Finding((*path, k), _unknown(k, path, error, tree)) for k in error.kind.unexpected]
    message, hint = _sentence(kind, error, path)
    where = place(tree, path)
    return [Finding(tuple(path), FileInvalid(message, hint=hint, where=where, path=dotted(path)))]


def _real(tree: Any, path: Sequence[str | int]) -> list[str | int]:
    """``path`` in ``tree``, where items of lists that are reset count as well."""
    steps: list[str | int] = []
    for step in path:
        key: Any = step
        tree = tree.value if isinstance(tree, Override) else tree
        if isinstance(tree, Seq) and isinstance(step, int):
            key = [number for number, item in enumerate(tree) if not gone(item)][step]
        steps.append(key)
        tree = tree[key] if isinstance(tree, Map | Seq) else None
    return steps


def _sentence(kind: str, error: Any, path: Path) -> tuple[str, str]:
    name, value = _name(path), error.instance
    if kind in ("type", "anyOf"):
        wanted = _wanted(error)
        words = "a single value" if len(wanted) > 3 else " or ".join(_KINDS[one] for one in wanted)
        hint = "quote it" if "string" in wanted and isinstance(value, int | float) else ""
        if value is None and wanted != ["null"]:
            return f"{name} is empty; it has to be {words}", hint
        return f"{name} has to be {words}, not {_shape(value)}", hint
    if kind == "required":
        return f"{name} lacks '{error.kind.property}'", ""
    if kind == "enum":
        options = [str(one) for one in error.kind.options]
        close = get_close_matches(str(value), options, n=1)
        hint = f"did you mean '{close[0]}'?" if close else ""
        return f"{name} is '{value}', not one of {', '.join(options)}", hint
    if kind == "pattern":
        return f"'{value}' {_PATTERNS.get(str(path[-1]), 'has not the form that is wanted here')}", ""
    if kind == "uniqueItems":
        return f"{name} has the same entry twice", "remove one of them"
    if kind in ("minimum", "maximum"):
        word = "smaller" if kind == "minimum" else "larger"
        return f"{name} is {value}, {word} than {getattr(error.kind, 'limit', 'allowed')}", ""
    return f"{name}: {error.message}", ""


def _name(path: Path) -> str:
    """The attribute as a person calls it: ``'ports[0]'``."""
    if not path:
        return "the file"
    if len(path) == 2:
        return f"'{dotted(path)}'"
    start = len(path) - 1
    while start > 0 and isinstance(path[start], int):
        start -= 1
    return f"'{dotted(path[start:])}'"


def _wanted(error: Any) -> list[str]:
    """The types that would do; text that stands for a number or a boolean goes without saying."""
    types = set(_types(error))
    if types & {"number", "integer", "boolean"} and types <= {"string", "number", "integer", "boolean"}:
        types -= {"string"}
    return sorted(types, key=list(_KINDS).index)


def _types(error: Any) -> Iterator[str]:
    if error.kind.name == "type":
        yield from error.kind.types
    elif error.kind.name == "anyOf":
        for branch in error.kind.context:
            for inner in branch:
                yield from _types(inner)


def _shape(value: Any) -> str:
    if isinstance(value, bool):
        return f"the boolean {str(value).lower()}"
    if isinstance(value, int | float):
        return f"the number {value}"
    if isinstance(value, str):
        return f"the text '{value}'" if len(value) < 40 else "text"
    return "a mapping" if isinstance(value, dict) else "a list"


def _unknown(key: str, path: list[str | int], error: Any, tree: Map) -> ComposeError:
    """An attribute that nobody knows, with the nearest one that is known."""
    where, full = place(tree, [*path, key]), [*path, shortened(key)]
    if len(path) == 1 and path[0] in ("services", "volumes", "configs", "secrets"):
        hint = "use letters, digits, '.', '_' and '-'"
        return FileInvalid(
            f"'{shortened(key)}' is not a name for an entry of '{path[0]}'",
            hint=hint,
            where=where,
            path=dotted(full),
        )
    known = _known(error)
    close = get_close_matches(key[:60], known, n=1)
    hint = f"did you mean '{close[0]}'?" if close else ""
    if not close and len(known) in range(1, 9):
        hint = f"known here: {', '.join(known)}"
    if not path and key not in ("services",) and isinstance(tree.get(key), Map) and "image" in tree[key]:
        hint = hint or f"services stand under 'services:': indent '{key}' below it"
    place_ = f" in {_name(path)}" if path else " at the top level"
    return FileInvalid(
        f"unknown attribute '{shortened(key)}'{place_}", hint=hint, where=where, path=dotted(full)
    )


def _known(error: Any) -> list[str]:
    """The attributes that the failing part of the schema knows."""
    schemas_ = _schemas()
    file, schema = schemas_[""], schemas_[""]
    for step in list(error.evaluation_path)[:-1]:
        if step == "$ref":
            name, _, pointer = schema["$ref"].partition("#")
            file = schemas_[name] if name else file
            schema = file
            for part in pointer.split("/")[1:]:
                schema = schema[part]
        else:
            schema = schema[step]
    return list(schema.get("properties", ()))
