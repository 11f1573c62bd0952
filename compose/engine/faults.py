"""Faults on purpose between services: cut, loss, delay. They end with this process.

Comes in:  names of services; the endpoints that exist.
Goes out:  packets that are lost or late; NetworkFailure where the kernel cannot.
Not here:  the rules (netns.network.cuts), the discipline (netns.network.netem).
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from socket import if_nametoindex

from netns.errors import NetworkFailure
from netns.network import Cuts, Networks
from netns.network.cuts import ALL, Loss
from netns.spec import Endpoint

Fault = tuple[str, str, int]
"""Sending service, receiving service, how many of 1000 packets are lost."""


class Faults:
    """The faults of one project. ``mine``: the containers of the project that are plugged in."""

    def __init__(self, project: str, networks: Networks, mine: Callable[[], Sequence[str]]) -> None:
        self._networks, self._mine = networks, mine
        self._cuts = Cuts(project)
        self._losses: list[Fault] = []

    def cut(self, pairs: Sequence[tuple[str, str]]) -> None:
        """Keep both services of each pair from talking on the networks that they share."""
        wanted = [(a, b, ALL) for one, other in pairs for a, b in ((one, other), (other, one))]
        self._losses += [fault for fault in wanted if fault not in self._losses]
        self.follow()

    def heal(self, pairs: Sequence[tuple[str, str]]) -> None:
        """Undo the cuts of ``pairs``, or all of them."""
        names = {frozenset(pair) for pair in pairs}
        self._losses = [
            fault for fault in self._losses if fault[2] < ALL or (names and frozenset(fault[:2]) not in names)
        ]
        self.follow()

    def cuts(self) -> list[tuple[str, str]]:
        """The pairs that are cut."""
        return sorted({(min(a, b), max(a, b)) for a, b, share in self._losses if share == ALL})

    def lose(self, fault: Fault) -> None:
        self._losses.append(fault)
        self.follow()

    def stop(self, fault: Fault) -> None:
        if fault in self._losses:
            self._losses.remove(fault)
        self.follow()

    def follow(self) -> None:
        """Faults follow the addresses that their services have now."""
        if not self._losses and not self._cuts.active:
            return
        found: list[Loss] = []
        for network in self._networks.all():
            for source, target, share in self._losses:
                ends = [
                    (a.mac, b.mac, share)
                    for a in self._of(network.spec.name, source)
                    for b in self._of(network.spec.name, target)
                ]
                found += ends
        self._cuts.apply(found)

    def close(self) -> None:
        self._losses.clear()
        self._cuts.close()

    async def delay(self, source: str, target: str, microseconds: int) -> list[asyncio.subprocess.Process]:
        """Delay what ``source`` sends to ``target``; it ends when the input of the processes does.

        Raises NetworkFailure when the kernel has no netem, or they share no network.
        """
        begun: list[asyncio.subprocess.Process] = []
        for network in self._networks.all():
            links = self._networks.links(network.spec.name)
            senders = [end.ipv4 for end in self._of(network.spec.name, source) if end.ipv4]
            for end in self._of(network.spec.name, target):
                for address in senders:
                    link = if_nametoindex(links[end.spec.container])
                    words = {"link": link, "source": address, "delay": microseconds}
                    begun.append(await _netem(words))
        if not begun:
            raise NetworkFailure(
                f"'{source}' and '{target}' share no network on which both run",
                hint="see 'pycompose net map'",
            )
        return begun

    def _of(self, network: str, service: str) -> list[Endpoint]:
        mine = self._mine()
        return [
            end
            for end in self._networks.endpoints(network)
            if end.spec.container in mine and end.spec.names[:1] == (service,)
        ]


async def _netem(words: dict[str, object]) -> asyncio.subprocess.Process:
    import netns.network

    program = Path(os.path.dirname(netns.network.__file__)) / "netem.py"  # noqa: PTH120
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-I", str(program), json.dumps(words), stdin=pipe, stdout=pipe, stderr=pipe
    )
    assert process.stdout is not None
    if (await process.stdout.readline()).strip() != b"ok":
        _, said = await process.communicate()
        why = (said.decode(errors="replace").strip() or "?").splitlines()[-1]
        raise NetworkFailure(
            f"this kernel cannot delay packets: {why}",
            hint="the kernel needs sch_prio, sch_netem and cls_u32; '--loss' works without",
        )
    return process
