"""Talk to the person: errors, warnings, colours, yes-or-no questions.

Comes in:  exceptions of compose, runtime and netns; texts.
Goes out:  lines on standard error. Data goes to standard output elsewhere; nothing else prints errors.
Not here:  progress (``progress``), tables (``table``).
"""

import os
import sys
from typing import Any, TextIO

RED, YELLOW, BOLD, DIM, RESET = "\033[31m", "\033[33m", "\033[1m", "\033[2m", "\033[0m"
_mode = "auto"


def choose_ansi(mode: str) -> None:
    """Set what ``--ansi`` or COMPOSE_ANSI asks for: "never", "always" or "auto"."""
    global _mode
    _mode = mode


def colourful(stream: TextIO) -> bool:
    """Whether control characters may be written to ``stream``. Source: no-color.org."""
    if _mode != "auto":
        return _mode == "always"
    if os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
        return False
    return stream.isatty()


def paint(text: str, colour: str, stream: TextIO) -> str:
    """``text`` in ``colour`` where ``stream`` shows colours."""
    return f"{colour}{text}{RESET}" if colourful(stream) else text


def say(text: str) -> None:
    """One line of talk on standard error."""
    print(text, file=sys.stderr, flush=True)


def warn(text: str, *, hint: str = "", where: object = None) -> None:
    """One warning on standard error."""
    say(f"{paint('warning:', YELLOW, sys.stderr)} {text}")
    if where:
        say(f"  at {where}")
    if hint:
        say(f"hint: {hint}")


def error(failure: BaseException) -> int:
    """Print ``failure`` with its place and hint, every one of a group; give the exit code."""
    parts = getattr(failure, "errors", None) or getattr(failure, "exceptions", None)
    if isinstance(parts, list | tuple) and parts:
        return max([error(part) for part in parts if isinstance(part, BaseException)])
    say(f"{paint('error:', RED, sys.stderr)} {_message(failure)}")
    if where := getattr(failure, "where", None):
        say(f"  at {where}")
    if hint := getattr(failure, "hint", ""):
        say(f"hint: {hint}")
    code: Any = getattr(failure, "exit_code", 1)
    return int(code)


def _message(failure: BaseException) -> str:
    if isinstance(failure, OSError) and failure.strerror:
        return f"{failure.filename}: {failure.strerror}" if failure.filename else failure.strerror
    path = getattr(failure, "path", "")
    text = getattr(failure, "message", "") or str(failure) or type(failure).__name__
    return f"{path}: {text}" if path and path not in text else text


def ask(question: str) -> bool:
    """Ask on the terminal, yes or no, no by default; without a terminal the answer is no."""
    if not sys.stdin.isatty():
        return False
    print(f"{question} [y/N] ", end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip().lower() in ("y", "yes")
