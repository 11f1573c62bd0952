"""However a command ends, the person sees a sentence and the caller an exit code, never a traceback."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from compose.cli import _run, main, report
from compose.errors import ComposeError, FileInvalid, Several, Where
from runtime.errors import CommandNotFound

ROOT = Path(__file__).parents[2]


def told(failure: BaseException, capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    code = report.error(failure)
    out, err = capsys.readouterr()
    assert out == ""
    return code, err


def test_an_error_has_its_place_and_its_hint(capsys: pytest.CaptureFixture[str]) -> None:
    failure = FileInvalid(
        "service 'web' joins network 'fronted', which is not defined",
        hint="did you mean 'frontend'?",
        where=Where("compose.yaml", 14, 9),
    )
    assert told(failure, capsys) == (
        1,
        (
            "error: service 'web' joins network 'fronted', which is not defined\n"
            "  at compose.yaml:14:9\nhint: did you mean 'frontend'?\n"
        ),
    )


def test_the_path_in_the_file_stands_before_the_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    assert told(ComposeError("must be a number", path="services.web.scale"), capsys)[1] == (
        "error: services.web.scale: must be a number\n"
    )


def test_every_one_of_several_errors_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    failure = Several([ComposeError("one"), ComposeError("two", hint="try")])
    assert told(failure, capsys) == (1, "error: one\nerror: two\nhint: try\n")
    group = ExceptionGroup("teardown", [ComposeError("one"), CommandNotFound("two")])
    assert told(group, capsys) == (127, "error: one\nerror: two\n")


def test_errors_of_the_runtime_keep_their_exit_code(capsys: pytest.CaptureFixture[str]) -> None:
    assert told(CommandNotFound("no 'bash'", hint="try sh"), capsys) == (
        127,
        "error: no 'bash'\nhint: try sh\n",
    )


def test_an_error_of_the_system_names_the_file(capsys: pytest.CaptureFixture[str]) -> None:
    failure = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/data/x")
    assert told(failure, capsys) == (1, "error: /data/x: No space left on device\n")


@pytest.fixture
def raising(monkeypatch: pytest.MonkeyPatch) -> list[BaseException]:
    """What the verb ``version`` raises instead of printing."""
    import compose.cli.version

    chosen: list[BaseException] = []

    def run(scope: object) -> int:
        raise chosen[0]

    monkeypatch.setattr(compose.cli.version, "run", run)
    return chosen


@pytest.mark.parametrize(
    ("failure", "code", "words"),
    [
        (KeyboardInterrupt(), 130, ""),
        (ComposeError("no"), 1, "error: no"),
        (CommandNotFound("no"), 127, "error: no"),
        (PermissionError(errno.EACCES, "Permission denied", "/x"), 1, "error: /x: Permission denied"),
        (
            ZeroDivisionError("division by zero"),
            1,
            "error: ZeroDivisionError: division by zero\nhint: this is a defect",
        ),
        (UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte"), 1, "error: 'utf-8' codec"),
        (ExceptionGroup("several", [ComposeError("a"), OSError("b")]), 1, "error: a\nerror: b"),
    ],
)
def test_whatever_is_raised_becomes_a_sentence(
    failure: BaseException,
    code: int,
    words: str,
    raising: list[BaseException],
    capsys: pytest.CaptureFixture[str],
) -> None:
    raising.append(failure)
    assert main(["version"]) == code
    out, err = capsys.readouterr()
    assert out == "" and err.startswith(words) and "Traceback" not in err


def test_a_defect_can_be_looked_at(raising: list[BaseException], monkeypatch: pytest.MonkeyPatch) -> None:
    raising.append(ZeroDivisionError("x"))
    monkeypatch.setenv("PYCOMPOSE_DEBUG", "1")
    with pytest.raises(ZeroDivisionError):
        main(["version"])


def test_another_system_is_told_what_is_needed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    assert main(["up"]) == 1
    assert capsys.readouterr().err == (
        "error: pycompose needs Linux: it makes containers out of kernel namespaces\n"
    )


def python(code: str, **settings: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **settings}
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=False
    )


def test_a_reader_that_goes_away_is_no_traceback() -> None:
    code = (
        "import os, sys; from compose.cli import main; r, w = os.pipe(); os.close(r); os.dup2(w, 1); "
        "sys.exit(main(['schema']))"
    )
    done = python(code)
    assert (done.returncode, done.stderr) == (141, "")


def test_python_m_compose_is_pycompose() -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-m", "compose", "version"],
        capture_output=True,
        text=True,
        env=environment,
        check=True,
    )
    assert done.stdout.startswith("pycompose version ")


@pytest.mark.parametrize(
    "argv", [["ps"], ["exec", "web", "true"], ["logs"], ["port", "web", "80"], ["config", "-q"]]
)
def test_reading_verbs_import_nothing_heavy(argv: list[str], tmp_path: Path) -> None:
    """A warm ``ps`` or ``exec`` pays for neither typer, YAML, schema, graph nor the frozen nouns."""
    (tmp_path / "compose.yaml").write_text("services: {web: {image: busybox}}")
    code = f"""
import contextlib, io, os, sys
os.chdir({str(tmp_path)!r})
from compose.cli import main
with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
    main({argv!r})
heavy = {{"typer", "yaml", "jsonschema_rs", "networkx", "asyncio", "rich", "compose.model.service"}}
print(sorted(heavy & set(sys.modules)))
"""
    settings = {"PYCOMPOSE_RUN": str(tmp_path / "run"), "PYCOMPOSE_DATA": str(tmp_path / "data")}
    python(code, **settings)  # the first call fills the cache
    assert python(code, **settings).stdout == "[]\n"


def test_the_small_front_takes_a_plain_line_without_typer() -> None:
    done = python(
        "import sys; from compose.cli import main; main(['version']); print('typer' in sys.modules)"
    )
    assert done.stdout.endswith("False\n")
    assert _run(["version"]) == 0
