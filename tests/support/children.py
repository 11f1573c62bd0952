"""Run the body of a test in a forked child, so that what happens there happens in the test.

Comes in:  a function without arguments; as a pytest plugin, the test that runs.
Goes out:  what the function returns, or the exception it raises: skip, xfail, failure, assertion or any
           other, of its own class. pytest reports it as the child saw it, with one traceback.
Not here:  namespaces (tests/conftest.py).
"""

from __future__ import annotations

import os
import pickle
import signal
import sys
import traceback
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from typing import Any, NoReturn

import pytest

REPORT = "_report_of_the_child"  # on an exception: what pytest shows of it
HEAP = 1 << 9  # Py_TPFLAGS_HEAPTYPE: a class made by a class statement (Include/object.h)
DEEP = 20  # causes of causes, groups in groups

_running: list[pytest.Item] = []  # the test that runs; a child inherits it


def in_child(body: Callable[[], Any]) -> Any:
    """Run ``body`` in a forked child; returns or raises what it does. What it returns must pickle."""
    return Child(body).outcome()


class Child:
    """A forked child that runs ``body`` from now on. Every child has to be asked for its outcome."""

    def __init__(self, body: Callable[[], Any]) -> None:
        reader, writer = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            os.close(reader)
            _run(body, writer)
        os.close(writer)
        self._reader = reader

    def outcome(self) -> Any:
        """What ``body`` returned or raised. Raises Died where the child could not tell."""
        with open(self._reader, "rb") as pipe:
            raw = pipe.read()
        status = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        if not raw:
            raise Died(status)
        answer = pickle.loads(raw)
        if isinstance(answer, Raised):
            raise answer.exception()
        return answer


class Died(pytest.fail.Exception):
    """A child ended before it could report. code: as of subprocess, negative for a signal."""

    __module__ = "builtins"  # shown without a module, as pytest's own

    def __init__(self, code: int) -> None:
        super().__init__(f"the child of the test died before it could report: {_end(code)}", pytrace=False)
        self.code = code


def _run(body: Callable[[], Any], writer: int) -> NoReturn:
    code = 1
    try:
        answer = _outcome(body)
        with open(writer, "wb") as pipe:
            pipe.write(answer)
        code = 0
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _end(code: int) -> str:
    """An exit code of subprocess in words; negative codes are signals."""
    return f"exit code {code}" if code >= 0 else signal.Signals(-code).name


def _outcome(body: Callable[[], Any]) -> bytes:
    try:
        return pickle.dumps(body())
    except BaseException as error:
        return pickle.dumps(Raised.of(error, report=_report(error)))


# --- an exception on its way


