"""A start order as a picture: SVG, one column per wave, an arrow with its condition per dependency.

Comes in:  an Order.
Goes out:  the text of an SVG file that needs nothing else.
Why not networkx: its layouts want numpy, and columns are known already: they are the waves.

An arrow over several columns has a place of its own in each column between (Sugiyama's dummies), so that it
passes between the boxes instead of behind them.
"""

from itertools import pairwise
from typing import TYPE_CHECKING
from xml.sax.saxutils import escape

if TYPE_CHECKING:
    from compose.graph import Edge, Order

_LETTER, _BOX, _GAP_X, _GAP_Y, _EDGE, _LANE = 8, 34, 130, 26, 20, 22
_STYLE = """\
  <style>
    rect { fill: #eef3fb; stroke: #33557a; rx: 6px }
    text { font: 13px sans-serif; text-anchor: middle; fill: #1b2a3a }
    path { fill: none; stroke: #33557a } .optional { stroke-dasharray: 5 4 }
    .label { font-size: 11px; fill: #556; paint-order: stroke; stroke: #fff; stroke-width: 3px }
  </style>
  <defs><marker id="arrow" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="8" markerHeight="8" orient="auto">
    <path d="M0,0 L8,4 L0,8 z" style="fill: #33557a"/></marker></defs>
"""
_MANY = 20_000  # places; with more of them arrows go straight
# a node is the name of a service, or (number of an arrow, column) where an arrow passes through a column
Node = str | tuple[int, int]
Point = tuple[float, float]


def columns(order: "Order") -> list[list[Node]]:
    """Waves from left to right with the arrows that pass; near stands what is linked (four sweeps). Pure."""
    waves: list[list[Node]] = [list(wave) for wave in order.levels()]
    links: dict[Node, list[Node]] = {}
    for road in roads(order):
        for column, node in road[1:-1]:
            waves[column].append(node)
        for (_, left), (_, right) in pairwise(road):
            links.setdefault(left, []).append(right)
            links.setdefault(right, []).append(left)
    row = {node: place for wave in waves for node, place in _rows(wave)}
    for sweep in range(4):
        for wave in waves[1:] if sweep % 2 == 0 else waves[-2::-1]:
            middle = {
                node: _middle([row[other] for other in links.get(node, ())], row[node]) for node in wave
            }
            wave.sort(key=middle.__getitem__)
            row.update(_rows(wave))
    return waves


def roads(order: "Order") -> list[list[tuple[int, Node]]]:
    """For each edge of ``order`` its nodes with their columns: from what is waited for to who waits."""
    at = {name: number for number, wave in enumerate(order.levels()) for name in wave}
    straight = sum(at[edge.service] - at[edge.dependency] for edge in order.edges) > _MANY
    result = []
    for number, edge in enumerate(order.edges):
        first, last = at[edge.dependency], at[edge.service]
        between = () if straight else range(first + 1, last)
        passed: list[tuple[int, Node]] = [(column, (number, column)) for column in between]
        result.append([(first, edge.dependency), *passed, (last, edge.service)])
    return result


def _rows(wave: list[Node]) -> list[tuple[Node, float]]:
    """Nodes with their places in a column: 0 is the top, 1 the bottom."""
    return [(node, number / max(len(wave) - 1, 1)) for number, node in enumerate(wave)]


def _middle(rows: list[float], own: float) -> float:
    return sum(rows) / len(rows) if rows else own


def svg(order: "Order", words: dict[str, str]) -> str:
    """The picture. words: how a condition is written on an arrow. Pure."""
    waves = columns(order)
    widths = [max((len(n) for n in wave if isinstance(n, str)), default=0) * _LETTER + 24 for wave in waves]
    height = max((_height(wave) for wave in waves), default=_BOX) + 2 * _EDGE
    places: dict[Node, tuple[int, int, int]] = {}
    left = _EDGE
    for wave, width in zip(waves, widths, strict=True):
        top = (height - _height(wave)) // 2
        for node in wave:
            places[node] = (left, top, width)
            top += _size(node) + _GAP_Y
        left += width + _GAP_X
    total = left - _GAP_X + _EDGE if waves else 2 * _EDGE
    head = f'<svg xmlns="http://www.w3.org/2000/svg" width="{total}" height="{height}" '
    lines = [head + f'viewBox="0 0 {total} {height}">\n{_STYLE}']
    ways = [_way([places[node] + (_size(node),) for _, node in road]) for road in roads(order)]
    lines += [_path(edge, way) for edge, way in zip(order.edges, ways, strict=True)]
    lines += [_box(name, *places[name]) for name in order.nodes]
    lines += [_label(words[edge.condition], way) for edge, way in zip(order.edges, ways, strict=True)]
    return "".join(lines) + "</svg>\n"


def _size(node: Node) -> int:
    return _BOX if isinstance(node, str) else _LANE


def _height(wave: list[Node]) -> int:
    return sum(_size(node) + _GAP_Y for node in wave) - _GAP_Y


def _box(name: str, left: int, top: int, width: int) -> str:
    middle = f'x="{left + width // 2}" y="{top + _BOX // 2 + 5}"'
    return (
        f'  <rect x="{left}" y="{top}" width="{width}" height="{_BOX}"/>\n'
        f"  <text {middle}>{escape(name)}</text>\n"
    )


def _way(boxes: list[tuple[int, int, int, int]]) -> list[Point]:
    """Where an arrow leaves and enters each column, from the right of the first to the left of the last."""
    points: list[Point] = []
    for number, (left, top, width, size) in enumerate(boxes):
        middle = top + size / 2
        points += [(left, middle)] if number else []
        points += [(left + width, middle)] if number < len(boxes) - 1 else []
    return points


def _path(edge: "Edge", way: list[Point]) -> str:
    """A curve between columns, a straight line through them."""
    text = f"M{way[0][0]:g},{way[0][1]:g}"
    for number, ((x1, y1), (x2, y2)) in enumerate(pairwise(way)):
        bend = (x2 - x1) / 2
        curve = f" C{x1 + bend:g},{y1:g} {x2 - bend:g},{y2:g} {x2:g},{y2:g}"
        text += f" L{x2:g},{y2:g}" if number % 2 else curve
    kind = "" if edge.required else ' class="optional"'
    return f'  <path{kind} marker-end="url(#arrow)" d="{text}"/>\n'


def _label(text: str, way: list[Point]) -> str:
    """The condition, on the last curve: where the arrows of one service have parted."""
    (x1, y1), (x2, y2) = way[-2:]
    x, y = x1 + (x2 - x1) * 0.59, y1 + (y2 - y1) * 0.68  # a point of the curve (t = 0.62), near who waits
    return f'  <text class="label" x="{x:g}" y="{y + 3:g}">{escape(text)}</text>\n'
