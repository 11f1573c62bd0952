"""python: the interpreter, pip, setuptools and wheel, usable as in the official image.

Comes in:  python3 of the release and the wheels that its venv module carries.
Goes out:  a layer on the slim base; commands in /usr/local/bin, packages in /usr/local/lib/pythonX.Y.
Not here:  a compiler (python:X.Y-slim has none); python:X.Y adds one as the official image does.
"""

from __future__ import annotations

import io
import zipfile
from functools import partial

from runtime.image.assemble.recipe import PATH, Facts, Layer, Recipe
from runtime.image.assemble.recipes.certificates import PACKAGE, REHASH, trust
from runtime.image.assemble.recipes.debian import SLIM
from runtime.image.assemble.tree import Tree
from runtime.image.assemble.unpack import slim
from runtime.image.manifest import ImageConfig

WHEELS = "usr/share/python-wheels"
BUILD = (
    "build-essential",
    "python3-dev",
    "libffi-dev",
    "libssl-dev",
    "libpq-dev",
    "zlib1g-dev",
    "git",
    "curl",
    "wget",
)
SCRIPT = """\
#!/usr/local/bin/python{version}
import sys

from pip._internal.cli.main import main

sys.exit(main())
"""
# Fills the byte code cache of what nearly every program imports, so that no container compiles it.
USUAL = (
    "argparse, asyncio, ctypes, dataclasses, datetime, decimal, email.mime.text, hashlib, http.client, "
    "http.server, inspect, json, logging.config, multiprocessing, pathlib, sqlite3, ssl, subprocess, "
    "tempfile, typing, urllib.request, uuid, venv, xml.etree.ElementTree, zoneinfo"
)
WARM = (
    f"{{ python3 -c 'import {USUAL}' & }} && python3 -m pip --version "
    "&& python3 -c 'import pip._internal.commands.install' && wait $!"
)


def skip(name: str) -> bool:
    """Slim, and no word to pip that this Python belongs to Debian."""
    return slim(name) or name.endswith("/EXTERNALLY-MANAGED")


def settled(name: str) -> bool:
    """Python's scripts only compile every module to byte code, which takes longer than all the rest."""
    return name.startswith(("python3", "libpython3")) or name == PACKAGE


def before(tree: Tree, facts: Facts, *, version: str) -> None:
    """The place for packages, reachable by Debian's name for it and by everybody else's; authorities."""
    trust(tree)
    home = f"usr/local/lib/python{version}"
    tree.directory(f"{home}/site-packages")
    tree.link(f"{home}/dist-packages", "site-packages")
    for name in ("python", "python3", f"python{version}"):
        tree.link(f"usr/local/bin/{name}", f"/usr/bin/python{version}")
    for name in ("pydoc3", f"pydoc{version}"):
        if tree.has(f"usr/bin/{name}"):
            tree.link(f"usr/local/bin/{name}", f"/usr/bin/{name}")
    for wheel in sorted((tree.upper / WHEELS).glob("*.whl")):
        if wheel.name.startswith(("pip-", "setuptools-", "wheel-")):
            install(tree, wheel.read_bytes(), f"{home}/site-packages")
    for name in ("pip", "pip3", f"pip{version}"):
        tree.file(f"usr/local/bin/{name}", SCRIPT.format(version=version), 0o755)


def install(tree: Tree, wheel: bytes, where: str) -> None:
    """Unzip a pure Python wheel, with the record that lets pip replace it. Source: PEP 427."""
    with zipfile.ZipFile(io.BytesIO(wheel)) as archive:
        for item in archive.infolist():
            if not item.is_dir() and ".data/" not in item.filename:
                tree.file(f"{where}/{item.filename}", archive.read(item))


def config(facts: Facts) -> ImageConfig:
    """Environment and command of the official image."""
    path = PATH.removeprefix("/usr/local/sbin:/usr/local/bin:")
    return ImageConfig(
        env=(
            f"PATH=/usr/local/bin:/usr/local/sbin:/usr/local/bin:{path}",
            "LANG=C.UTF-8",
            f"PYTHON_VERSION={facts.upstream('python3')}",
        ),
        cmd=("python3",),
    )


def python(codename: str, version: str, *, small: bool, title: str) -> Recipe:
    """The recipe of ``python:<version>-slim``, or with ``small=False`` of the one that can compile."""
    layer = Layer(
        packages=(
            *("python3", "python3-venv", PACKAGE, "netbase", "tzdata"),
            *(("python3-wheel-whl",) if version == "3.11" else ()),  # official images have it up to 3.11
            *(() if small else BUILD),
        ),
        skip=skip,
        settled=settled,
        before=partial(before, version=version),
        script=f"{REHASH} && {WARM}",
    )
    return Recipe(title=title, codename=codename, layers=(SLIM, layer), main="python3", config=config)
