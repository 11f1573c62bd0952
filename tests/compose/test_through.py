"""An effect is seen through although nobody waits for it any more."""

from __future__ import annotations

import asyncio

import pytest

from compose.engine.through import through


def test_the_result_and_the_error_of_the_work_are_those_of_through() -> None:
    async def seven() -> int:
        return 7

    async def fails() -> None:
        raise ValueError("no")

    assert asyncio.run(through(seven())) == 7
    with pytest.raises(ValueError, match="no"):
        asyncio.run(through(fails()))


def test_cancelled_twice_it_still_waits_for_the_end() -> None:
    done = []

    async def scene() -> None:
        gate = asyncio.Event()

        async def work() -> None:
            await gate.wait()
            done.append(True)

        waiting = asyncio.ensure_future(through(work()))
        for _ in range(2):
            await asyncio.sleep(0)
            waiting.cancel()
            await asyncio.sleep(0)
            assert not waiting.done()
        gate.set()
        with pytest.raises(asyncio.CancelledError):
            await waiting

    asyncio.run(scene())
    assert done == [True]


def test_what_fails_after_a_cancellation_is_not_reported_twice(caplog: pytest.LogCaptureFixture) -> None:
    async def scene() -> None:
        gate = asyncio.Event()

        async def work() -> None:
            await gate.wait()
            raise ValueError("late")

        waiting = asyncio.ensure_future(through(work()))
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.sleep(0)
        gate.set()
        with pytest.raises(asyncio.CancelledError):
            await waiting

    asyncio.run(scene())
    assert not caplog.records
