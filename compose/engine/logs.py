"""Read the log files of a project: one per container name, kept over restart and re-creation.

Comes in:  the directory of the log files, the names wanted, a window of time, a number of lines.
Goes out:  Lines in the order of their times, partial records joined.
Not here:  waiting for more (``follow``), prefixes and colours (``compose.cli``), writing (``runtime``).
Format:    ``<RFC 3339 time, nanoseconds, UTC> <stream> <tag> <text>``, tag F (full) or P (the line goes on);
           ``docs/architecture.md``. Rotated files are ``<name>.log.1`` (the newest), ``.2`` and so on.
"""

from __future__ import annotations

import heapq
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

BLOCK = 64 * 1024
LONGEST = 64 * 1024 * 1024  # a line without end is given out in pieces of this size


class Line(NamedTuple):
    """One line of one container.

    time: RFC 3339 with nanoseconds, UTC; texts of equal form, so that they compare as times do.
    name: of the container; text: without its newline, as the program wrote it.
    """

    time: str
    name: str
    stream: str
    text: bytes


class Joiner:
    """Puts records together to lines; one for each container."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._rest = b""
        self._open: dict[bytes, tuple[bytes, list[bytes], int]] = {}

    def feed(self, data: bytes) -> Iterator[Line]:
        """Lines completed by ``data``, which may begin and end in the middle of a record."""
        records = (self._rest + data).split(b"\n")
        self._rest = records.pop()
        for record in records:
            parts = record.split(b" ", 3)
            if len(parts) == 4:
                yield from self._record(*parts)

    def _record(self, time: bytes, stream: bytes, tag: bytes, text: bytes) -> Iterator[Line]:
        if tag == b"F" and stream not in self._open:
            yield self._line(time, stream, text)
            return
        begun, pieces, size = self._open.pop(stream, (time, [], 0))
        pieces.append(text)
        size += len(text)
        if tag == b"F" or size > LONGEST:
            yield self._line(begun, stream, b"".join(pieces))
        else:
            self._open[stream] = (begun, pieces, size)

    def flush(self) -> Iterator[Line]:
        """Lines that have no end yet, such as the last words of a program that died."""
        for stream, (time, pieces, _) in sorted(self._open.items(), key=lambda item: item[1][0]):
            yield self._line(time, stream, b"".join(pieces))
        self._open.clear()

    def _line(self, time: bytes, stream: bytes, text: bytes) -> Line:
        return Line(time.decode("ascii", "replace"), self.name, stream.decode("ascii", "replace"), text)


def path_of(directory: Path, name: str) -> Path:
    """The current log file of the container ``name``."""
    return directory / f"{name}.log"


def rotated(current: Path) -> list[Path]:
    """Every file of one log, the oldest first, ``current`` last."""
    found = []
    number = 1
    while (older := current.with_name(f"{current.name}.{number}")).exists():
        found.append(older)
        number += 1
    return [*reversed(found), current]


def read(
    directory: Path, names: Iterable[str], *, tail: int | None = None, since: str = "", until: str = ""
) -> Iterator[Line]:
    """Lines of the containers ``names``, merged by time.

    tail:         at most that many lines of each container, None for all.
    since, until: times in the form of the log, "" for open; a line at ``until`` still counts.
    Costs memory for one block per container, and for the lines of ``tail``.
    """
    sources = [_one(path_of(directory, name), name, tail, since, until) for name in names]
    return heapq.merge(*sources, key=lambda line: line.time)


def _one(current: Path, name: str, tail: int | None, since: str, until: str) -> Iterator[Line]:
    paths = rotated(current)
    lines = _forward(paths, name) if tail is None else iter(_last(paths, name, tail))
    for line in lines:
        if until and line.time > until:
            return
        if line.time >= since:
            yield line


def _forward(paths: Sequence[Path], name: str) -> Iterator[Line]:
    joiner = Joiner(name)
    for path in paths:
        try:
            with path.open("rb", buffering=0) as file:
                while block := file.read(BLOCK):
                    yield from joiner.feed(block)
        except FileNotFoundError:
            continue
    yield from joiner.flush()


def _last(paths: Sequence[Path], name: str, count: int) -> list[Line]:
    """The last ``count`` lines, found from the end backwards."""
    if count <= 0:
        return []
    data = b""
    for path in reversed(paths):
        data = _end(path, count, data)
        if _records(data) > count:
            break
    joiner = Joiner(name)
    lines = [*joiner.feed(data), *joiner.flush()]
    return lines[-count:]


def _end(path: Path, count: int, after: bytes) -> bytes:
    """What stands at the end of ``path``, before ``after``: enough to hold ``count`` lines for sure.

    Each step back is twice as long as the one before, so that counting again costs no more than reading.
    """
    try:
        file = path.open("rb", buffering=0)
    except FileNotFoundError:
        return after
    with file:
        at, step = file.seek(0, os.SEEK_END), BLOCK
        while at and _records(after) <= count:
            size = min(step, at)
            at, step = at - size, step * 2
            file.seek(at)
            after = (file.read(size) or b"") + after
        # cut to whole records: the first one may have begun before
        return after[after.index(b"\n") + 1 :] if at and b"\n" in after else after


def _records(data: bytes) -> int:
    """How many lines end in ``data``: records with tag F."""
    return sum(1 for record in data.split(b"\n") if record[:64].split(b" ", 3)[2:3] == [b"F"])


def moment(text: str, now: float) -> str:
    """A point in time as the log writes it.

    text: RFC 3339 (with or without zone, a date alone too), seconds since the epoch, or a duration before
    ``now`` such as "42m" or "1h30m". Raises ValueError for anything else.
    """
    from datetime import UTC, datetime, timedelta

    seconds = _duration(text)
    if seconds is not None:
        at = datetime.fromtimestamp(now, UTC) - timedelta(seconds=seconds)
    elif text.replace(".", "", 1).isdigit() and text.isascii():
        at = datetime.fromtimestamp(float(text), UTC)
    else:
        at = datetime.fromisoformat(text)
        at = at.astimezone(UTC) if at.tzinfo else at.replace(tzinfo=UTC)
    return at.strftime("%Y-%m-%dT%H:%M:%S.%f") + "000Z"


_UNITS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001, "us": 1e-6, "ns": 1e-9}


def _duration(text: str) -> float | None:
    """Seconds of a Go duration ("1h30m", "1.5s"), or None when ``text`` is none."""
    total, digits, unit = 0.0, "", ""
    for letter in text + "\0":
        if letter in "0123456789.\0":
            if unit:
                if unit not in _UNITS or not digits.replace(".", "", 1).isdigit():
                    return None
                total += float(digits) * _UNITS[unit]
                digits = unit = ""
            digits += letter
        elif not digits:
            return None
        else:
            unit += letter
    return total if digits == "\0" and text else None
