"""How fast bytes come, and how long the rest will take, as words. Pure.

Comes in:  what has come so far, of how much, and when that was.
Goes out:  "12.3MB/45MB  3.1MB/s  11s left".
Not here:  drawing (progress).
"""

from collections import deque

from compose.cli.humane import size

WINDOW = 5.0  # seconds that the speed is taken over
_SURE = 0.5
_NOW_AND_THEN = 5.0


class Speed:
    """Remembers the last seconds of every thing that moves."""

    def __init__(self) -> None:
        self._seen: dict[str, deque[tuple[float, int]]] = {}
        self._told: dict[str, float] = {}

    def is_due(self, name: str, now: float) -> bool:
        """Whether five seconds have gone by since ``name`` began, or since this was true."""
        due = now - self._told.setdefault(name, now) >= _NOW_AND_THEN
        if due:
            self._told[name] = now
        return due

    def words(self, name: str, current: int, total: int, now: float) -> str:
        """What to show for ``name``, of which ``current`` of ``total`` bytes are there at ``now`` (seconds).

        The speed is told after half a second, the time left as long as something is left.
        """
        seen = self._seen.setdefault(name, deque())
        if seen and current < seen[-1][1]:
            seen.clear()  # begun again
        seen.append((now, current))
        while now - seen[0][0] > WINDOW and len(seen) > 2:
            seen.popleft()
        text = f"{size(current)}/{size(total)}"
        elapsed, moved = now - seen[0][0], current - seen[0][1]
        if elapsed < _SURE or current >= total:
            return text
        if not moved:
            return f"{text}  stalled"
        rate = moved / elapsed
        return f"{text}  {size(rate)}/s  {left((total - current) / rate)} left"


def left(seconds: float) -> str:
    """A time to come in two units at most: "8s", "2m05s", "1h10m"."""
    whole = max(1, round(seconds))
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02}s"
    return f"{whole // 3600}h{whole % 3600 // 60:02}m"
