"""Whether and when a container that ended starts again.

Comes in:  the policy of the file, how it ended, how often it was restarted in a row.
Goes out:  seconds to wait, or None for never.
Not here:  waiting and starting (``compose.engine``).
Source: docker run --restart. The delay doubles from 100 ms to one minute and starts over after 10 s.
"""

from __future__ import annotations

from runtime.spec import ExitRecord

FIRST, LONGEST, STEADY = 0.1, 60.0, 10.0
POLICIES = ("no", "always", "unless-stopped", "on-failure")


def decide(policy: str, record: ExitRecord, attempts: int, ran_for: float, stopped: bool) -> float | None:
    """Seconds until the next start, or None when it stays down.

    policy:   "", "no", "always", "unless-stopped", "on-failure"; the last three with ":<most attempts>" too.
    attempts: restarts already made in a row; ran_for: seconds it ran; stopped: a person asked for its end.
    Raises ValueError for another policy.
    """
    name, _, most = (policy or "no").partition(":")
    if name not in POLICIES:
        raise ValueError(f"'{policy}' is no restart policy")
    if stopped or name == "no":
        return None
    if name == "on-failure" and record.code == 0:
        return None
    if int(most or 0) and attempts >= int(most):
        return None
    return delay(attempts, ran_for)


def delay(attempts: int, ran_for: float) -> float:
    """The back-off: 0.1 s after a long run, else doubled with each attempt in a row, a minute at most."""
    if ran_for >= STEADY:
        return FIRST
    return float(min(FIRST * 2 ** min(attempts, 16), LONGEST))
