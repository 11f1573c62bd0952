"""The functions of Go's text/template and docker's own, and how values print.

Comes in:  values. Goes out:  values. Pure.
Source: pkg.go.dev/text/template, "Functions"; docker/cli templates/templates.go.
"""

import json
from collections.abc import Callable, Mapping
from typing import Any

from compose.cli.harmless import in_json


def truth(value: Any) -> bool:
    """Go's truth: false, 0, nil and what is empty are false."""
    return bool(value)


def shown(value: Any) -> str:
    """As fmt.Print writes it."""
    if value is None:
        return "<no value>"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, list | tuple | Mapping):
        return to_json(value)
    return str(value)


def to_json(value: Any) -> str:
    """Compact JSON, as Go's encoder writes it."""
    return in_json(json.dumps(value, separators=(",", ":"), ensure_ascii=False))


def formatted(form: str, *values: Any) -> str:
    """fmt.Sprintf for the verbs s, d, v, q, t, x, f with flags and widths."""
    out, rest, left = [], form, list(values)
    while rest:
        text, mark, rest = rest.partition("%")
        out.append(text)
        if not mark:
            break
        if rest.startswith("%"):
            out.append("%")
            rest = rest[1:]
            continue
        size = next((n for n, letter in enumerate(rest) if letter.isalpha()), len(rest) - 1)
        flags, verb, rest = rest[:size], rest[size : size + 1], rest[size + 1 :]
        if not left:
            out.append(f"%!{verb}(MISSING)")
            continue
        out.append(_one(flags, verb, left.pop(0)))
    return "".join(out)


def _one(flags: str, verb: str, value: Any) -> str:
    if verb in ("d", "x", "f", "e", "g") and isinstance(value, int | float):
        return f"%{flags}{verb}" % value
    text = json.dumps(value, ensure_ascii=False) if verb == "q" else shown(value)
    return f"%{flags}s" % text


def index(value: Any, *keys: Any) -> Any:
    """``index x 1 2`` is x[1][2]; a key that a map lacks gives its zero value."""
    for key in keys:
        value = value.get(key, "") if isinstance(value, Mapping) else value[key]
    return value


def part(value: Any, *ends: int) -> Any:
    """``slice x 1 2`` is x[1:2]."""
    return value[slice(*ends)] if len(ends) > 1 else value[(ends[0] if ends else 0) :]


def equal(value: Any, *others: Any) -> bool:
    """Whether ``value`` equals one of ``others``."""
    if not others:
        raise TypeError("missing argument for comparison")
    return any(value == other for other in others)


def pad(text: str, before: int, after: int) -> str:
    """Blanks on both sides; nothing for nothing."""
    return " " * before + text + " " * after if text else ""


def labels(row: Mapping[str, Any]) -> dict[str, str]:
    """The labels of a row, by name."""
    return {key: value for key, _, value in (t.partition("=") for t in str(row.get("Labels", "")).split(","))}


def label(row: Mapping[str, Any], key: str) -> str:
    """``.Label "name"``."""
    return labels(row).get(key, "")


def all_of(*values: Any) -> Any:
    """``and``: the first false value, or the last."""
    return next((value for value in values if not truth(value)), values[-1])


def any_of(*values: Any) -> Any:
    """``or``: the first true value, or the last."""
    return next((value for value in values if truth(value)), values[-1])


METHODS: dict[str, Callable[..., Any]] = {"Label": label}
FUNCTIONS: dict[str, Callable[..., Any]] = {
    "and": all_of,
    "or": any_of,
    "not": lambda value: not truth(value),
    "len": len,
    "index": index,
    "slice": part,
    "print": lambda *values: "".join(map(shown, values)),
    "println": lambda *values: " ".join(map(shown, values)) + "\n",
    "printf": formatted,
    "eq": equal,
    "ne": lambda one, other: one != other,
    "lt": lambda one, other: one < other,
    "le": lambda one, other: one <= other,
    "gt": lambda one, other: one > other,
    "ge": lambda one, other: one >= other,
    "json": to_json,
    "split": lambda text, by: text.split(by),
    "join": lambda texts, by: by.join(map(shown, texts)),
    "title": lambda text: " ".join(word[:1].upper() + word[1:] for word in text.split(" ")),
    "lower": lambda text: text.lower(),
    "upper": lambda text: text.upper(),
    "pad": pad,
    "truncate": lambda text, size: text[:size],
}
