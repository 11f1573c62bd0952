"""Lay out what verbs list: aligned columns, JSON, and the small part of Go templates people use.

Comes in:  rows of texts, or mappings of names to values.
Goes out:  texts for standard output. Pure.
Source: docker compose 2.40's output; Go text/tabwriter for the widths.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from compose.cli.harmless import in_json, marked
from compose.errors import UsageError


def table(rows: Sequence[Sequence[str]], *, least: int = 10, gap: int = 3) -> str:
    """Columns as wide as their longest cell plus ``gap``, at least ``least``; the last one is not padded."""
    rows = [[marked(cell) for cell in row] for row in rows]
    widths = [max(least, gap + max(len(cell) for cell in column)) for column in zip(*rows, strict=True)]
    lines = [
        "".join(cell.ljust(width) for cell, width in zip(row[:-1], widths, strict=False)) + row[-1]
        for row in rows
    ]
    return "\n".join(lines) + "\n"


def as_json(value: Any) -> str:
    """One line of JSON without spaces, as Go's encoder writes it."""
    return in_json(json.dumps(value, separators=(",", ":"), ensure_ascii=False)) + "\n"


def templated(form: str, rows: Sequence[Mapping[str, Any]], headings: Mapping[str, str]) -> str:
    """Every row through the template ``form``; ``table ...`` puts headings on top and aligns the columns."""
    with_headings = form == "table" or form.startswith("table ")
    form = form.removeprefix("table").lstrip() if with_headings else form
    pieces = parse_template(form.replace("\\t", "\t").replace("\\n", "\n"))
    lines = [render(pieces, row) for row in rows]
    if not with_headings:
        return "".join(line + "\n" for line in lines)
    lines.insert(0, render(pieces, headings))
    return table([line.split("\t") for line in lines])


Piece = tuple[str, str]


def parse_template(form: str) -> list[Piece]:
    """Split a template into ("text", ...), ("field", name), ("json", name or ""), ("label", key)."""
    pieces: list[Piece] = []
    rest = form
    while rest:
        text, opened, after = rest.partition("{{")
        if text:
            pieces.append(("text", text))
        if not opened:
            break
        action, closed, rest = after.partition("}}")
        if not closed:
            raise UsageError(f"template parsing error: unclosed action in '{form}'")
        pieces.append(_action(action.strip()))
    return pieces


def _action(action: str) -> Piece:
    words = action.split()
    match words:
        case [field] if field.startswith("."):
            return ("json", "") if field == "." else ("field", field[1:])
        case ["json", field] if field.startswith("."):
            return ("json", field[1:])
        case [".Label", key]:
            return ("label", key.strip("\"'`"))
    raise UsageError(
        f"template action '{{{{{action}}}}}' is not supported",
        hint='use {{.Field}}, {{json .}}, {{json .Field}} or {{.Label "key"}}',
    )


def render(pieces: Sequence[Piece], row: Mapping[str, Any]) -> str:
    """One row through parsed pieces. Raises UsageError for a field the row does not have."""
    out = []
    for kind, word in pieces:
        if kind == "text":
            out.append(word)
        elif kind == "label":
            labels = dict(item.partition("=")[::2] for item in str(row.get("Labels", "")).split(","))
            out.append(marked(labels.get(word, "")))
        elif kind == "json" and not word:
            out.append(as_json(dict(row)).rstrip("\n"))
        else:
            if word not in row:
                fields = ", ".join(sorted(row))
                raise UsageError(f"template: no field '{word}'", hint=f"fields are {fields}")
            value = row[word]
            plain = isinstance(value, str | int) and kind == "field"
            out.append(marked(str(value)) if plain else as_json(value).rstrip("\n"))
    return "".join(out)
