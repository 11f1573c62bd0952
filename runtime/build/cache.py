"""The cache of steps: take what a step made the last time, or have it made and keep it; say which, and why.

Comes in:  the facts of a step, where it stands, a function that fills a directory.
Goes out:  a layer in the store.
Not here:  what a step is made from (facts), rows (image.index, notes), other machines' caches (exchange).
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from runtime.build import facts as told
from runtime.build.facts import Facts
from runtime.build.halt import Halt
from runtime.build.notes import Notes, Row
from runtime.build.times import clamp
from runtime.image import layer
from runtime.image.progress import Events, Progress
from runtime.image.store import Store
from schemas.frozen import dataclass

NEVER = "never built before"


class Elsewhere(Protocol):
    """Caches of other machines: brings the layer of a step into the store, if one has it."""

    def fetch(self, key: str) -> tuple[str, float] | None:
        """Its diffID and when it was made."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """Where a step stands. label: "[web 2/7] RUN make"; stage and number: of the file; skip: why the cache is
    not asked, or ""; below: why what it stands on was made again, or ""."""

    label: str
    stage: str
    number: int
    skip: str = ""
    below: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """A layer. when: seconds since the epoch; why: the reason it was made now, "" out of the cache."""

    diff_id: str
    when: float
    why: str = ""


class Cache:
    """Of one build; its stages use it at once. place: tells this build's file and target from others."""

    def __init__(
        self, store: Store, notes: Notes, events: Events, halt: Halt, room: Path, *, place: str,
        epoch: float | None = None, elsewhere: Elsewhere | None = None,
    ) -> None:  # fmt: skip
        self._store, self._notes, self._events, self._halt = store, notes, events, halt
        self._room, self._place, self._epoch, self._elsewhere = room, place, epoch, elsewhere
        self._rows: dict[str, list[Row]] = {}
        self._lock = threading.Lock()
        self._count = 0
        self.used: dict[str, Kept] = {}

    def layer(self, step: Step, facts: Facts, make: Callable[[Path], None]) -> Kept:
        """The layer of a step: the kept one, or the one that ``make`` fills a new directory with."""
        self._halt.check()
        key = self._key(facts)
        with _turn(str(self._store.root), key):
            self._halt.check()
            kept = None if step.skip else self._known(key)
            if kept is not None:
                self._say(step, "CACHED")
            else:
                kept = self._make(step, self._why(step, facts), make)
                self._store.index.put_step(key, kept.diff_id, step.label, kept.when)
        self._note(step, facts, key)
        self.used[key] = kept
        return kept

    def _key(self, facts: Facts) -> str:
        if self._epoch is None:
            return facts.key()
        return Facts(
            text="", layers=facts.layers, env=facts.env, files=facts.files,
            parts={**facts.parts, "SOURCE_DATE_EPOCH": self._epoch},
        ).key()  # fmt: skip

    def _known(self, key: str) -> Kept | None:
        found = self._store.index.step(key)
        if found is None or not self._store.has_layer(found[0]):
            found = self._elsewhere.fetch(key) if self._elsewhere else None
        return Kept(diff_id=found[0], when=found[1]) if found else None

    def _make(self, step: Step, why: str, make: Callable[[Path], None]) -> Kept:
        self._say(step, "Running", why)
        with self._lock:
            self._count += 1
            home = self._room / f"step-{self._count}"  # of its own: two steps may make the same layer at once
        directory = home / "diff"
        try:
            home.mkdir(mode=0o711)
            make(directory)
            self._halt.check()
            if self._epoch is not None:
                clamp(directory, self._epoch)
            made = layer.digest(directory)
            self._store.commit_layer(directory, made.diff_id, size=made.size)
        except BaseException:
            self._say(step, "Error")
            raise
        self._say(step, "Done", why)
        return Kept(diff_id=made.diff_id, when=time.time() if self._epoch is None else self._epoch, why=why)

    def _say(self, step: Step, text: str, detail: str = "") -> None:
        self._events(Progress(kind="step", id=step.label, text=text, detail=detail))

    # --- why

    def _why(self, step: Step, facts: Facts) -> str:
        if step.skip:
            return step.skip
        row = self._row(step, facts)
        if row is None:
            return NEVER
        number, text, _, data = row
        if text != facts.text:
            return f"the instruction changed, it was: {text}"
        return told.why(data, self._notes.files(self._place, step.stage, number), facts, step.below)

    def _row(self, step: Step, facts: Facts) -> Row | None:
        """What was noted of this step: by its text, the one nearest by; else of what stood in its place."""
        with self._lock:
            if step.stage not in self._rows:
                self._rows[step.stage] = list(self._notes.steps(self._place, step.stage))
            rows = self._rows[step.stage]
        same = [row for row in rows if row[1] == facts.text]
        if same:
            return min(same, key=lambda row: abs(row[0] - step.number))
        word = facts.text.split(" ", 1)[0]
        return next((row for row in rows if row[0] == step.number and row[1].startswith(word)), None)

    def _note(self, step: Step, facts: Facts, key: str) -> None:
        row = self._row(step, facts)
        if row is None or row[:3] != (step.number, facts.text, key):
            where = (self._place, step.stage, step.number)
            self._notes.put_step(where, facts.text, key, facts.noted(), told.pack(facts.files))


_turns: dict[tuple[str, str], threading.Lock] = {}
_turns_lock = threading.Lock()


@contextmanager
def _turn(*name: str) -> Iterator[None]:
    """One at a time: of two stages or builds of this process that need the same step, one makes it."""
    pair = (name[0], name[1])
    with _turns_lock:
        lock = _turns.setdefault(pair, threading.Lock())
    with lock:
        yield
