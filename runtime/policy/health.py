"""From probe results to starting, healthy, unhealthy, and when to probe again.

Comes in:  a HealthSpec, the state so far, the latest result, the time.
Goes out:  the new state and the delay to the next probe.
Not here:  probing (``runtime.container.Runtime.execute``).

Probing begins at once and quickly, so that a dependent service starts as soon as it can; until the
first success a failure counts towards ``retries`` only once per ``interval``, so that no container is
called unhealthy earlier than docker would. Source: docker run, HEALTHCHECK.
"""

from __future__ import annotations

from typing import NamedTuple

from runtime.spec import ExecResult
from schemas.frozen import dataclass, replace

QUICKEST = 0.01  # seconds to the second probe; doubled after each
GROWTH = 1.6
KEPT = 5  # results remembered, as docker inspect shows


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthSpec:
    """``healthcheck``; durations in seconds, ``test`` as execve(2) takes it. Defaults are Docker's."""

    test: tuple[str, ...]
    interval: float = 30.0
    timeout: float = 30.0
    retries: int = 3
    start_period: float = 0.0
    start_interval: float = 5.0


class Probe(NamedTuple):
    """One result that is remembered."""

    at: float
    code: int
    output: str


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthState:
    """status: "starting", "healthy", "unhealthy". failing: counted failures in a row.

    started: when probing began; counted: when a failure was last counted; pause: the last quick delay.
    """

    status: str = "starting"
    failing: int = 0
    started: float = 0.0
    counted: float = 0.0
    pause: float = 0.0
    was_healthy: bool = False
    log: tuple[Probe, ...] = ()


def next_state(
    spec: HealthSpec, state: HealthState, result: ExecResult | None, now: float
) -> tuple[HealthState, float]:
    """Take in ``result`` (None: the container has just started). Returns state and seconds to the next probe.

    now: any clock in seconds that only moves forward, the same in every call.
    """
    if result is None:
        return HealthState(started=now, counted=now), 0.0
    kept = (*state.log, Probe(now, result.code, result.output))[-KEPT:]
    if result.code == 0 and not result.timed_out:
        well = replace(state, status="healthy", failing=0, counted=now, was_healthy=True, log=kept)
        return well, spec.interval
    state = _failed(spec, replace(state, log=kept), now)
    if state.was_healthy:
        return state, spec.interval
    pause = max(QUICKEST, min(state.pause * GROWTH, _longest(spec, state, now)))
    return replace(state, pause=pause), pause


def _failed(spec: HealthSpec, state: HealthState, now: float) -> HealthState:
    if not state.was_healthy:
        if now < state.started + spec.start_period:
            return replace(state, counted=now)
        if now - state.counted < spec.interval:
            return state
    failing = state.failing + 1
    status = "unhealthy" if failing >= spec.retries else state.status
    return replace(state, failing=failing, status=status, counted=now)


def _longest(spec: HealthSpec, state: HealthState, now: float) -> float:
    """How far the quick delay may grow: start_interval within the start period, else the interval."""
    if now < state.started + spec.start_period:
        return min(spec.start_interval, spec.interval)
    return spec.interval
