"""What is accepted and has no effect is named once; ``--strict`` refuses it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import schemas
from compose.load import ignored
from compose.load.project import LoadRequest, load

REPOSITORY = Path(__file__).parents[3]
FILE = """\
services:
  a: {image: x, pull_refresh_after: 1h, isolation: default, runtime: runc, userns_mode: host}
  b: {image: x, pull_refresh_after: 1h, deploy: {placement: {constraints: [a]}}}
"""


def test_each_attribute_is_named_once_with_its_first_place(tmp_path: Path) -> None:
    (tmp_path / "compose.yaml").write_text(FILE)
    for _ in range(2):  # the second time from the cache
        loaded = load(LoadRequest(cwd=str(tmp_path)), store=tmp_path / "store")
        first, second = loaded.warnings
        place, _, told = first.partition(": ")
        assert place == "compose.yaml:3:50"
        assert told == "services.b.deploy.placement: 'deploy.placement' has no effect here: it is for swarm"
        assert second.startswith(
            "compose.yaml:2:17: services.a.pull_refresh_after: 'pull_refresh_after' has no effect here"
        )


def test_strict_makes_them_fatal(tmp_path: Path) -> None:
    (tmp_path / "compose.yaml").write_text(FILE)
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(REPOSITORY),
        "PYCOMPOSE_DATA": str(tmp_path / "data"),
    }
    for flags, code in ((["--strict"], 1), ([], 0), (["--strict"], 1)):
        words = [sys.executable, "-m", "compose", *flags, "config", "-q"]
        done = subprocess.run(
            words, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == code
        assert done.stderr.count("'pull_refresh_after' has no effect here") == 1


def attributes() -> set[str]:
    """Every attribute of our schema, as ``services.*.build.args``."""
    bundle = schemas.bundle()
    return set(_walk(bundle, bundle, (), ()))


def _target(schema: Any, base: Any) -> tuple[Any, Any]:
    """What ``$ref`` leads to, and the file it stands in."""
    while "$ref" in schema:
        name, _, pointer = schema["$ref"].partition("#")
        base = schemas.load(name.removesuffix(".json")) if name else base
        schema = base
        for part in pointer.split("/")[1:]:
            schema = schema[part]
    return schema, base


def _walk(schema: Any, base: Any, path: tuple[str, ...], above: tuple[str, ...]) -> Iterator[str]:
    if "$ref" in schema and schema["$ref"] in above:
        return
    above = (*above, schema.get("$ref", ""))
    schema, base = _target(schema, base)
    for word in ("anyOf", "oneOf", "allOf"):
        for one in schema.get(word, ()):
            yield from _walk(one, base, path, above)
    for name, inner in schema.get("properties", {}).items():
        yield ".".join((*path, name))
        yield from _walk(inner, base, (*path, name), above)
    below = [inner for pattern, inner in schema.get("patternProperties", {}).items() if pattern != "^x-"]
    for inner in (*below, schema.get("additionalProperties"), schema.get("items")):
        if isinstance(inner, dict):
            yield from _walk(inner, base, (*path, "*"), above)


def acted() -> set[str]:
    """What stands in ``acted.txt``."""
    lines = (Path(__file__).parent / "acted.txt").read_text().splitlines()
    return {line for line in lines if line and not line.startswith("#")}


def test_every_attribute_is_acted_on_or_named() -> None:
    named = {*ignored.WHY, *ignored.SOMETIMES, *ignored.OWNED}
    sometimes = {*(p.removesuffix(".*") for p in ignored.SOMETIMES), *ignored.SOMETIMES, *ignored.OWNED}
    below = {one for one in attributes() if any(one.startswith(f"{pattern}.") for pattern in ignored.WHY)}
    assert attributes() - below - named == acted() - named
    assert not (acted() & named) - sometimes


def test_every_named_attribute_is_one() -> None:
    known = attributes()
    assert {p.removesuffix(".*") for p in (*ignored.WHY, *ignored.SOMETIMES, *ignored.OWNED)} <= known


VAIN = """\
services:
  a:
    image: x
    build: {context: ., ssh: [default, k=./key], platforms: [linux/amd64, linux/arm64]}
    logging: {driver: syslog, options: {tag: x, max-size: 1m}}
    security_opt: [no-new-privileges, apparmor=x]
    secrets: [{source: s, uid: "5"}]
    deploy: {mode: global, labels: {a: b}, restart_policy: {condition: any, delay: 5s}}
    networks: {n: {driver_opts: {a: b}}}
networks: {n: {driver_opts: {com.docker.network.driver.mtu: 1400, other: 1}}}
secrets: {s: {file: ./s}}
"""
QUIET = """\
services:
  a:
    image: x
    build: {context: ., ssh: [default, k=./key], platforms: [linux/amd64]}
    logging: {driver: json-file, options: {max-file: "3", max-size: 1m}}
    security_opt: [no-new-privileges]
    secrets: [{source: s, uid: "5"}]
    deploy: {mode: replicated, restart_policy: {condition: any}}
    networks: {n: }
networks: {n: {driver: bridge, driver_opts: {com.docker.network.driver.mtu: 1400}}}
secrets: {s: {environment: HOME}}
"""


def test_values_without_effect_are_named_each_once(tmp_path: Path) -> None:
    (tmp_path / "compose.yaml").write_text(VAIN)
    warnings = load(LoadRequest(cwd=str(tmp_path)), store=tmp_path / "store").warnings
    assert {one.split("'")[1] for one in warnings} == {
        "build.platforms", "logging.driver", "logging.options", "security_opt", "uid",
        "deploy.mode", "deploy.labels", "deploy.restart_policy.delay", "driver_opts",
    }  # fmt: skip
    assert len(warnings) == 10  # driver_opts of the network and of the service's place in it


def test_values_with_effect_are_not_named(tmp_path: Path) -> None:
    (tmp_path / "compose.yaml").write_text(QUIET)
    assert load(LoadRequest(cwd=str(tmp_path)), store=tmp_path / "store").warnings == ()
