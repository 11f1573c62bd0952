"""The words a plan is written in: steps, what each waits for, and why it is there.

Comes in:  nothing.
Goes out:  Step, Wait, Plan; a plan prints as the text a person would read.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import StrEnum

from compose.model.service import NOTHING, Condition
from schemas.frozen import dataclass, field


class Kind(StrEnum):
    """What a step does; the value is the word in the rendered plan."""

    CREATE_NETWORK = "network"
    REMOVE_NETWORK = "drop-network"
    CREATE_VOLUME = "volume"
    REMOVE_VOLUME = "drop-volume"
    CREATE = "create"
    START = "start"
    STOP = "stop"
    REMOVE = "remove"
    REMOVE_IMAGE = "drop-image"


@dataclass(frozen=True, slots=True, kw_only=True)
class Wait:
    """Before the step begins, ``service`` has to satisfy ``condition``."""

    service: str
    condition: Condition
    required: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One effect. ``after`` holds the numbers of earlier steps of the same plan.

    name:    what it acts on: container, network or volume name.
    service: of a container; number: its replica number; id: of an existing container, else "".
    carry:   anonymous volumes taken over from the container it replaces (target to volume name).
    shares:  services whose namespaces it lives in: it is prepared after them.
    force:   remove together with its anonymous volumes.
    """

    kind: Kind
    name: str
    reason: str = ""
    after: tuple[int, ...] = ()
    service: str = ""
    number: int = 0
    id: str = ""
    waits: tuple[Wait, ...] = ()
    shares: tuple[str, ...] = ()
    carry: Mapping[str, str] = field(default_factory=lambda: NOTHING)
    timeout: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Steps in a safe order: a step's ``after`` only names smaller numbers (they count from 0).

    kept:     names of containers that stay as they are, because nothing changed.
    orphans:  names of containers of services the file no longer has, left alone.
    """

    steps: tuple[Step, ...] = ()
    kept: tuple[str, ...] = ()
    orphans: tuple[str, ...] = ()

    def render(self) -> str:
        """One numbered line per step: kind, name, reason, the steps it follows."""
        lines = []
        for index, step in enumerate(self.steps, 1):
            text = f"{index}. {step.kind:<12} {step.name:<24} {step.reason}".rstrip()
            if step.waits:
                text += "  (when " + ", ".join(f"{w.service} {w.condition}" for w in step.waits) + ")"
            if step.after:
                text += "  (after " + ", ".join(str(n + 1) for n in step.after) + ")"
            lines.append(text)
        return "\n".join(lines)


class Builder:
    """Collects steps and hands out their numbers."""

    def __init__(self) -> None:
        self.steps: list[Step] = []

    def add(self, step: Step) -> int:
        """Append ``step`` and return its number."""
        self.steps.append(step)
        return len(self.steps) - 1

    def numbers(self, kinds: Iterable[Kind], service: str) -> tuple[int, ...]:
        """Numbers of the steps of these kinds that act on ``service``."""
        wanted = set(kinds)
        return tuple(n for n, s in enumerate(self.steps) if s.kind in wanted and s.service == service)
