"""Build checks: each case in tests/dockerfiles/checks gives its findings, in BuildKit's words.

A case is a text archive as those of the corpus; ``findings`` is a JSON list of [rule, line, message],
``options`` has args, target, a part of the error, whether the file wants a build to fail, and why it differs
from the reference where it does.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import pytest

from runtime.errors import ImageNotFound
from runtime.image.dockerfile import ignore
from runtime.image.dockerfile.lint import Report, lint
from runtime.image.dockerfile.lint_text import shown
from runtime.image.manifest import ImageConfig
from tests.support.programs import reference

ROOT = Path(__file__).parent.parent / "dockerfiles/checks"
CASES = sorted(path.stem for path in ROOT.glob("*.check"))
DOCKER = reference("docker")
WORK = os.environ.get("PYCOMPOSE_BUILDKIT_WORK", tempfile.gettempdir())
BUSYBOX = ImageConfig(env=("PATH=/bin",), cmd=("sh",))


def read(name: str) -> dict[str, str]:
    parts = re.split(r"(?m)^-- (.+) --\n", (ROOT / f"{name}.check").read_text())
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def options(case: dict[str, str]) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(case.get("options", "{}"))
    return found


def ours(case: dict[str, str]) -> Report:
    given, rules = options(case), case.get(".dockerignore")
    return lint(
        case["Dockerfile"],
        args=given.get("args", {}),
        target=given.get("target", ""),
        ignore=ignore.read(rules) if rules is not None else None,
        base=lambda reference, platform: BUSYBOX,
    )


def theirs(case: dict[str, str], place: Path) -> dict[str, Any]:
    """What ``docker build --call=lint`` says; {} when it says nothing but an error."""
    given = options(case)
    for name in set(case) - {"options", "findings"}:
        (place / name).write_text(case[name])
    words = [f"--build-arg={key}={value}" for key, value in given.get("args", {}).items()]
    words += [f"--target={given['target']}"] if "target" in given else []
    ran = subprocess.run(
        [*shlex.split(DOCKER), "build", "--call=lint,format=json", *words, str(place)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    answer: dict[str, Any] = json.loads(ran.stdout) if ran.stdout.startswith("{") else {}
    return answer


def told(answer: dict[str, Any]) -> list[list[Any]]:
    found = answer.get("warnings") or []
    return sorted([w["ruleName"], w["location"]["ranges"][0]["start"]["line"], w["detail"]] for w in found)


@pytest.mark.parametrize("name", CASES)
def test_a_case_gives_its_findings(name: str) -> None:
    case = read(name)
    report, wanted = ours(case), options(case)
    assert sorted([f.rule, f.line, f.message] for f in report.findings) == json.loads(case["findings"])
    assert wanted.get("error", "") in (report.error.message if report.error else "")
    assert bool(report.error) == ("error" in wanted)
    assert bool(report.violation()) == wanted.get("fatal", False)
    assert [f.line for f in report.findings] == sorted(f.line for f in report.findings)


@pytest.mark.skipif(not DOCKER, reason="PYCOMPOSE_BUILDKIT names no docker")
@pytest.mark.parametrize("name", CASES)
def test_a_real_buildkit_finds_the_same(name: str) -> None:
    case = read(name)
    if why := options(case).get("differs"):
        pytest.skip(why)
    with tempfile.TemporaryDirectory(dir=WORK) as place:
        answer = theirs(case, Path(place))
    assert told(answer) == json.loads(case["findings"])
    assert ("buildError" in answer or not answer) == bool({"error", "fatal"} & set(options(case)))


def test_an_unknown_base_says_nothing_of_variables() -> None:
    report = lint("FROM elsewhere\nCOPY $a /\nCMD ls\n")
    assert [finding.rule for finding in report.findings] == ["JSONArgsRecommended"]


def test_a_base_that_cannot_be_had_is_the_error() -> None:
    def nowhere(reference: str, platform: str) -> ImageConfig:
        raise ImageNotFound(f"no image {reference}")

    report = lint("FROM elsewhere\nCMD ls\n", base=nowhere)
    assert report.error is not None and report.error.message == "no image elsewhere"
    assert not report.clean()


def test_triggers_of_the_base_image_run_where_they_are_inherited() -> None:
    base = ImageConfig(on_build=("CMD a", "WORKDIR rel"), shell=("/bin/sh",))
    report = lint("FROM x\nCMD ls\n", base=lambda reference, platform: base)
    assert [(f.rule, f.line) for f in report.findings] == [
        ("WorkdirRelativePath", 1),
        ("MultipleInstructionsDisallowed", 1),
    ]


def test_the_text_of_a_report_is_dockers() -> None:
    text = "FROM busybox\nCMD ls\nWORKDIR a\n\n"
    report = lint(text, base=lambda reference, platform: BUSYBOX)
    assert shown(report, text, "web/Dockerfile").splitlines() == [
        "Check complete, 2 warnings have been found!",
        "",
        "WARNING: JSONArgsRecommended - https://docs.docker.com/go/dockerfile/rule/json-args-recommended/",
        "JSON arguments recommended for CMD to prevent unintended behavior related to OS signals",
        "web/Dockerfile:2",
        "--------------------",
        "   1 |     FROM busybox",
        "   2 | >>> CMD ls",
        "   3 |     WORKDIR a",
        "   4 |",
        "--------------------",
        "",
        "WARNING: WorkdirRelativePath - https://docs.docker.com/go/dockerfile/rule/workdir-relative-path/",
        'Relative workdir "a" can have unexpected results if the base image changes',
        "web/Dockerfile:3",
        "--------------------",
        "   1 |     FROM busybox",
        "   2 |     CMD ls",
        "   3 | >>> WORKDIR a",
        "   4 |",
        "   5 |",
        "--------------------",
    ]


def test_a_clean_file_and_a_broken_one_as_text() -> None:
    assert shown(lint("FROM a\n"), "FROM a\n", "D") == "Check complete, no warnings found.\n"
    said = shown(lint("FRM a\n"), "FRM a\n", "D").splitlines()
    assert said[:2] == ["ERROR: Dockerfile:1: unknown instruction 'FRM'", "D:1"]
    assert said[-1] == "hint: did you mean FROM?"


def test_every_rule_of_the_reference_is_known() -> None:
    from runtime.image.dockerfile.rules import RULES

    seen = {rule for name in CASES for rule, _, _ in json.loads(read(name)["findings"])}
    assert seen == set(RULES) - {"InvalidBaseImagePlatform"}
