"""Our schema: it stands alone, and everything in it can be reached."""

from __future__ import annotations

import json
from typing import Any

import jsonschema_rs
import pytest

import schemas


def test_every_file_is_bundled_under_its_own_id() -> None:
    bundle = schemas.bundle()
    assert bundle["$id"] == "compose.json"
    assert {schema["$id"] for schema in bundle["$defs"].values()} == {
        f"{name}.json" for name in schemas.names() if name != "compose"
    }


def test_the_bundle_is_a_valid_schema() -> None:
    jsonschema_rs.meta.validate(schemas.bundle())


@pytest.mark.parametrize("name", schemas.names())
def test_every_reference_leads_somewhere(name: str) -> None:
    known = {f"{one}.json": schemas.load(one) for one in schemas.names()}
    for reference in references(schemas.load(name)):
        file, _, pointer = reference.partition("#")
        target = known[file or f"{name}.json"]
        for step in pointer.split("/")[1:]:
            target = target[step]


@pytest.mark.parametrize(
    "document",
    [
        {"services": {"a": {"image": "x"}}},
        {"x-any": [1, {"b": None}], "networks": {"a": None}},
        {
            "services": {
                "a": {"build": {"context": "."}, "pre_start": [{"command": "a", "per_replica": True}]}
            }
        },
    ],
)
def test_a_good_document_passes(document: dict[str, Any]) -> None:
    assert jsonschema_rs.Draft202012Validator(schemas.bundle()).is_valid(document)


def references(schema: Any) -> list[str]:
    text = json.dumps(schema)
    return [part.split('"')[0] for part in text.split('"$ref": "')[1:]]
