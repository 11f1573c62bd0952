"""What happened to the containers of a project, for ``events``: one JSON object a line.

Comes in:  an action and the launch it is about.
Goes out:  RUN/<project>/events.jsonl; when that is full it becomes events.jsonl.1, which is forgotten then.
Not here:  printing (``compose.cli.events``). Words and attributes are those of Docker's events.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from compose.plan.launch import Launch
from compose.plan.observed import IMAGE_NAME

FILE = "events.jsonl"
LIMIT = 1024 * 1024
Note = Callable[..., None]


class Chronicle:
    """The writer of one project's events. A disk that takes nothing more costs the event and nothing else."""

    def __init__(self, run: Path) -> None:
        self.path = run / FILE

    def note(self, action: str, launch: Launch, **attributes: Any) -> None:
        """Write down that ``action`` happened to a container now."""
        with contextlib.suppress(OSError):
            self._append(json.dumps(event(action, launch, time.time_ns(), attributes)).encode() + b"\n")

    def _append(self, line: bytes) -> None:
        fd = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            os.write(fd, line)
            full = os.fstat(fd).st_size > LIMIT
        finally:
            os.close(fd)
        if full:
            self.path.replace(self.path.with_name(FILE + ".1"))


def event(action: str, launch: Launch, at: int, attributes: dict[str, Any]) -> dict[str, Any]:
    """One event in the words of ``docker compose events --json``; ``at``: nanoseconds since 1970. Pure."""
    image = launch.spec.labels.get(IMAGE_NAME, "")
    values = {**attributes, "image": image, "name": launch.spec.name}
    return {
        "at": at,
        "action": action,
        "attributes": {key: str(values[key]) for key in sorted(values)},
        "id": launch.spec.id,
        "service": launch.service,
        "type": "container",
    }
