"""The order to stop, heard by every thread of a build.

Comes in:  whoever wants no more: a failed stage, Ctrl-C.
Goes out:  a descriptor that can be polled, a check that raises.
"""

from __future__ import annotations

import os

from runtime.errors import BuildFailed


class Halted(BuildFailed):
    """This part of a build was given up because another failed or the user stopped it."""


class Halt:
    """Set once, never taken back. A context manager that closes its descriptor."""

    def __init__(self) -> None:
        self.fd = os.eventfd(0, os.EFD_CLOEXEC)
        self.on = False

    def set(self) -> None:
        """Tell everyone to stop."""
        self.on = True
        os.eventfd_write(self.fd, 1)

    def check(self) -> None:
        """Raise Halted when it is time."""
        if self.on:
            raise Halted("the build was stopped")

    def __enter__(self) -> Halt:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self.fd)
