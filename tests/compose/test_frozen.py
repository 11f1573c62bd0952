"""Frozen values behave as those of dataclasses do."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from schemas.frozen import dataclass, described, field, replace


@dataclass(frozen=True, slots=True)
class Point:
    x: int
    y: int = 2
    tags: list[str] = field(default_factory=list)
    secret: str = field(default="s", repr=False, compare=False)

    def sum(self) -> int:
        return self.x + self.y


@dataclass(frozen=True, kw_only=True)
class Named(Point):
    name: str


def test_defaults_positions_and_factories() -> None:
    one, other = Point(1), Point(1)
    assert (one.x, one.y, one.tags, one.sum()) == (1, 2, [], 3)
    assert one.tags is not other.tags and one == other and Point(2) != one


def test_fields_are_inherited() -> None:
    assert Named(x=1, name="n") == Named(x=1, name="n")
    assert [f.name for f in dataclasses.fields(Named)] == ["x", "y", "tags", "secret", "name"]


def test_nothing_can_be_assigned() -> None:
    point: Any = Point(1)
    with pytest.raises(dataclasses.FrozenInstanceError):
        point.x = 3
    with pytest.raises(dataclasses.FrozenInstanceError):
        del point.x


@pytest.mark.parametrize(
    ("words", "named", "message"),
    [
        ((), {}, "missing required arguments: 'x'"),
        ((1,), {"z": 1}, "unexpected keyword argument 'z'"),
        ((1,), {"x": 1}, "multiple values for argument 'x'"),
        ((1, 2, [], "s", 5), {}, "takes 4 positional arguments"),
    ],
)
def test_wrong_arguments_are_told(words: tuple[Any, ...], named: dict[str, Any], message: str) -> None:
    with pytest.raises(TypeError, match=message):
        Point(*words, **named)


def test_repr_and_comparison_leave_out_what_they_are_told() -> None:
    assert repr(Point(1, secret="hush")) == "Point(x=1, y=2, tags=[])"
    assert Point(1, secret="a") == Point(1, secret="b")


def test_the_tools_of_dataclasses_work_on_it() -> None:
    point = Point(1)
    assert dataclasses.is_dataclass(point) and dataclasses.asdict(point)["y"] == 2
    assert dataclasses.replace(point, y=5) == replace(point, y=5) == Point(1, 5)


def test_what_is_hashable_hashes_alike() -> None:
    assert hash(Named(x=1, tags=(), name="n")) == hash(Named(x=1, tags=(), name="n"))  # type: ignore[arg-type]
    assert described(Point) is not None and described(dict) is None
