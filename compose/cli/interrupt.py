"""Ctrl-C that cannot be lost: Python drops a KeyboardInterrupt raised in a finalizer or a hook around fork.

Comes in:  SIGINT and SIGTERM.
Goes out:  KeyboardInterrupt, and ``count``: who waits for long compares it with what it has dealt with.
"""

from types import FrameType

count = 0


def handler(signum: int, frame: FrameType | None) -> None:
    """Count and raise KeyboardInterrupt, as ``signal.default_int_handler`` does."""
    global count
    count += 1
    raise KeyboardInterrupt
