"""Which variables a model mentions, and how: ``config --variables``.

Comes in:  a model whose variables were left alone (``raw``).
Goes out:  name, whether it is required, its default and its alternate value.
Not here:  values of variables (``interpolate``).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from compose.load.interpolate import NAME, OPERATORS, BadSyntax, closing
from schemas.frozen import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Mention:
    """One ``${NAME<operator><operand>}``, the operand as it was written."""

    name: str
    required: bool = False
    default: str = ""
    alternate: str = ""


def mentions(value: Any) -> Iterator[Mention]:
    """Every variable in the texts of ``value``, in their order; malformed ones are left out."""
    if isinstance(value, str):
        yield from _in_text(value)
    elif isinstance(value, Mapping):
        for one in value.values():
            yield from mentions(one)
    elif isinstance(value, list):
        for one in value:
            yield from mentions(one)


def _in_text(text: str) -> Iterator[Mention]:
    index = 0
    while (dollar := text.find("$", index)) != -1:
        follower = text[dollar + 1 : dollar + 2]
        index = dollar + 2
        if follower == "{":
            try:
                end = closing(text, dollar + 1)
            except BadSyntax:
                return
            yield from _braced(text[dollar + 2 : end])
            index = end + 1
        elif match := NAME.match(text, dollar + 1):
            yield Mention(name=match[0])
            index = match.end()


def _braced(inside: str) -> Iterator[Mention]:
    match = NAME.match(inside)
    if match is None:
        return
    rest = inside[match.end() :]
    operator = next((one for one in OPERATORS if rest.startswith(one)), "")
    operand = rest[len(operator) :]
    yield Mention(
        name=match[0],
        required="?" in operator,
        default=operand if "-" in operator else "",
        alternate=operand if "+" in operator else "",
    )
    yield from _in_text(operand)
