"""Our schema against the official one: what one accepts the other accepts.

The official schema is the copy that the package check-jsonschema carries; where it is not installed these
tests are skipped. Documents are the corpus, and documents grown from the official schema by hypothesis,
with a wrong value now and then.
"""

from __future__ import annotations

import json
import re
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
from corpus_cases import ROOT
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import schemas
from compose.errors import ComposeError
from compose.load.parse import parse
from compose.load.tree import plain

vendor = pytest.importorskip("check_jsonschema", reason="the official schema is not installed")
WRONG: list[Any] = [
    None,
    True,
    1,
    -1,
    1.5,
    "",
    "text",
    [],
    ["a"],
    ["a", "a"],
    [1],
    {},
    {"a": "b"},
    {"a": [1]},
]
# younger than the reference that we follow, which refuses them
YOUNGER = ("jobs", "pre_start", "umask", "use_service_name_alias")


@cache
def official() -> dict[str, Any]:
    folder = Path(vendor.__file__).parent / "builtin_schemas" / "vendor"
    schema: dict[str, Any] = json.loads((folder / "compose-spec.json").read_text())
    return schema


@cache
def validators() -> tuple[Any, Any]:
    return (
        jsonschema_rs.Draft202012Validator(schemas.bundle()),
        jsonschema_rs.Draft202012Validator({k: v for k, v in official().items() if k != "$schema"}),
    )


def verdicts(document: Any) -> tuple[bool, bool]:
    """(ours, the official one)"""
    ours, theirs = validators()
    return ours.is_valid(document), theirs.is_valid(document)


@st.composite
def grown(draw: st.DrawFn, schema: Any, depth: int = 0) -> Any:
    """A value that fits ``schema``, but for a wrong one in about twenty."""
    if draw(st.integers(0, 19)) == 13:
        return draw(st.sampled_from(WRONG))
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        found = official()["$defs"][name]
        return draw(grown(found, depth))
    for word in ("oneOf", "anyOf"):
        if word in schema:
            return draw(grown(draw(st.sampled_from(schema[word])), depth))
    if "allOf" in schema:
        parts = [official()["$defs"][part["$ref"].rpartition("/")[2]] for part in schema["allOf"]]
        known = {key: value for part in (*parts, schema) for key, value in part["properties"].items()}
        return draw(an_object({"properties": known}, depth))
    if "enum" in schema:
        return draw(st.sampled_from(schema["enum"]))
    kind = schema.get("type", "string")
    return draw(of_kind(schema, draw(st.sampled_from(kind)) if isinstance(kind, list) else kind, depth))


@st.composite
def of_kind(draw: st.DrawFn, schema: Any, kind: str, depth: int) -> Any:
    if kind == "object":
        return draw(an_object(schema, depth))
    if kind == "array":
        return draw(st.lists(grown(schema.get("items", {}), depth + 1), max_size=2))
    simple = {
        "string": st.sampled_from(
            ["a", "b1", "1", "10s", "1g", "true", "${A}", "a=b", "80:80", "service_healthy", ""]
        ),
        "number": st.sampled_from([0, 1, 0.5, 70000, -1]),
        "integer": st.sampled_from([0, 1, 70000, -1]),
        "boolean": st.booleans(),
        "null": st.none(),
    }
    return draw(simple[kind])


@st.composite
def an_object(draw: st.DrawFn, schema: Any, depth: int) -> Any:
    known = schema.get("properties", {})
    wanted = set(schema.get("required", ()) if draw(st.integers(0, 9)) else ())
    if known:
        wanted |= set(draw(st.lists(st.sampled_from(sorted(known)), max_size=3 if depth else 4)))
    result = {name: draw(grown(known.get(name, {}), depth + 1)) for name in sorted(wanted)}
    for pattern, inner in schema.get("patternProperties", {}).items():
        if pattern.startswith("^x-"):
            continue
        for name in draw(st.lists(st.sampled_from(["a", "b-c", "d.e"]), max_size=2, unique=True)):
            result[name] = draw(grown(inner, depth + 1))
    if not draw(st.integers(0, 14)):
        result[draw(st.sampled_from(["x-a", "unknown", "a b"]))] = draw(st.sampled_from(WRONG))
    return result


def service_documents() -> st.SearchStrategy[Any]:
    """Documents with one service, so that its many attributes are seen often."""
    service = official()["$defs"]["service"]
    return st.builds(lambda one: {"services": {"web": one}}, grown(service))


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(service_documents())
def test_both_say_the_same_of_a_service(document: Any) -> None:
    ours, theirs = verdicts(document)
    assert ours == theirs or differ_on_purpose(document)


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(grown(official()))
def test_both_say_the_same_of_a_document(document: Any) -> None:
    ours, theirs = verdicts(document)
    assert ours == theirs or differ_on_purpose(document)


def differ_on_purpose(document: Any) -> bool:
    """Younger attributes; where the reference is laxer: names of networks, a broken number as shm_size."""
    text = json.dumps(document)
    names = document.get("networks") if isinstance(document, dict) else None
    odd = isinstance(names, dict) and any(not re.fullmatch(r"[a-zA-Z0-9._-]+", name) for name in names)
    return (
        odd
        or bool(re.search(r'"shm_size": -?[0-9]+\.', text))
        or any(f'"{word}"' in text for word in YOUNGER)
    )


def written() -> list[tuple[str, Any]]:
    """Every document of the corpus that is YAML and holds no tags or variables of a typed attribute."""
    found = []
    for path in sorted(ROOT.rglob("*.y*ml")):
        try:
            documents = [one for one in parse(path.read_bytes(), path.name) if one is not None]
        except (ComposeError, OSError):
            continue
        found += [(str(path.relative_to(ROOT)), plain(one)) for one in documents]
    return found


@pytest.mark.parametrize(
    ("name", "document"), written(), ids=lambda value: value if isinstance(value, str) else ""
)
def test_both_say_the_same_of_what_people_write(name: str, document: Any) -> None:
    document = json.loads(json.dumps(document))
    ours, theirs = verdicts(document)
    assert ours == theirs or differ_on_purpose(document)
