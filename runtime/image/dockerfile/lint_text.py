"""A Report of ``build --check`` as text, in the shape that ``docker build --check`` prints.

Comes in:  a Report, the text it is about, the path to show.
Goes out:  lines.
Not here:  finding anything (lint).
"""

from __future__ import annotations

from collections.abc import Iterator

from runtime.errors import ImageError
from runtime.image.dockerfile.errors import DockerfileInvalid
from runtime.image.dockerfile.lint import Report

_AROUND = 2  # lines shown before and behind


def shown(report: Report, text: str, path: str) -> str:
    """The whole report; ends in a line end."""
    return "".join(f"{line}\n" for line in _lines(report, text.removeprefix("\ufeff").split("\n"), path))


def summary(report: Report) -> str:
    """One line: how many warnings."""
    count = len(report.findings)
    if count == 0:
        return "Check complete, no warnings found."
    return f"Check complete, {count} warning{'s have' if count > 1 else ' has'} been found!"


def _lines(report: Report, text: list[str], path: str) -> Iterator[str]:
    if report.error is None or report.findings:
        yield summary(report)
    for finding in report.findings:
        url = f" - {finding.url()}" if finding.url() else ""
        yield from ("", f"WARNING: {finding.rule}{url}", finding.message)
        yield from _source(text, path, finding.line, finding.end)
    if report.error is not None:
        yield from _error(report.error, text, path, alone=not report.findings)
    elif report.violation():
        yield from ("", f"ERROR: {report.violation()}")


def _error(error: ImageError, text: list[str], path: str, *, alone: bool) -> Iterator[str]:
    if not alone:
        yield ""
    yield f"ERROR: {error.message}"
    if isinstance(error, DockerfileInvalid) and error.line:
        yield from _source(text, path, error.line, error.line)
    if error.hint:
        yield f"hint: {error.hint}"


def _source(text: list[str], path: str, first: int, last: int) -> Iterator[str]:
    """The lines concerned, marked, with their neighbours."""
    yield f"{path}:{first}"
    yield "-" * 20
    for number in range(max(1, first - _AROUND), min(len(text), last + _AROUND) + 1):
        mark = ">>>" if first <= number <= last else "   "
        yield f"{number:4} | {mark} {text[number - 1].rstrip()}".rstrip(" ")
    yield "-" * 20
