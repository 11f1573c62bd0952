"""Whatever a file says, the loader ends with a model or with a ComposeError."""

from __future__ import annotations

import contextlib
import copy
import random
from pathlib import Path
from typing import Any

import pytest
import yaml
from corpus_cases import ROOT

from compose.errors import ComposeError
from compose.load import raw, resolve
from compose.load.origin import explain
from compose.load.parse import parse
from compose.load.project import LoadRequest, load
from compose.load.request import STAGES, Reader
from compose.load.tree import plain
from schemas.frozen import replace

ODD: list[Any] = [
    None, 1, 1.5, "x", "a=b", True, [], {}, ["a"], ["a", "a"], {"a": "b"}, {"a": 1}, [1], [None], {"": ""},
    "z", -1, 70000, "service:web", "${A:?x}", "$B", "${", "a:b:c", ":", "=", "/", "[::", "1-", "0x", "'",
]  # fmt: skip
NOISE = ":-[]{}&*!'\"\t\n$#|>%@`\x00"


def documents() -> list[Any]:
    """Every valid document of the corpus that needs no other file."""
    found = []
    for path in sorted((ROOT / "valid").rglob("*.y*ml")):
        found += [plain(one) for one in parse(path.read_bytes(), path.name) if one and "include" not in one]
    return found


def holders(value: Any) -> list[tuple[Any, Any]]:
    """(container, key) of every entry of a document."""
    keys: list[Any] = list(value) if isinstance(value, dict) else list(range(len(value)))
    found = [(value, key) for key in keys]
    for key in keys:
        if isinstance(value[key], dict | list):
            found += holders(value[key])
    return found


def spoiled(document: Any, chance: random.Random) -> str:
    """The text of a document with a few entries, and perhaps a character, replaced."""
    spoilt = copy.deepcopy(document)
    for _ in range(chance.randint(1, 3)):
        container, key = chance.choice(holders(spoilt) or [({}, "a")])
        container[key] = copy.deepcopy(chance.choice(ODD))
    text: str = yaml.safe_dump(spoilt)
    if chance.random() < 0.2:
        at = chance.randrange(len(text))
        text = text[:at] + chance.choice(NOISE) + text[at + 1 :]
    return text


@pytest.mark.parametrize("seed", range(10))
def test_a_spoiled_file_gives_a_model_or_an_error(seed: int, tmp_path: Path) -> None:
    chance, known = random.Random(seed), documents()
    for _ in range(60):
        text = spoiled(chance.choice(known), chance)
        request = LoadRequest(files=("-",), cwd=str(tmp_path), environment={"HOME": "/h"})
        with contextlib.suppress(ComposeError):
            load(request, stdin=text.encode(), store=Path("/dev/null/none"))


class Tagged:
    """A value with a tag of ours, for the dumper."""

    def __init__(self, tag: str, value: Any) -> None:
        self.tag = tag
        self.value = value


class Dumper(yaml.SafeDumper):
    """Writes ``!reset`` and ``!override``."""


def _tagged(dumper: Dumper, tagged: Tagged) -> yaml.Node:
    node = dumper.represent_data(tagged.value)
    node.tag = tagged.tag
    if isinstance(node, yaml.ScalarNode):
        node.style = None
    return node


Dumper.add_representer(Tagged, _tagged)
LINKS: list[Any] = [
    ("extends", {"service": "web"}), ("extends", {"file": "b.yaml", "service": "web"}), ("extends", "db"),
    ("include", ["c.yaml"]), ("include", [{"path": ["b.yaml", "c.yaml"], "env_file": ".env"}]),
    ("env_file", ".env"), ("label_file", [".env"]), ("image", "x:${A:-${B:+c}}"), ("ports", ["${C}:80"]),
    ("name", "$A"), ("volumes", ["$D:/d"]), ("depends_on", {"web": None}),
]  # fmt: skip


def linked(document: Any, chance: random.Random) -> str:
    """The text of a document that resets, overrides, extends, includes and uses variables here and there."""
    spoilt = copy.deepcopy(document)
    for _ in range(chance.randint(0, 4)):
        container, key = chance.choice(holders(spoilt) or [({}, "a")])
        kind = chance.random()
        if kind < 0.4 and not isinstance(container[key], Tagged):
            container[key] = Tagged(chance.choice(["!reset", "!override"]), container[key])
        elif kind < 0.6:
            container[key] = copy.deepcopy(chance.choice(ODD))
        elif isinstance(container, dict):
            name, value = chance.choice(LINKS)
            container[name] = copy.deepcopy(value)
    text: str = yaml.dump(spoilt, Dumper=Dumper, allow_unicode=True)
    return text


@pytest.mark.parametrize("seed", range(10))
def test_several_spoiled_files_give_a_model_or_an_error(seed: int, tmp_path: Path) -> None:
    chance, known = random.Random(seed), documents()
    (tmp_path / ".env").write_text("A=1\nB=\nC=[x]\nD=a b\n")
    names = ("a.yaml", "b.yaml", "c.yaml")
    request = LoadRequest(files=names, cwd=str(tmp_path), environment={"HOME": "/h"})
    for _ in range(30):
        for name in names:
            (tmp_path / name).write_text(linked(chance.choice(known), chance))
        with contextlib.suppress(ComposeError):
            load(request, store=Path("/dev/null/none"))
        for stage in STAGES[1:]:
            with contextlib.suppress(ComposeError):
                resolve.model(replace(request, omit=(stage,)), Reader())
        with contextlib.suppress(ComposeError):
            raw.model(replace(request, omit=("interpolate",)), Reader())
        with contextlib.suppress(ComposeError):
            explain(request, "services")


@pytest.mark.parametrize("seed", range(5))
def test_random_bytes_give_an_error(seed: int, tmp_path: Path) -> None:
    chance = random.Random(seed)
    for _ in range(100):
        data = chance.randbytes(chance.randint(1, 200))
        with pytest.raises(ComposeError):
            load(LoadRequest(files=("-",), cwd=str(tmp_path)), stdin=data, store=Path("/dev/null/none"))


@pytest.mark.parametrize(
    "text",
    [
        "services: {a: {image: x, env_file: [{path: null, required: !reset 'false'}]}}",
        "services: {a: {image: x, mem_limit: 1000000000000000000000000000000}}",
        "services: {a: {image: x, devices: [null], extra_hosts: [null], ports: [{target: null}]}}",
        "services: {a: {image: x, depends_on: !override {b: !reset null}, mem_swappiness: -0.0}}",
        "services: {a: {image: x, post_start: [null], build: {additional_contexts: !reset {}}}}",
        "include: [{}]\nservices: {a: {image: x}}",
        "services: {a: {image: x, env_file: '" + "a" * 300 + "'}}",
        "a: 'b\u2028\n\t: c",
    ],
)
def test_what_once_was_a_traceback_is_an_error(text: str, tmp_path: Path) -> None:
    request = LoadRequest(files=("-",), cwd=str(tmp_path), environment={"HOME": "/h"})
    with contextlib.suppress(ComposeError):
        load(request, stdin=text.encode(), store=Path("/dev/null/none"))
