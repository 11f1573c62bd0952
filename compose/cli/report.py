"""Talk to the person: errors, warnings, colours, yes-or-no questions; and the one way to standard output.

Comes in:  exceptions of compose, runtime and netns; texts.
Goes out:  talk on standard error, data on standard output, both harmless to a terminal (``harmless``).
           Nothing else in ``compose.cli`` prints but ``progress`` and what passes the output of programs.
Not here:  progress (``progress``), tables (``table``).
"""

import os
import sys
from typing import Any, TextIO

from compose.cli.harmless import escaped, laid_out, sentence

RED, YELLOW, BOLD, DIM, RESET = "\033[31m", "\033[33m", "\033[1m", "\033[2m", "\033[0m"
_mode = "auto"


def choose_ansi(mode: str) -> None:
    """Set what ``--ansi`` or COMPOSE_ANSI asks for: "never", "always" or "auto"."""
    global _mode
    _mode = mode


def colourful(stream: TextIO) -> bool:
    """Whether control characters may be written to ``stream``. Source: no-color.org."""
    if _mode == "never" or os.environ.get("NO_COLOR"):
        return False
    return _mode == "always" or (os.environ.get("TERM") != "dumb" and stream.isatty())


def always_ansi() -> bool:
    """Whether progress is to be drawn wherever it goes."""
    return _mode == "always"


def paint(text: str, colour: str, stream: TextIO) -> str:
    """``text`` in ``colour`` where ``stream`` shows colours."""
    return f"{colour}{text}{RESET}" if colourful(stream) else text


def say(text: str) -> None:
    """One line of talk on standard error."""
    write(sys.stderr, sentence(text) + "\n")


def tell(text: str) -> None:
    """One line of data on standard output."""
    write(sys.stdout, escaped(text) + "\n")


def put(text: str) -> None:
    """Lines of data that are laid out already, on standard output."""
    write(sys.stdout, laid_out(text), flush=False)


def clear() -> None:
    """Empty the terminal on standard output (ECMA-48, ED and CUP)."""
    write(sys.stdout, "\033[2J\033[H")


def raw(text: str) -> None:
    """A document for other programs: as it is, unless a terminal shows it."""
    write(sys.stdout, laid_out(text) if sys.stdout.isatty() else text, flush=False)


def write(stream: TextIO, text: str, *, flush: bool = True) -> None:
    """Write ``text``, which is harmless; what the terminal has no letters for is escaped."""
    try:
        stream.write(text)
    except UnicodeEncodeError:
        encoding = stream.encoding or "ascii"
        stream.write(text.encode(encoding, "backslashreplace").decode(encoding))
    if flush:
        stream.flush()


def _labelled(label: str, colour: str, text: str) -> None:
    write(sys.stderr, f"{paint(label, colour, sys.stderr)} {sentence(text)}\n")


def warn(text: str, *, hint: str = "", where: object = None) -> None:
    """One warning on standard error."""
    _labelled("warning:", YELLOW, text)
    if where:
        say(f"  at {escaped(str(where))}")
    if hint:
        say(f"hint: {hint}")


def error(failure: BaseException) -> int:
    """Print ``failure`` with its place and hint, every one of a group; give the exit code."""
    parts = getattr(failure, "errors", None) or getattr(failure, "exceptions", None)
    if isinstance(parts, list | tuple) and parts:
        return max([error(part) for part in parts if isinstance(part, BaseException)])
    _labelled("error:", RED, _message(failure))
    if where := getattr(failure, "where", None):
        say(f"  at {escaped(str(where))}")
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
    """Ask, yes or no; the answer is read from standard input whatever that is. Its end means no."""
    prompt(f"{question} [y/N] ", sys.stderr)
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def prompt(question: str, stream: TextIO | None = None) -> None:
    """Print ``question`` and stay behind it; on standard output unless ``stream`` says otherwise."""
    write(stream or sys.stdout, laid_out(question))
