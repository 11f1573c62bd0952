"""What ``pycompose net`` asks of the supervisor: cut, heal, fault.

Comes in:  a Call.
Goes out:  the ``result`` of the answer; a fault ends with its call, whatever ends that.
Not here:  how packets are lost or delayed (``compose.engine.faults``).
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any

from compose.errors import ComposeError

if TYPE_CHECKING:
    from compose.supervisor.verbs import Call


def _pairs(call: Call) -> list[tuple[str, str]]:
    return [(str(one), str(other)) for one, other in call.arguments.get("pairs") or ()]


async def cut(call: Call) -> dict[str, Any]:
    """Cut services off each other until ``heal`` or ``down``; arguments: pairs (of service names)."""
    faults = call.machine.attachments.faults
    faults.cut(_pairs(call))
    return {"cuts": [list(pair) for pair in faults.cuts()]}


async def heal(call: Call) -> dict[str, Any]:
    """Undo cuts; arguments: pairs, none for all."""
    faults = call.machine.attachments.faults
    faults.heal(_pairs(call))
    return {"cuts": [list(pair) for pair in faults.cuts()]}


async def fault(call: Call) -> dict[str, Any]:
    """Lose and delay what one service sends to another, until the command goes or the time is over.

    arguments: source, target, loss (of 1000), delay (microseconds), seconds (0: no end).
    """
    told, faults = call.arguments, call.machine.attachments.faults
    source, target = str(told["source"]), str(told["target"])
    lost = (source, target, int(told.get("loss") or 0))
    if not lost[2] and not told.get("delay"):
        raise ComposeError("a fault needs a loss or a delay", hint="such as '--loss 5%'")
    delaying = await faults.delay(source, target, int(told["delay"])) if told.get("delay") else []
    if lost[2]:
        faults.lose(lost)
    call.emit({"event": "notice", "text": f"{source} -> {target}: the fault is there, Ctrl-C ends it"})
    try:
        await asyncio.sleep(float(told.get("seconds") or 0) or 1e8)
    finally:
        if lost[2]:
            faults.stop(lost)
        for process in delaying:
            if process.stdin is not None:
                process.stdin.close()
            with contextlib.suppress(asyncio.CancelledError):
                await process.wait()
    return {}
