"""Run the stages of a build side by side; the first that fails stops the others.

Comes in:  what builds a stage, which stages are needed.
Goes out:  their results; who needs another's waits for it.
Not here:  what a stage does (stage).
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection
from concurrent.futures import Future

from runtime.build.halt import Halt, Halted
from runtime.build.state import State

Job = Callable[[int], State]


class Crew:
    """One thread per stage. job: builds the stage of a number."""

    def __init__(self, job: Job, halt: Halt) -> None:
        self._job, self._halt = job, halt
        self._results: dict[int, Future[State]] = {}
        self._threads: list[threading.Thread] = []
        self._lock = threading.Lock()
        self._errors: list[BaseException] = []

    def result(self, number: int) -> State:
        """What stage ``number`` gives, waited for; it is begun when nobody has yet (ONBUILD may name stages
        that the file itself does not need). Raises Halted when it failed."""
        try:
            return self._begin(number).result()
        except BaseException as error:
            raise Halted("a stage that is needed failed") from error

    def _begin(self, number: int) -> Future[State]:
        with self._lock:
            if number not in self._results:
                self._results[number] = Future()
                thread = threading.Thread(target=self._one, args=(number,), name=f"stage {number}")
                self._threads.append(thread)
                thread.start()
            return self._results[number]

    def run(self, numbers: Collection[int]) -> None:
        """Build these stages. Raises what the first one that failed raised; KeyboardInterrupt stops all."""
        try:
            for number in numbers:
                self._begin(number)
            self._join()
        except BaseException:
            self._halt.set()
            patiently(self._join)
            raise
        if self._errors:
            raise next((e for e in self._errors if not isinstance(e, Halted)), self._errors[0])

    def _join(self) -> None:
        for thread in self._threads:  # grows while it is walked through
            thread.join()

    def _one(self, number: int) -> None:
        try:
            state = self._job(number)
        except BaseException as error:
            self._errors.append(error)
            self._halt.set()
            self._results[number].set_exception(error)
        else:
            self._results[number].set_result(state)


def patiently(wait: Callable[[], None]) -> None:
    """Wait to the end although Ctrl-C is pressed again: what was begun must be taken back first."""
    while True:
        try:
            return wait()
        except KeyboardInterrupt:
            continue
