"""The command ``pycompose``, and ``python -m compose``: Ctrl-C never shows a traceback.

The command is started isolated (``compose/launcher/pycompose``). ``python -m compose`` is not: it starts
itself anew, before anything is imported that a file of the working directory could stand in for.

While Python imports and while it ends, SIGINT and SIGTERM simply end the process; in between they are
KeyboardInterrupt, which the verbs handle, also where a shell started a background job with SIGINT ignored.
Standard streams that the caller has closed are the null device.
"""

import sys

_ISOLATED = "import sys; sys.path.append(sys.argv.pop(1)); from compose.__main__ import main; main()"
if __name__ == "__main__" and sys.executable and not sys.flags.isolated:
    from posix import execv  # built into the interpreter, unlike os

    _home = __file__.rpartition("/compose/")[0]
    execv(sys.executable, [sys.executable, "-I", "-c", _ISOLATED, _home, *sys.argv[1:]])

import os  # noqa: E402  only now: files of these names may stand in the working directory
import signal  # noqa: E402
from typing import NoReturn  # noqa: E402

if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def _open_closed_streams() -> None:
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # the lowest free number, as in dup(2)
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(number, "w" if number else "r", closefd=False))


def main() -> NoReturn:
    """Run the command line and end with its exit code."""
    from compose.cli import main as run
    from compose.cli.interrupt import handler

    _open_closed_streams()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, handler)
    try:
        code = run()
        sys.stdout.flush()
        sys.stderr.flush()
    except BrokenPipeError:
        code = 141  # whoever read our output has gone
    for number in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(number) is handler:
            signal.signal(number, signal.SIG_DFL)
    # The verbs have closed what they opened; Python would take 5 ms more to take itself apart.
    os._exit(code)


if __name__ == "__main__":
    main()
