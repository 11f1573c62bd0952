"""Run the stages of a build side by side; the first that fails stops the others.

Comes in:  a job per stage.
Goes out:  their results; who needs another's waits for it.
Not here:  what a stage does (stage).
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import Future

from runtime.build.halt import Halt, Halted
from runtime.build.state import State

Job = Callable[[], State]


class Crew:
    """One thread per stage. numbers: of the stages there will be jobs for."""

    def __init__(self, numbers: Collection[int], halt: Halt) -> None:
        self._results: dict[int, Future[State]] = {number: Future() for number in numbers}
        self._halt = halt
        self._errors: list[BaseException] = []

    def result(self, number: int) -> State:
        """What stage ``number`` gave, waited for. Raises Halted when it failed."""
        try:
            return self._results[number].result()
        except BaseException as error:
            raise Halted("a stage that is needed failed") from error

    def run(self, jobs: Mapping[int, Job]) -> None:
        """Run every job. Raises what the first one that failed raised; KeyboardInterrupt stops all."""
        threads = [
            threading.Thread(target=self._one, args=(number, job), name=f"stage {number}")
            for number, job in jobs.items()
        ]
        try:
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        except BaseException:
            self._halt.set()
            for thread in threads:
                if thread.ident:
                    thread.join()
            raise
        if self._errors:
            raise next((e for e in self._errors if not isinstance(e, Halted)), self._errors[0])

    def _one(self, number: int, job: Job) -> None:
        try:
            state = job()
        except BaseException as error:
            self._errors.append(error)
            self._halt.set()
            self._results[number].set_exception(error)
        else:
            self._results[number].set_result(state)
