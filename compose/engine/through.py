"""See an effect through although the request for it was given up.

Comes in:  work that must not stop half-way, because what it has done would be known to nobody.
Goes out:  its result; a cancellation meanwhile is passed on once it is done.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable
from typing import TypeVar

T = TypeVar("T")


async def through(work: Awaitable[T]) -> T:
    """Await ``work``. Cancelled meanwhile, this waits for its end and only then raises CancelledError.

    Raises what ``work`` raises; after a cancellation its own outcome is dropped.
    """
    task = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        while not task.done():
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.wait([task])
        if not task.cancelled():
            task.exception()  # looked at, so that the loop does not report it
        raise
