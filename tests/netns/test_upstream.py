"""The order of outside resolvers, on the loopback of whoever runs the tests."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Sequence

import pytest

from netns.dns import message, upstream
from netns.dns.upstream import Exchange, Memory

LOCAL = "127.0.0.1"
QUERY = struct.pack(">6H", 7, 0x0100, 1, 0, 0, 0) + b"\4wiki\7example\0" + struct.pack(">HH", 1, 1)


class Resolver(asyncio.DatagramProtocol):
    """Answers ``address``, "no such name" (""), or nothing (None), after ``delay`` seconds."""

    def __init__(self, address: str | None, delay: float = 0.0, code: int = message.NOERROR) -> None:
        self.address, self.delay, self.code, self.asked = address, delay, code, 0
        self.server = ""

    async def begin(self) -> Resolver:
        loop = asyncio.get_running_loop()
        transport, _ = await loop.create_datagram_endpoint(lambda: self, local_addr=(LOCAL, 0))
        self.server = "{}#{}".format(*transport.get_extra_info("sockname"))
        return self

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, who: tuple[str, int]) -> None:
        self.asked += 1
        question = message.parse(data)
        if question is None or self.address is None:
            return
        records = [message.address_record(self.address)] if self.address else []
        code = self.code or (message.NOERROR if records else message.NXDOMAIN)
        reply = message.answer(question, records, code)
        send = self.transport.sendto  # type: ignore[attr-defined]
        asyncio.get_running_loop().call_later(self.delay, send, reply, who)


def outcome(*resolvers: Resolver, memory: Memory | None = None, again: int = 1) -> tuple[list[str], float]:
    """What the last of ``again`` exchanges says, and how long it took."""

    async def body() -> tuple[list[str], float]:
        loop = asyncio.get_running_loop()
        begun: Sequence[Resolver] = [await r.begin() for r in resolvers]
        kept = memory or Memory()
        for _ in range(again):
            done: asyncio.Future[bytes | None] = loop.create_future()
            start = loop.time()
            Exchange(loop, QUERY, [r.server for r in begun], done.set_result, stream=False, memory=kept)
            reply = await done
            took = loop.time() - start
        kept.close()
        for one in begun:
            one.transport.close()
        await asyncio.sleep(0)
        if reply is None:
            return [], took
        found = struct.unpack(">H", reply[6:8])[0]
        return [".".join(map(str, reply[-4:]))] if found else [str(message.code_of(reply))], took

    return asyncio.run(body())


def test_a_later_no_such_name_does_not_beat_an_earlier_answer() -> None:
    assert outcome(Resolver("10.0.0.1", 0.4), Resolver(""))[0] == ["10.0.0.1"]


def test_no_such_name_of_the_first_decides_at_once() -> None:
    second = Resolver("10.0.0.2")
    found, took = outcome(Resolver(""), second)
    assert found == [str(message.NXDOMAIN)]
    assert took < 0.2
    assert second.asked == 0


def test_a_silent_first_costs_a_head_start_and_then_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    first = Resolver(None)
    found, took = outcome(first, Resolver("10.0.0.2"))
    assert found == ["10.0.0.2"]
    assert 0.2 < took < 0.6
    monkeypatch.setattr(upstream, "SILENT", 0.4)
    first, second = Resolver(None), Resolver("")
    found, took = outcome(first, second, again=2)  # "no such name" waits for the first, once
    assert found == [str(message.NXDOMAIN)]
    assert took < 0.2
    assert first.asked == 1


def test_a_refusal_asks_the_next_without_waiting() -> None:
    found, took = outcome(Resolver("", code=message.REFUSED), Resolver("10.0.0.2"))
    assert found == ["10.0.0.2"]
    assert took < 0.2


def test_when_all_refuse_the_refusal_is_passed_on() -> None:
    refusing = [Resolver("", code=message.REFUSED), Resolver("", code=message.REFUSED)]
    assert outcome(*refusing)[0] == [str(message.REFUSED)]
