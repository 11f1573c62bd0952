"""Delay and lose what a link of the host carries towards a container: netem, for as long as a process lives.

Comes in:  as a program: a link's number, the sender's IPv4 address, delay in microseconds, loss in percent.
Goes out:  queueing disciplines on the link, removed at the end of standard input; "ok" on standard output.
Not here:  loss alone (cuts), which link it is (compose.engine.faults).

pyroute2 speaks netlink here (ADR 50), so it is a program of its own: a supervisor has no third-party
packages. When the supervisor is killed the pipe ends, and this program undoes what it did.
"""

from __future__ import annotations

import errno
import json
import sys
from typing import Any

_IPV4 = 0x0800
_PRIOMAP = [1, 2, 2, 2, 1, 2, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1]  # of pfifo_fast
_BAND = 4  # the fourth band of prio, which no other traffic is put into


def _hold(words: dict[str, Any]) -> int:
    from pyroute2 import IPRoute
    from pyroute2.netlink.exceptions import NetlinkError

    link, source = int(words["link"]), str(words["source"])
    with IPRoute() as route:
        try:
            route.tc(
                "add", "prio", link, handle="1:", bands=_BAND, priomap=[1, 2, 2, 2, 1, 2, 0, 0] + [1] * 8
            )
            route.tc("add", "netem", link, handle="40:", parent=f"1:{_BAND}", delay=int(words["delay"]))
            key = "0x" + bytes(map(int, source.split("."))).hex() + "/0xffffffff+12"
            place = {"parent": "1:", "prio": 1, "protocol": _IPV4, "target": f"1:{_BAND}"}
            route.tc("add-filter", "u32", link, keys=[key], **place)
        except NetlinkError as error:
            _undo(route, link)
            unknown = error.code == errno.ENOENT
            print("no queueing discipline 'prio' or 'netem'" if unknown else error, file=sys.stderr)
            return int(error.code) or 1
        print("ok", flush=True)
        sys.stdin.read()
        _undo(route, link)
    return 0


def _undo(route: Any, link: int) -> None:
    from pyroute2.netlink.exceptions import NetlinkError

    try:
        route.tc("del", "prio", link, handle="1:")
    except NetlinkError:  # it was not made, or the link is gone
        pass


if __name__ == "__main__":
    sys.exit(_hold(json.loads(sys.argv[1])))
