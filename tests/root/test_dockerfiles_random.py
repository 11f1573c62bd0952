"""Random Dockerfiles beside a real BuildKit: words, ignore rules, COPY. Needs what test_dockerfiles says."""

from __future__ import annotations

import json
import random
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from test_dockerfiles import DOCKER, docker, kitchen, outcome

from runtime.image.dockerfile.errors import DockerfileInvalid
from runtime.image.dockerfile.words import expand

__all__ = ["docker", "kitchen"]  # the fixtures

# not marked root: the reference is not to be reached from namespaces of our own
pytestmark = pytest.mark.skipif(not DOCKER, reason="PYCOMPOSE_BUILDKIT names no docker")
VARIABLES = {"a": "one", "p": "/usr/local/bin", "d": "a.b.c", "e": "", "s": "x*y?z"}
LITERALS = [
    "x",
    "y",
    ".",
    "/",
    "*",
    "?",
    "-",
    "[a]",
    "<<",
    "\\$",
    "\\\\",
    '\\"',
    "\\*",
    "\\}",
    "'q'",
    "'$a'",
    '"z"',
]
OPERATORS = [":-", "-", ":+", "+", "#", "##", "%", "%%", "/", "//"]
RULES = [
    "a",
    "b",
    "ab",
    "*",
    "**",
    "a*",
    "*b",
    "?",
    "[ab]",
    "[^a]*",
    "*.x",
    "**.x",
    ".*",
    "a**",
    "..",
    ".",
    "d.x",
]
SOURCES = ["f", "sub", "sub/g", "lf", "ld", "f*", "s*", "sub/*", "l[fd]", ".", "sub/deep", "e", "up", "[a-f]"]
TARGETS = [
    "/d",
    "/d/",
    "/x/y",
    "/x/y/",
    "/lk",
    "/lk/n",
    "/file",
    "/dir",
    "/dir/in",
    ".",
    "rel",
    "rel/",
    "/lf",
    "/dir/sub",
]
BASE = """\
FROM busybox
RUN mkdir -m 0711 /dir /real && ln -s /real /lk && echo old > /file && echo o > /dir/in && ln -s /file /lf
RUN mkdir -p /dir/sub/deep && chmod 0700 /dir/sub && chown 3:3 /dir/sub
WORKDIR /w
"""


def word(dice: random.Random, depth: int) -> str:
    parts = (
        reference(dice, depth) if depth and dice.random() < 0.4 else dice.choice(LITERALS) for _ in range(3)
    )
    return "".join(part for part in parts if dice.random() < 0.7)


def reference(dice: random.Random, depth: int) -> str:
    name, operator = dice.choice([*VARIABLES, "unset"]), dice.choice(["", *OPERATORS])
    inner = word(dice, depth - 1) if operator else ""
    return f"${{{name}{operator}{inner}{'/' + word(dice, depth - 1) if '/' in operator else ''}}}"


def expands(text: str) -> bool:
    try:
        expand(text, VARIABLES)
    except DockerfileInvalid:
        return False
    return True


def same(kitchen: SimpleNamespace, docker: Any, case: dict[str, str], place: Path) -> bool:
    ours, theirs = outcome(kitchen.store, kitchen.base, case, place), docker.made(case)
    return ("error" in ours and "error" in theirs) or ours == theirs


@pytest.mark.parametrize("seed", range(4))
def test_words(seed: int, kitchen: SimpleNamespace, docker: Any, scratch: Path) -> None:
    dice = random.Random(seed)
    words = [text for text in (word(dice, 2) for _ in range(150)) if text and expands(text)]
    sets = "".join(f"ENV {name}='{value}'\n" for name, value in VARIABLES.items())
    labels = "".join(f"LABEL k{number}={text}\n" for number, text in enumerate(words))
    assert same(kitchen, docker, {"Dockerfile": f"FROM busybox\n{sets}{labels}"}, scratch)


@pytest.mark.parametrize("seed", range(8))
def test_ignore_rules(seed: int, kitchen: SimpleNamespace, docker: Any, scratch: Path) -> None:
    dice = random.Random(seed)
    names = ["a", "b", "ab", "c.x", "d.x", ".h"]
    paths = {"/".join(dice.choices(names, k=dice.randint(1, 4))) for _ in range(60)}
    files = {path: "x\n" for path in paths if not any(other.startswith(f"{path}/") for other in paths)}
    rules = [
        dice.choice(["", "", "!"]) + "/".join(dice.choices(RULES, k=dice.randint(1, 3))) for _ in range(5)
    ]
    case = {"Dockerfile": "FROM busybox\nCOPY . /d/\n", **files, ".dockerignore": "\n".join(rules) + "\n"}
    assert same(kitchen, docker, case, scratch), rules


@pytest.mark.parametrize("seed", range(12))
def test_copies(seed: int, kitchen: SimpleNamespace, docker: Any, scratch: Path) -> None:
    dice = random.Random(seed)
    lines = []
    for _ in range(2):
        flags = [
            flag
            for flag in (
                f"--chown={dice.choice(['5', '5:6', 'web:staff'])}",
                "--chmod=0640",
                "--exclude=sub/g",
            )
            if dice.random() < 0.25
        ]
        sources = dice.choices(SOURCES, k=dice.choice([1, 1, 2]))
        lines.append(" ".join([dice.choice(["COPY", "ADD"]), *flags, *sources, dice.choice(TARGETS)]))
    options = {"links": {"lf": "f", "ld": "sub", "up": ".."}, "modes": {"sub": "0750"}, "directories": ["e"]}
    files = {"f": "F\n", "sub/g": "G\n", "sub/deep/h": "H\n", "options": json.dumps(options)}
    assert same(kitchen, docker, {"Dockerfile": BASE + "\n".join(lines) + "\n", **files}, scratch), lines
