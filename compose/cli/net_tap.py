"""``pycompose net tap``: record what a container sends and receives, as tcpdump and Wireshark read it.

Comes in:  a service, where to write.
Goes out:  a pcap file or stream, until Ctrl-C or a time is over.
Source: pcap-savefile(5), packet(7).
"""

import os
import socket
import struct
import sys
import time
from typing import BinaryIO

from compose.cli import containers, report
from compose.cli.scope import Scope
from compose.errors import UsageError

_HEAD = struct.pack("=IHHiIII", 0xA1B23C4D, 2, 4, 0, 0, 65535, 1)  # nanoseconds, Ethernet
_ALL = 3  # ETH_P_ALL


def record(scope: Scope, service: str, output: str, seconds: float) -> int:
    """Record until Ctrl-C, a closed pipe or ``seconds`` (0: no end)."""
    scope.require_rights()
    found = containers.of_project(scope.places, scope.identity().name, (service,))
    links = _links(scope, [one.spec.id for one in found if one.running])
    if not links:
        raise UsageError(f"service '{service}' has no link to listen at", hint="is it running, on a network?")
    if output == "-" and sys.stdout.isatty():
        raise UsageError("a terminal cannot show packets", hint="'-o FILE', or '| tcpdump -r -'")
    count = 0
    try:
        with open(output, "wb") if output != "-" else os.fdopen(os.dup(1), "wb") as out:
            count = _copy(links, out, time.monotonic() + seconds if seconds else float("inf"))
    except KeyboardInterrupt:
        pass
    except BrokenPipeError:  # the reader has seen enough
        return 0
    report.say(f"{count} packets" if count else "recording ended")
    return 0


def _links(scope: Scope, ids: list[str]) -> list[str]:
    from netns.network import Networks

    networks = Networks(scope.places.run)
    found = [networks.links(network.spec.name) for network in networks.all()]
    networks.close()
    return [links[id] for links in found for id in ids if links.get(id)]


def _copy(links: list[str], out: BinaryIO, end: float) -> int:
    """Copy frames of ``links`` to ``out``; the number of frames."""
    import select

    taps = []
    for link in links:
        tap = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(_ALL))
        tap.bind((link, _ALL))
        tap.setblocking(False)
        taps.append(tap)
    out.write(_HEAD)
    out.flush()
    count = 0
    while (left := end - time.monotonic()) > 0:
        ready, _, _ = select.select(taps, [], [], min(left, 3600.0))
        for tap in ready:
            frame = tap.recv(65535)
            now = time.time_ns()
            size = len(frame)
            out.write(struct.pack("=IIII", now // 10**9, now % 10**9, size, size) + frame)
            count += 1
        out.flush()
    for tap in taps:
        tap.close()
    return count