@dataclass(frozen=True, slots=True, kw_only=True)
class Raised:
    """An exception in parts that pickle, since many exceptions do not.

    kinds:  its class and those it derives from, as id, module and name. A fork has the classes of its parent
            at the same addresses, importable or not; of one that the child made only the bases are known.
    pickle: the whole exception, where that gives the same one again; empty otherwise.
    report: what pytest shows, None where no test runs. text: the child's traceback, for everybody else.
    """

    kinds: tuple[tuple[int, str, str], ...]
    args: tuple[Any, ...]
    state: dict[str, Any]
    pickle: bytes
    report: Any = None
    text: str = ""
    cause: Raised | None = None
    context: Raised | None = None
    members: list[Raised] = field(default_factory=list)

    @classmethod
    def of(cls, error: BaseException, *, report: Any = None, depth: int = 0) -> Raised:
        def further(other: BaseException | None) -> Raised | None:
            return None if other is None or depth > DEEP else cls.of(other, depth=depth + 1)

        members = error.exceptions if isinstance(error, BaseExceptionGroup) and depth <= DEEP else ()
        return cls(
            kinds=tuple(_key(one) for one in type(error).__mro__ if issubclass(one, BaseException)),
            args=tuple(_told(value) for value in error.args),
            state={name: _told(value) for name, value in _attributes(error).items() if name != REPORT},
            pickle=_whole(error),
            report=report,
            text="" if depth else "".join(traceback.format_exception(error)),
            cause=further(error.__cause__),
            context=None if error.__suppress_context__ else further(error.__context__),
            members=[cls.of(one, depth=depth + 1) for one in members],
        )

    def exception(self) -> BaseException:
        """The exception again, ``report`` on it."""
        error = pickle.loads(self.pickle) if self.pickle else self._rebuilt()
        if self.context:
            error.__context__ = self.context.exception()
        if self.cause:
            error.__cause__ = self.cause.exception()
        elif self.text and self.report is None:
            error.__cause__ = InTheChild(self.text)
        if self.report is not None:
            object.__setattr__(error, REPORT, self.report)  # frozen dataclasses are exceptions too
        return error

    def _rebuilt(self) -> BaseException:
        """Without __init__ and __new__ of its own class: nobody knows here what they want."""
        known = {_key(one): one for one in _below(BaseException)}
        base = next(known[key] for key in self.kinds if key in known)
        kind = base if self.kinds[0] in known else type(self.kinds[0][2].rpartition(".")[2], (base,), {})
        native = next(one for one in kind.__mro__ if not one.__flags__ & HEAP)
        if issubclass(kind, BaseExceptionGroup):
            error = native.__new__(kind, str(self.args[0]), [one.exception() for one in self.members])
        else:
            error = native.__new__(kind, *self.args)
            error.args = self.args
        for name, value in self.state.items():
            object.__setattr__(error, name, value)
        return error


class InTheChild(Exception):
    """The traceback of a child, as the cause of what it raised (as concurrent.futures does it)."""

    def __str__(self) -> str:
        return f"\n{self.args[0]}"


def _key(kind: type) -> tuple[int, str, str]:
    return id(kind), kind.__module__, kind.__qualname__


def _below(kind: type[BaseException]) -> set[type[BaseException]]:
    """``kind`` and everything derived from it."""
    return {kind}.union(*(_below(one) for one in kind.__subclasses__()))


def _attributes(error: BaseException) -> dict[str, Any]:
    """Its own attributes and those that C code keeps elsewhere."""
    kept = ("errno", "strerror", "filename", "filename2") if isinstance(error, OSError) else ()
    found = {name: getattr(error, name) for name in kept if getattr(error, name) is not None}
    return {**getattr(error, "__dict__", {}), **found}


def _whole(error: BaseException) -> bytes:
    """The exception pickled, or nothing where that loses or distorts something."""
    try:
        raw = pickle.dumps(error)
        again = pickle.loads(raw)
    except Exception:
        return b""
    same = type(again) is type(error) and again.args == error.args and str(again) == str(error)
    return raw if same and repr(again.__dict__.keys()) == repr(error.__dict__.keys()) else b""


def _travels(value: object) -> bool:
    try:
        pickle.loads(pickle.dumps(value))
    except Exception:
        return False
    return True


def _told(value: object) -> Any:
    """The value, or its text where it does not pickle."""
    return value if _travels(value) else repr(value)


# --- what pytest shows


def _report(error: BaseException) -> Any:
    """As pytest shows ``error`` in the test that runs; None where none runs. A skip: its place and reason."""
    earlier = getattr(error, REPORT, None)
    if earlier is not None or not _running:
        return earlier
    item, info = _running[-1], pytest.ExceptionInfo.from_exception(error)
    if isinstance(error, pytest.skip.Exception):
        last = list(info.traceback.filter(info))[-1]
        return str(last.path), last.lineno + 1, f"Skipped: {error.msg}"
    shown = item.repr_failure(info)
    return shown if _travels(shown) else str(shown)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    _running.append(item)
    try:
        return (yield)
    finally:
        _running.pop()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    shown = getattr(call.excinfo.value, REPORT, None) if call.excinfo else None
    if shown is not None:
        report.longrepr = shown
    return report
