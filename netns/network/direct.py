"""Plug containers straight into a link of the host: macvlan and ipvlan.

Comes in:  a Network with such a driver, an endpoint, a descriptor of its namespace.
Goes out:  a link on the parent, inside the namespace; NetworkFailure where the kernel has no such driver.
Not here:  bridges (links), addresses and routes inside (links.furnish).

This is off the start path of most projects, so pyroute2 speaks netlink here (ADR 50). It runs in a process of
its own: a supervisor has no third-party packages, and 33 MB of them would stay.
"""

from __future__ import annotations

import errno
import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from netns.spec import Endpoint, Network

_MODES = {"macvlan": "bridge", "ipvlan": "l2"}  # unless the file says otherwise
_IPVLAN = {"l2": 0, "l3": 1, "l3s": 2}  # IPVLAN_MODE_*


def plug(network: Network, endpoint: Endpoint, parent: int, netns: int) -> None:
    """Make the endpoint's link on ``parent`` (a number) in the namespace behind ``netns``. 0.2 s."""
    from netns.errors import NetworkFailure

    spec = network.spec
    mode = spec.mode or _MODES[spec.driver]
    words: dict[str, object] = {"ifname": endpoint.interface, "kind": spec.driver, "mtu": network.mtu}
    words |= {"link": parent, "net_ns_fd": netns}
    if spec.driver == "macvlan":
        words |= {"macvlan_mode": mode, "address": endpoint.mac}
    else:
        words["ipvlan_mode"] = _IPVLAN[mode]
    command = [sys.executable, "-I", str(Path(__file__)), json.dumps(words)]
    done = subprocess.run(command, pass_fds=[netns], capture_output=True, text=True, check=False)
    if done.returncode == 0:
        return
    if done.returncode == errno.EOPNOTSUPP:
        raise NetworkFailure(
            f"network '{spec.name}': this kernel has no driver '{spec.driver}'",
            hint=f"load it (modprobe {spec.driver}), or use 'driver: bridge'",
        )
    said = (done.stderr.strip().splitlines() or ["?"])[-1]
    raise NetworkFailure(f"network '{spec.name}': no link on '{spec.parent}': {said}")


def _make(words: dict[str, Any]) -> int:
    """Make one link; gives the kernel's error number, 0 for none."""
    from pyroute2 import IPRoute
    from pyroute2.netlink.exceptions import NetlinkError

    try:
        with IPRoute() as route:
            route.link("add", **words)
    except NetlinkError as error:
        print(error, file=sys.stderr)
        return int(error.code)
    return 0


if __name__ == "__main__":
    sys.exit(_make(json.loads(sys.argv[1])))
