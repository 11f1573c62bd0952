"""The picture of a start order: layered, with conditions on the arrows."""

from __future__ import annotations

import re
from xml.etree import ElementTree

from compose.cli.drawing import columns
from compose.cli.graph import dot, svg
from compose.graph import Edge, Order
from compose.model.service import Condition

ORDER = Order(
    nodes=("a", "b", "<web>"),
    edges=(
        Edge(service="<web>", dependency="b", condition=Condition.HEALTHY),
        Edge(service="<web>", dependency="a", required=False),
        Edge(service="b", dependency="a"),
    ),
)


def test_a_service_stands_right_of_all_it_waits_for() -> None:
    root = ElementTree.fromstring(svg(ORDER))
    name = "{http://www.w3.org/2000/svg}"
    boxes = [int(rect.attrib["x"]) for rect in root.iter(f"{name}rect")]
    texts = [text.text for text in root.iter(f"{name}text")]
    assert boxes == sorted(set(boxes))
    assert texts == ["a", "b", "<web>", "healthy", "started", "started"]


def test_an_arrow_passes_between_the_boxes_of_a_column() -> None:
    assert columns(ORDER)[1] in (["b", (1, 1)], [(1, 1), "b"])
    drawn = re.findall(r'd="(M[^"]*C[^"]*)"', svg(ORDER))
    assert sorted(text.count("C") for text in drawn) == [1, 1, 2]


def test_an_optional_dependency_is_dashed() -> None:
    assert len(re.findall(r'class="optional" ', svg(ORDER))) == 1


def test_columns_are_the_waves() -> None:
    names = [[node for node in wave if isinstance(node, str)] for wave in columns(ORDER)]
    assert names == [["a"], ["b"], ["<web>"]]
    assert "{ rank=same;" in dot(ORDER)


def test_no_service_is_a_picture_as_well() -> None:
    assert ElementTree.fromstring(svg(Order())).tag.endswith("svg")
