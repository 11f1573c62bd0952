"""What a child of a test does is what the test does: outcomes, classes and one traceback."""

from __future__ import annotations

import os
import signal
import socket
from pathlib import Path

import pytest

from tests.support.children import Child, Died, in_child

REPOSITORY = Path(__file__).parents[2]
HERE = """
import pytest
from tests.support import children
from tests.support.children import Child, Died, in_child

def pytest_configure(config):
    config.pluginmanager.register(children)

@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem):
    in_child(lambda: in_child(pyfuncitem.obj))
    return True
"""


@pytest.fixture
def session(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """A session whose tests run two children deep, as those marked root do."""
    monkeypatch.setenv("PYTHONPATH", str(REPOSITORY))
    monkeypatch.delenv("CI", raising=False)
    pytester.makeconftest(HERE)
    return pytester


def run(session: pytest.Pytester, source: str, *words: str) -> pytest.RunResult:
    session.makepyfile(test_it="import os, pytest, socket\n" + source)
    return session.runpytest_subprocess("-ra", "-p", "no:cacheprovider", *words)


def test_a_skip_is_a_skip_with_its_reason_and_place(session: pytest.Pytester) -> None:
    done = run(session, "def test_it():\n    pytest.skip('no such program')\n")
    done.assert_outcomes(skipped=1)
    done.stdout.fnmatch_lines(["SKIPPED [[]1] test_it.py:3: no such program"])
    assert "Traceback" not in done.stdout.str() and "Pickl" not in done.stdout.str()


def test_a_skip_in_a_function_of_the_test_names_that_place(session: pytest.Pytester) -> None:
    done = run(session, "def asks():\n    pytest.skip('why')\ndef test_it():\n    asks()\n")
    done.stdout.fnmatch_lines(["SKIPPED [[]1] test_it.py:3: why"])


def test_an_xfail_is_an_xfail(session: pytest.Pytester) -> None:
    done = run(session, "def test_it():\n    pytest.xfail('not yet')\n")
    done.assert_outcomes(xfailed=1)
    done.stdout.fnmatch_lines(["XFAIL test_it.py::test_it - *not yet"])


def test_a_mark_of_xfail_sees_the_class_of_what_was_raised(session: pytest.Pytester) -> None:
    mark = "@pytest.mark.xfail(raises=KeyError, strict=True, reason='r')\n"
    bodies = {"one": "{}['a']", "two": "[][1]", "three": "pass"}
    source = "".join(f"{mark}def test_{name}():\n    {body}\n" for name, body in bodies.items())
    run(session, source).assert_outcomes(xfailed=1, failed=2)


def test_a_failure_is_its_message_alone(session: pytest.Pytester) -> None:
    done = run(session, "def test_it():\n    pytest.fail('this went wrong', pytrace=False)\n")
    done.assert_outcomes(failed=1)
    lines = done.stdout.lines
    at = next(n for n, line in enumerate(lines) if line.startswith("____"))
    assert lines[at + 1] == "this went wrong" and lines[at + 2].startswith("====")


def test_an_assertion_keeps_its_rewritten_text_and_has_one_traceback(session: pytest.Pytester) -> None:
    done = run(
        session, "def double(n):\n    return 2 * n\ndef test_it():\n    assert double(2) == 5, 'a sum'\n"
    )
    done.assert_outcomes(failed=1)
    done.stdout.fnmatch_lines(
        [
            "    def test_it():",
            ">       assert double(2) == 5, 'a sum'",
            "E       AssertionError: a sum",
            "E       assert 4 == 5",
            "E        +  where 4 = double(2)",
            "test_it.py:5: AssertionError",
            "FAILED test_it.py::test_it - AssertionError: a sum",
        ]
    )
    text = done.stdout.str()
    assert text.count("assert double(2)") == 1 and "children.py" not in text and "Traceback" not in text


def test_the_style_of_tracebacks_is_the_session_s(session: pytest.Pytester) -> None:
    source = "def test_it():\n    there = 42\n    assert there == 43\n"
    run(session, source, "--tb=long", "--showlocals").stdout.fnmatch_lines(["there      = 42"])
    done = run(session, source, "--tb=short").stdout
    done.fnmatch_lines(["test_it.py:4: in test_it", "    assert there == 43"])


@pytest.mark.parametrize(
    "source,line",
    [
        ("    class Odd(Exception): pass\n    raise Odd('local class')", "E       *Odd: local class"),
        ("    raise ValueError(socket.socket())", "E       ValueError: <socket.socket*"),
        ("    raise ExceptionGroup('two', [OSError(2, 'gone'), ValueError('v')])", "*ExceptionGroup: two*"),
        ("    raise SystemExit('enough')", "E       SystemExit: enough"),
    ],
)
def test_an_exception_that_does_not_pickle_is_shown_once(
    session: pytest.Pytester, source: str, line: str
) -> None:
    done = run(session, f"def test_it():\n{source}\n")
    done.assert_outcomes(failed=1)
    done.stdout.fnmatch_lines([line])
    text = done.stdout.str()
    assert "PicklingError" not in text and "children.py" not in text
    assert text.count("raise ") == 1


def test_a_chain_of_exceptions_is_shown_whole(session: pytest.Pytester) -> None:
    body = ["try:", "    {}['key']", "except KeyError as e:", "    raise ValueError('v') from e"]
    source = "\n    ".join(["def test_it():", *body]) + "\n"
    done = run(session, source).stdout
    done.fnmatch_lines(
        [
            "E           KeyError: 'key'",
            "The above exception was the direct cause*",
            "E           ValueError: v",
        ]
    )


def test_printed_text_is_captured(session: pytest.Pytester) -> None:
    done = run(session, "def test_it():\n    print('said before')\n    assert 0\n").stdout
    done.fnmatch_lines(["*Captured stdout call*", "said before"])


def test_a_child_that_dies_says_of_what(session: pytest.Pytester) -> None:
    done = run(session, "def test_it():\n    os.kill(os.getpid(), 11)\ndef test_two():\n    os._exit(3)\n")
    done.assert_outcomes(failed=2)
    done.stdout.fnmatch_lines(
        ["*died before it could report: SIGSEGV", "*died before it could report: exit code 3"]
    )


# --- without a plugin around


class Wanting(OSError):
    """An error such as ours are: keywords, and a message made of them."""

    def __init__(self, *, path: str) -> None:
        super().__init__(2, "No such file", path)
        self.hint = f"make {path}"


class Twice(Exception):
    """Unpickled the usual way its text would be another one."""

    def __init__(self, word: str) -> None:
        super().__init__(f"no {word}")


def test_values_come_back() -> None:
    assert in_child(lambda: {"pid": os.getpid()})["pid"] != os.getpid()


def test_exceptions_come_back_as_they_were() -> None:
    def wanting() -> None:
        raise Wanting(path="/x")

    def twice() -> None:
        raise Twice("luck")

    with pytest.raises(Wanting) as one:
        in_child(wanting)
    assert (one.value.errno, one.value.filename, one.value.hint) == (2, "/x", "make /x")
    with pytest.raises(Twice, match=r"^no luck$"):
        in_child(twice)


def test_a_class_that_nobody_can_import_stays_what_it_derives_from() -> None:
    def body() -> None:
        class Local(FileNotFoundError):
            pass

        raise Local(2, "gone", "/y")

    with pytest.raises(FileNotFoundError) as caught:
        in_child(body)
    assert type(caught.value).__name__ == "Local" and caught.value.errno == 2


def test_groups_causes_and_contexts_come_along() -> None:
    def body() -> None:
        try:
            raise Twice("one")
        except Twice as first:
            raise ExceptionGroup("many", [Wanting(path="/z"), ValueError(socket.socket)]) from first

    with pytest.raises(ExceptionGroup) as caught:
        in_child(body)
    assert [type(one) for one in caught.value.exceptions] == [Wanting, ValueError]
    assert isinstance(caught.value.__cause__, Twice)


def test_an_interrupt_is_an_interrupt() -> None:
    with pytest.raises(KeyboardInterrupt):
        in_child(lambda: signal.raise_signal(signal.SIGINT))


def test_several_children_run_at_once() -> None:
    reader, writer = os.pipe()
    asks = Child(lambda: os.read(reader, 1))
    answers = Child(lambda: os.write(writer, b"x"))
    assert (asks.outcome(), answers.outcome()) == (b"x", 1)


def test_a_child_that_kills_itself_is_told_by_its_signal() -> None:
    with pytest.raises(Died) as caught:
        in_child(lambda: os.kill(os.getpid(), signal.SIGKILL))
    assert caught.value.code == -signal.SIGKILL


def test_a_value_that_does_not_pickle_is_an_error() -> None:
    with pytest.raises(Exception, match="pickle"):
        in_child(lambda: lambda: None)
