"""A skipped privileged test fails a session of CI, a missing peer does not."""

from __future__ import annotations

from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
PLUGIN = """
from tests.support import skips

def pytest_configure(config):
    config.addinivalue_line("markers", "root: privileged")
    config.pluginmanager.register(skips)
"""
SKIPPED = """
import pytest
@pytest.mark.root
def test_privileged():
    pytest.skip("no such thing here")
"""
PEER = """
import pytest
from tests.support.skips import PeerMissing
@pytest.mark.root
def test_privileged():
    raise PeerMissing("not compared with podman")
def test_plain():
    pytest.skip("anybody's")
@pytest.mark.root
@pytest.mark.xfail(reason="not yet")
def test_expected():
    assert False
"""
MODULE = """
import pytest
pytest.importorskip("no_such_module_at_all")
"""


@pytest.mark.parametrize(
    "source,ci,required,code",
    [(SKIPPED, "true", "1", 1), (SKIPPED, "", "1", 0), (SKIPPED, "true", "", 0), (PEER, "true", "1", 0)],
)
def test_what_ci_makes_of_a_skip(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, source: str, ci: str, required: str, code: int
) -> None:
    monkeypatch.setenv("CI", ci)
    monkeypatch.setenv("PYCOMPOSE_REQUIRE_ROOT", required)
    monkeypatch.setenv("PYTHONPATH", str(REPOSITORY))
    pytester.makeconftest(PLUGIN)
    pytester.makepyfile(source)
    done = pytester.runpytest_subprocess("-q")
    assert done.ret == code
    said = "test_what_ci_makes_of_a_skip.py::test_privileged" in done.stdout.lines
    assert said == bool(code)


def test_a_module_that_skips_itself_fails_a_session_of_ci(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CI", "true")
    monkeypatch.setenv("PYCOMPOSE_REQUIRE_ROOT", "1")
    monkeypatch.setenv("PYTHONPATH", str(REPOSITORY))
    pytester.makeconftest(PLUGIN)
    pytester.makepyfile(MODULE, test_other="def test_other(): pass")
    assert pytester.runpytest_subprocess("-q").ret == 1
