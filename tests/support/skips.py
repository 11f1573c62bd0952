"""In CI a privileged test that is skipped was not tested: the session fails. A missing peer is no such skip.

Comes in:  reports of tests, as a pytest plugin.
Goes out:  exit code 1 and the list of what was skipped.
Not here:  whether a program is there (programs).
"""

from __future__ import annotations

import os
from collections.abc import Generator

import pytest

SKIPPED = pytest.StashKey[list[str]]()


class PeerMissing(pytest.skip.Exception):
    """A comparison with a program that is optional and not installed."""

    __module__ = "builtins"  # shown without a module, as pytest's own


def counted() -> bool:
    """Whether a skip is a failure here: in CI, where privileges are required."""
    return os.environ.get("CI") == "true" and os.environ.get("PYCOMPOSE_REQUIRE_ROOT") == "1"


def pytest_configure(config: pytest.Config) -> None:
    config.stash[SKIPPED] = []


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.skipped and not hasattr(report, "wasxfail") and item.get_closest_marker("root"):
        peer = call.excinfo is not None and isinstance(call.excinfo.value, PeerMissing)
        if not peer:
            item.config.stash[SKIPPED].append(item.nodeid)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """A module that skips itself may hold privileged tests; nobody can tell."""
    report = yield
    if report.skipped:
        collector.config.stash[SKIPPED].append(report.nodeid)
    return report


@pytest.hookimpl(tryfirst=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    if counted() and session.config.stash[SKIPPED] and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    if counted() and config.stash[SKIPPED]:
        terminalreporter.section("privileged tests were skipped, which CI counts as a failure", red=True)
        for name in config.stash[SKIPPED]:
            terminalreporter.line(name)
