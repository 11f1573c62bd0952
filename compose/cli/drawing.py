"""A start order as a picture: SVG, one column per wave, an arrow with its condition per dependency.

Comes in:  an Order.
Goes out:  the text of an SVG file that needs nothing else.
Why not networkx: its layouts want numpy, and columns are known already: they are the waves.
"""

from typing import TYPE_CHECKING
from xml.sax.saxutils import escape

if TYPE_CHECKING:
    from compose.graph import Order

_LETTER, _BOX, _GAP_X, _GAP_Y, _EDGE = 8, 34, 130, 26, 20
_STYLE = """\
  <style>
    rect { fill: #eef3fb; stroke: #33557a; rx: 6px }
    text { font: 13px sans-serif; text-anchor: middle; dominant-baseline: middle; fill: #1b2a3a }
    path { fill: none; stroke: #33557a } .optional { stroke-dasharray: 5 4 }
    .label { font-size: 11px; fill: #556; paint-order: stroke; stroke: #fff; stroke-width: 3px }
  </style>
  <defs><marker id="arrow" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="8" markerHeight="8" orient="auto">
    <path d="M0,0 L8,4 L0,8 z" style="fill: #33557a"/></marker></defs>
"""


def columns(order: "Order") -> list[list[str]]:
    """Waves from left to right; within one, nodes stand near what they wait for (two sweeps). Pure."""
    waves = [list(wave) for wave in order.levels()]
    for _ in range(2):
        row = {name: number for wave in waves for number, name in enumerate(wave)}
        for wave in waves[1:]:
            wave.sort(key=lambda name: _middle([row[edge.dependency] for edge in order.needs(name)]))
            row |= {name: number for number, name in enumerate(wave)}
    return waves


def _middle(rows: list[int]) -> float:
    return sum(rows) / len(rows) if rows else 0.0


def svg(order: "Order", words: dict[str, str]) -> str:
    """The picture. words: how a condition is written on an arrow. Pure."""
    waves = columns(order)
    widths = [max(len(name) for name in wave) * _LETTER + 24 for wave in waves]
    tallest = max((len(wave) for wave in waves), default=0)
    height = max(tallest, 1) * (_BOX + _GAP_Y) + _EDGE
    boxes: dict[str, tuple[int, int, int]] = {}
    left = _EDGE
    for wave, width in zip(waves, widths, strict=True):
        top = (height - len(wave) * (_BOX + _GAP_Y) + _GAP_Y) // 2
        for number, name in enumerate(wave):
            boxes[name] = (left, top + number * (_BOX + _GAP_Y), width)
        left += width + _GAP_X
    total = left - _GAP_X + _EDGE if waves else 2 * _EDGE
    head = f'<svg xmlns="http://www.w3.org/2000/svg" width="{total}" height="{height}" '
    lines = [head + f'viewBox="0 0 {total} {height}">\n{_STYLE}']
    lines += [
        _arrow(boxes[e.dependency], boxes[e.service], words[e.condition], e.required) for e in order.edges
    ]
    lines += [_box(name, *where) for name, where in boxes.items()]
    return "".join(lines) + "</svg>\n"


def _box(name: str, left: int, top: int, width: int) -> str:
    middle = f'x="{left + width // 2}" y="{top + _BOX // 2}"'
    return (
        f'  <rect x="{left}" y="{top}" width="{width}" height="{_BOX}"/>\n'
        f"  <text {middle}>{escape(name)}</text>\n"
    )


def _arrow(start: tuple[int, int, int], end: tuple[int, int, int], label: str, required: bool) -> str:
    """A curve from the right side of what is waited for to the left side of who waits."""
    x1, y1 = start[0] + start[2], start[1] + _BOX // 2
    x2, y2 = end[0], end[1] + _BOX // 2
    bend = max((x2 - x1) // 2, 30)
    kind = "" if required else ' class="optional"'
    return (
        f'  <path{kind} marker-end="url(#arrow)" '
        f'd="M{x1},{y1} C{x1 + bend},{y1} {x2 - bend},{y2} {x2},{y2}"/>\n'
        f'  <text class="label" x="{(x1 + x2) // 2}" y="{(y1 + y2) // 2 - 8}">{escape(label)}</text>\n'
    )
