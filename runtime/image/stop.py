"""The order to give up, heard by every thread of a pull or a push.

Comes in:  whoever wants no more: a layer that failed, Ctrl-C.
Goes out:  a check that raises, a sleep that ends early, calls that wake threads which wait for the network.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, wait
from typing import Any

from runtime.errors import ImageError


class Stopped(ImageError):
    """This part was given up because another one failed or the user stopped it."""


class Stop:
    """Set once, never taken back. outer: setting that one sets this one too."""

    def __init__(self, outer: Stop | None = None) -> None:
        self._event = threading.Event()
        self._lock = threading.Lock()
        self._calls: list[Callable[[], object]] = []
        if outer is not None:
            outer.calls(self.set)

    def calls(self, call: Callable[[], object]) -> None:
        """Have ``call`` called when it is time; at once when that is over."""
        with self._lock:
            if not self._event.is_set():
                self._calls.append(call)
                return
        call()

    def set(self) -> None:
        """Tell everyone to give up."""
        with self._lock:
            self._event.set()
            calls, self._calls = self._calls, []
        for call in calls:
            call()

    def check(self) -> None:
        """Raise Stopped when it is time."""
        if self._event.is_set():
            raise Stopped("it was stopped")

    def sleep(self, seconds: float) -> None:
        """Sleep, or raise Stopped as soon as it is time."""
        if self._event.wait(seconds):
            raise Stopped("it was stopped")


def gather(stop: Stop, jobs: Sequence[Future[Any]]) -> None:
    """Wait for ``jobs``; raise the first error that is more than having been stopped.

    An interruption of the waiting, such as Ctrl-C, sets ``stop`` and goes on up.
    """
    try:
        wait(jobs)
    except BaseException:
        stop.set()
        raise
    errors = [error for job in jobs if (error := job.exception()) is not None]
    errors.sort(key=lambda error: isinstance(error, Stopped))
    if errors:
        raise errors[0]
