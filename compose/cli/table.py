"""Lay out what verbs list: aligned columns, JSON, templates.

Comes in:  rows of texts, or mappings of names to values.
Goes out:  texts for standard output. Pure.
Source: docker compose 2.40's output; Go text/tabwriter for the widths.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from compose.cli.harmless import in_json, marked


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
    from compose.cli.templates import Template

    with_headings = form == "table" or form.startswith("table ")
    form = form.removeprefix("table").lstrip() if with_headings else form
    template = Template(form.replace("\\t", "\t").replace("\\n", "\n"))
    lines = [template.render(row) for row in rows]
    if not with_headings:
        return "".join(line + "\n" for line in lines)
    lines.insert(0, template.render(headings))
    return table([line.split("\t") for line in lines])
