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
from compose.load.parse import parse
from compose.load.project import LoadRequest, load
from compose.load.tree import plain

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


@pytest.mark.parametrize("seed", range(5))
def test_random_bytes_give_an_error(seed: int, tmp_path: Path) -> None:
    chance = random.Random(seed)
    for _ in range(100):
        data = chance.randbytes(chance.randint(1, 200))
        with pytest.raises(ComposeError):
            load(LoadRequest(files=("-",), cwd=str(tmp_path)), stdin=data, store=Path("/dev/null/none"))
