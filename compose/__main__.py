"""The command ``pycompose``, and ``python -m compose``: Ctrl-C never shows a traceback.

While Python imports and while it ends, SIGINT and SIGTERM simply end the process; in between they are
KeyboardInterrupt, which the verbs handle. A caller's SIG_IGN (a background job of a shell) stays.
"""

import signal
import sys

_OURS = signal.default_int_handler
if signal.getsignal(signal.SIGINT) is _OURS:
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def main() -> int:
    """Run the command line and give the exit code."""
    from compose.cli import main as run

    for number in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, _OURS)
    try:
        return run()
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            if signal.getsignal(number) is _OURS:
                signal.signal(number, signal.SIG_DFL)


if __name__ == "__main__":
    sys.exit(main())
