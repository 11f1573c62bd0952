"""``pycompose build`` on a file: every service, every flag, what it says and how it ends."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from build_bench import Bench, bench, text

pytestmark = pytest.mark.root
HERE = str(Path(__file__).parents[2])


class Shop:
    """A project directory and a store with busybox in it."""

    def __init__(self, scratch: Path, busybox_root: Path, compose: str) -> None:
        (scratch / "data").mkdir()
        self.bench: Bench = bench(scratch / "data", busybox_root)
        self.home = scratch / "shop"
        self.home.mkdir()
        (self.home / "compose.yaml").write_text(compose)
        self.environment = {
            "PATH": os.environ["PATH"], "HOME": str(scratch), "PYTHONPATH": HERE, "NO_COLOR": "1",
            "PYCOMPOSE_RUN": str(scratch / "run"), "PYCOMPOSE_DATA": str(scratch / "data"),
        }  # fmt: skip

    def start(self, *words: str, **more: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "compose", *words], cwd=self.home, env={**self.environment, **more},
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip

    def run(self, *words: str, **more: str) -> tuple[int, str, str]:
        with self.start(*words, **more) as child:
            out, err = child.communicate()
        return child.returncode, out, err


def shop_of(**services: str) -> str:
    """A file whose services are built from these Dockerfiles."""
    build = {
        name: {"build": {"network": "none", "dockerfile_inline": text}} for name, text in services.items()
    }
    return json.dumps({"name": "shop", "services": build})


TWO = """\
name: shop
services:
  base:
    build: {network: none, dockerfile_inline: "FROM busybox\\nRUN echo base > /base\\n"}
  app:
    image: shop/app:1
    build:
      network: none
      context: .
      dockerfile_inline: |
        FROM root
        ARG A
        ARG FROM_CALLER
        ARG SET=file
        RUN echo $$A $$FROM_CALLER $$SET > /args; cat /base
        RUN --mount=type=secret,id=s --mount=type=secret,id=env cat /run/secrets/s /run/secrets/env
      additional_contexts: {root: "service:base"}
      args: {A: "1", FROM_CALLER: }
      labels: {l: v}
      tags: ["shop/app:extra"]
      secrets: [s, {source: e, target: env}]
