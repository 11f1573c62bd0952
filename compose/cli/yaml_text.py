"""Write JSON-able data as YAML that every YAML reader takes back unchanged. Pure.

Comes in:  mappings, lists, texts, numbers, booleans, None.
Goes out:  block style with two spaces, sequences indented; a text stands plain only where no reader of
           YAML 1.1 or 1.2 could take it for something else, otherwise in double quotes.
Why not PyYAML: its import costs 50 ms and its dumper two thirds of a ``config`` of fifty services.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any

_FIRST = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ/_$")
_REST = _FIRST | frozenset("0123456789.-:+=@,()*%~;<>^|&?!'\"{}[]\\ ")
_WORDS = frozenset(["true", "false", "yes", "no", "on", "off", "y", "n", "null", "~", "nan", "inf"])


def dump(value: Any) -> str:
    """``value`` as a YAML document."""
    return "".join(line + "\n" for line in _lines(value, ""))


def _lines(value: Any, indent: str) -> Iterator[str]:
    if isinstance(value, Mapping) and value:
        for key, item in value.items():
            yield from _entry(f"{indent}{text(str(key))}:", item, indent + "  ")
    elif isinstance(value, list | tuple) and value:
        for item in value:
            yield from _item(item, indent)
    else:
        yield indent + scalar(value)


def _entry(head: str, item: Any, deeper: str) -> Iterator[str]:
    if isinstance(item, Mapping | list | tuple) and item:
        yield head
        yield from _lines(item, deeper)
    else:
        yield f"{head} {scalar(item)}"


def _item(item: Any, indent: str) -> Iterator[str]:
    """A list entry: the first line of what it holds stands behind the dash."""
    lines = _lines(item, indent + "  ")
    yield f"{indent}- {next(lines)[len(indent) + 2 :]}"
    yield from lines


def scalar(value: Any) -> str:
    """Anything without parts."""
    if isinstance(value, str):
        return text(value)
    if isinstance(value, Mapping):
        return "{}"
    if isinstance(value, list | tuple):
        return "[]"
    if isinstance(value, float):
        mantissa, sign, exponent = repr(value).partition("e")
        return mantissa + (".0" if sign and "." not in mantissa else "") + sign + exponent
    return json.dumps(value)


def text(value: str) -> str:
    """A text, plain when that is safe."""
    plain = value[:1] in _FIRST and value != "" and _REST.issuperset(value)
    if plain and value.lower() not in _WORDS and not value.endswith((" ", ":")) and ": " not in value:
        return value
    return '"' + "".join(map(_escaped, value)) + '"'


def _escaped(letter: str) -> str:
    """A letter between double quotes. Source: YAML 1.2, 5.7 escaped characters."""
    if letter in '"\\':
        return "\\" + letter
    if letter.isprintable():
        return letter
    number = ord(letter)
    known = {9: "\\t", 10: "\\n", 13: "\\r"}.get(number)
    return known or (
        f"\\x{number:02x}" if number < 256 else f"\\u{number:04x}" if number < 65536 else f"\\U{number:08x}"
    )
