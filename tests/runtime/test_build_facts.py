"""Keys of steps, and the reasons why a step is made again."""

from __future__ import annotations

import json

import pytest

from runtime.build.facts import Facts, pack, unpack, why
from schemas.frozen import replace

FACTS = Facts(
    text="COPY src/ /app/",
    layers=("sha256:1",),
    parts={"name": "COPY", "--chown": None},
    env={"ARG V": "1", "ENV E": "e"},
    files=(
        ("src", "40755 - -"),
        ("src/app.py", f"100644 - {'a' * 64}"),
        ("src/lib.py", f"100644 - {'b' * 64}"),
    ),
)


def test_the_key_depends_on_everything_but_the_text() -> None:
    assert FACTS.key() == replace(FACTS, text="other").key()
    others = [
        replace(FACTS, layers=("sha256:2",)),
        replace(FACTS, parts={"name": "ADD", "--chown": None}),
        replace(FACTS, env={"ARG V": "2", "ENV E": "e"}),
        replace(FACTS, files=FACTS.files[:2]),
        replace(FACTS, files=(*FACTS.files[:2], ("src/lib.py", f"100755 - {'b' * 64}"))),
    ]
    assert len({FACTS.key(), *(other.key() for other in others)}) == 6


def test_a_note_holds_no_values_of_variables() -> None:
    facts = replace(FACTS, env={"ARG TOKEN": "hunter2"})
    assert "hunter2" not in facts.noted() and "ARG TOKEN" in json.loads(facts.noted())["env"]


def test_files_are_packed_and_unpacked() -> None:
    assert unpack(pack(FACTS.files)) == {
        "src": "40755 - -",
        "src/app.py": f"100644 - {'a' * 16}",
        "src/lib.py": f"100644 - {'b' * 16}",
    }
    assert unpack(pack(())) == {}


def last(attributes: str, digit: str) -> dict[str, object]:
    return {"files": (*FACTS.files[:2], ("src/lib.py", f"{attributes} {digit * 64}"))}


@pytest.mark.parametrize(
    "changes,below,reason",
    [
        (last("100644 -", "c"), "", "src/lib.py changed"),
        ({"files": FACTS.files[:2]}, "", "src/lib.py is gone"),
        ({"files": (*FACTS.files, ("src/new", f"100644 - {'c' * 64}"))}, "", "src/new is new"),
        (last("100600 -", "b"), "", "the mode of src/lib.py changed"),
        (last("100644 5:5", "b"), "", "the owner of src/lib.py changed"),
        ({"env": {"ARG V": "2", "ENV E": "e"}}, "", "ARG V changed"),
        ({"env": {"ENV E": "e", "ENV F": ""}}, "", "ENV F is new; ARG V is gone"),
        ({"parts": {"name": "COPY", "--chown": [1, 1]}}, "", "--chown changed"),
        ({"layers": ("sha256:2",)}, "", "the base image changed"),
        ({"layers": ("sha256:2",)}, "after RUN x: ARG V changed", "after RUN x: ARG V changed"),
        ({"layers": ("sha256:2",), "env": {"ARG V": "1"}}, "after RUN x: y", "ENV E is gone"),
        ({}, "", "its layer is no longer in the cache"),
    ],
)  # fmt: skip
def test_the_reason_is_the_step_s_own_if_it_has_one(
    changes: dict[str, object], below: str, reason: str
) -> None:
    assert why(FACTS.noted(), pack(FACTS.files), replace(FACTS, **changes), below) == reason


def test_many_changed_files_are_counted() -> None:
    files = tuple((f"f{n}", f"100644 - {n:064x}") for n in range(10))
    reason = why(FACTS.noted(), pack(()), replace(FACTS, files=files), "")
    assert reason == "f0 is new; f1 is new; f2 is new; and 7 more files"
