"""The command line: ``pycompose``, verbs and flags as docker compose's.

Comes in:  the words of the command line, the environment.
Goes out:  an exit code; data on standard output, talk on standard error; never a traceback.
Open next: ``verbs`` (the list), ``options`` (how flags are declared), ``scope`` (what all verbs share).
"""

import gc
import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from compose.cli.parse import Invocation
    from compose.cli.scope import Scope

INTERRUPTED = 130


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line and give its exit code. The console script ``pycompose`` calls this."""
    gc.set_threshold(50_000, 20, 20)  # what is imported stays: no search for cycles in it
    from compose.cli import report

    words = list(sys.argv[1:] if argv is None else argv)
    if sys.platform != "linux":
        report.say("error: pycompose needs Linux: it makes containers out of kernel namespaces")
        return 1
    try:
        return _run(words)
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # whoever read our output has gone; keep the interpreter from flushing into the void at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except PermissionError as failure:
        return _not_permitted(failure)
    except (OSError, UnicodeError) as failure:
        return report.error(failure)
    except Exception as failure:
        # errors of compose, runtime and netns carry a hint; anything else is a defect, told in one line
        if not hasattr(failure, "hint") and not isinstance(failure, ExceptionGroup):
            return _defect(failure)
        return report.error(failure)


def _run(words: list[str]) -> int:
    from compose.cli import settings
    from compose.cli.parse import Invocation
    from compose.cli.scope import Scope
    from compose.cli.verbs import verb

    invocation = None if "_PYCOMPOSE_COMPLETE" in os.environ else _plain(words)
    if invocation is None:
        from compose.cli.app import read

        answer = read(words)
        if not isinstance(answer, Invocation):
            return answer
        invocation = answer
    found = verb(invocation.verb)
    assert found is not None
    invocation.shared["dry_run"] |= invocation.values.pop("dry_run")
    settings.adopt(invocation.shared)
    scope = Scope(**invocation.shared)
    try:
        return found.run(scope, **invocation.values)
    except Exception as failure:
        _locate(scope, failure)
        raise
    finally:
        sys.stdout.flush()


def _locate(scope: "Scope", failure: Exception) -> None:
    """Tell the place in the files, and the variables, of what an error after the load is about."""
    from compose.errors import ComposeError, Several

    parts = failure.errors if isinstance(failure, Several) else (failure,)
    wanted = [one for one in parts if isinstance(one, ComposeError) and one.path and one.where is None]
    if not wanted or "-" in scope.files or not scope.was_loaded:
        return
    from compose.load import origin, sources

    for one in wanted:
        if step := origin.locate(scope.request(), one.path):
            one.where = step.place
            sources.add(one, sources.sentence(step.variables))


def _plain(words: list[str]) -> "Invocation | None":
    """The small front: an Invocation for a plain and correct command line, else None."""
    from compose.cli.options import parameters
    from compose.cli.parse import Invocation, NotPlain, parse, split
    from compose.cli.scope import Scope
    from compose.cli.verbs import verb

    try:
        if words in (["--version"], ["-v"]):
            words = ["version"]
        shared, name, rest = split(parameters(Scope.__init__), words)
        found = verb(name)
        if found is None:
            return None
        values = parse(found.parameters, rest, interspersed=found.interspersed)
    except NotPlain:
        return None
    return Invocation(shared, found.name, values)


def _not_permitted(failure: PermissionError) -> int:
    from compose.cli import report

    code = report.error(failure)
    if os.geteuid() != 0:
        report.say("hint: what root runs and stores is shown to root only; run it with sudo")
    return code


def _defect(failure: Exception) -> int:
    """A mistake of ours: one line for the user, the whole story where PYCOMPOSE_DEBUG asks for it."""
    from compose.cli import report

    if os.environ.get("PYCOMPOSE_DEBUG"):
        raise failure
    report.say(f"error: {type(failure).__name__}: {failure}")
    report.say("hint: this is a defect of pycompose; PYCOMPOSE_DEBUG=1 shows where it happened")
    return 1