secrets: {s: {file: ./s}, e: {environment: SECRET}}
"""


def test_services_are_built_in_the_order_they_need(scratch: Path, busybox_root: Path) -> None:
    shop = Shop(scratch, busybox_root, TWO)
    (shop.home / "s").write_text("in-file\n")
    code, _, err = shop.run("build", "app", "--build-arg", "SET=flag", FROM_CALLER="caller", SECRET="in-env")
    assert code == 0, err
    lines = err.splitlines()
    for expected in (
        " Image shop-base  Built",
        " Image shop/app:1  Built",
        "[app 2/3] base",
        "[app 3/3] in-file",
        "[app 3/3] in-env",
        " [base 2/2] RUN echo base > /base  Running (never built before)",
    ):
        assert expected in lines, err
    store = shop.bench.store
    image = store.resolve("shop/app:extra")
    assert image.id == store.resolve("shop/app:1").id and text(image, "/args") == "1 caller flag\n"
    assert image.config.labels["l"] == "v"
    assert image.config.labels["com.docker.compose.service"] == "app"
    code, out, err = shop.run("build", "-q", "app", FROM_CALLER="caller", SECRET="in-env")
    assert (code, out, err) == (0, "", "")


def test_print_gives_the_bake_file(scratch: Path, busybox_root: Path) -> None:
    shop = Shop(scratch, busybox_root, TWO)
    code, out, err = shop.run(
        "build", "--print", "--push", "--ssh", "default", "app", FROM_CALLER="x", SECRET="y"
    )
    assert code == 0, err
    document = json.loads(out)
    assert document["group"] == {"default": {"targets": ["app", "base"]}}
    target = document["target"]["app"]
    assert target["contexts"] == {"root": "target:base"} and target["tags"] == [
        "shop/app:extra",
        "shop/app:1",
    ]
    assert target["args"] == {"A": "1", "FROM_CALLER": "x", "SET": "file"} or target["args"]["A"] == "1"
    assert target["secret"] == [f"id=s,type=file,src={shop.home}/s", "id=env,type=env,env=SECRET"]
    assert target["output"] == ["type=registry"] and target["ssh"] == ["default="]
    assert document["target"]["base"]["output"] == ["type=docker"]
    assert shop.bench.store.find("shop-base") is None, "nothing is built"


def test_check_shows_mistakes_and_builds_nothing(scratch: Path, busybox_root: Path) -> None:
    shop = Shop(
        scratch,
        busybox_root,
        shop_of(good="FROM busybox\n", bad="FROM busybox\nMAINTAINER me\nWORKDIR rel\n"),
    )  # fmt: skip
    code, out, _ = shop.run("build", "--check", "good")
    assert code == 0 and out == "good\n\nCheck complete, no warnings found.\n\n"
    code, out, _ = shop.run("build", "--check")
    assert code == 1 and "2 warnings have been found" in out
    assert "MaintainerDeprecated" in out and "WorkdirRelativePath" in out
    assert shop.bench.store.find("shop-bad") is None
    code, _, err = shop.run("build", "bad")
    assert code == 0 and "WARN: MaintainerDeprecated" in err, "a build warns and goes on"


def test_a_failing_build_ends_with_1_and_stops_the_others(scratch: Path, busybox_root: Path) -> None:
    shop = Shop(
        scratch,
        busybox_root,
        shop_of(slow="FROM busybox\nRUN sleep 1000\n", bad="FROM busybox\nRUN echo no; exit 3\n"),
    )  # fmt: skip
    code, _, err = shop.run("build")
    assert code == 1
    assert "Dockerfile:2: RUN echo no; exit 3: ended with exit code 3" in err and "Traceback" not in err
    assert shop.bench.clean()


def test_ctrl_c_ends_builds_and_leaves_nothing(scratch: Path, busybox_root: Path) -> None:
    shop = Shop(
        scratch,
        busybox_root,
        shop_of(
            a="FROM busybox\nRUN echo begun a; sleep 1000\n", b="FROM busybox\nRUN echo begun b; sleep 1000\n"
        ),
    )  # fmt: skip
    with shop.start("build") as child:
        assert child.stderr is not None
        begun = 0
        while begun < 2:
            line = child.stderr.readline()
            assert line, "it ended too early"
            begun += "] begun " in line
        for _ in range(3):  # impatient people press it again
            child.send_signal(signal.SIGINT)
        err = child.stderr.read()
        assert child.stdout is not None and child.stdout.read() == ""
    assert child.returncode == 130 and "Traceback" not in err
    assert shop.bench.clean()


@pytest.mark.parametrize(
    "build,message",
    [
        ("network: nonesuch", "a build has no network 'nonesuch'"),
        ("platforms: [linux/s390x]", "binfmt_misc"),
        ("target: nope", "there is no stage 'nope'"),
        ("ssh: [default]", "SSH_AUTH_SOCK is not set"),
        ("additional_contexts: {x: 'service:other'}", "builds with the image of 'other', which is not built"),
        ("context: /nonexistent", "is not a directory"),
    ],
)
def test_what_cannot_be_done_is_said(scratch: Path, busybox_root: Path, build: str, message: str) -> None:
    shop = Shop(
        scratch,
        busybox_root,
        "name: shop\nservices:\n  other: {image: x}\n  a:\n    build:\n"
        f"      dockerfile_inline: \"FROM busybox\\nRUN true\\n\"\n      {build}\n",
    )  # fmt: skip
    code, _, err = shop.run("build", "a")
    assert code != 0 and message in err and "Traceback" not in err, err


def test_flags_without_effect_are_accepted_and_named(scratch: Path, busybox_root: Path) -> None:
    shop = Shop(scratch, busybox_root, shop_of(a="FROM busybox\nRUN true\n"))
    code, _, err = shop.run(
        "build", "--builder", "x", "--provenance", "true", "--sbom=true", "--compress", "--force-rm",
        "--no-rm", "--parallel", "--progress", "plain", "-m", "512m", "a",
    )  # fmt: skip
    assert code == 0 and "--builder x is passed over" in err and "no attestations are made" in err
    code, _, err = shop.run("build", "-m", "lots")
    assert code != 0 and "invalid --memory" in err
    code, _, err = shop.run("build", "nosuch")
    assert code != 0 and "nosuch" in err
