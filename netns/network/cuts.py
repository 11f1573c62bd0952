"""Lose packets between containers of one network, all or some, for as long as this process lives.

Comes in:  faults: from one MAC address to another, with the share that is lost.
Goes out:  a table of the bridge family that this process owns: it goes with the process, also after kill -9.
Not here:  whose addresses they are (compose.engine.faults), delays (netem).
"""

from __future__ import annotations

import errno
import os
import struct
from collections.abc import Iterable

from netns.netlink import Message
from netns.nftables import messages as nft
from netns.nftables.apply import Firewall

ALL = 1000
_PRIORITY = -200
_LESS = 2  # NFT_CMP_LT

Loss = tuple[str, str, int]
"""MAC of the sender, MAC of the receiver, how many of 1000 packets are lost."""


class Cuts:
    """What one project loses on purpose."""

    def __init__(self, project: str) -> None:
        word = "".join(c if c.isalnum() else "_" for c in project)[:40]
        self._table = f"pycompose_cut_{word}_{os.getpid()}"
        self._firewall: Firewall | None = None

    @property
    def active(self) -> bool:
        """Something is lost."""
        return self._firewall is not None

    def apply(self, wanted: Iterable[Loss]) -> None:
        """Lose what ``wanted`` says and nothing else; without any, all is as before."""
        losses = sorted(set(wanted))
        self.close()
        if not losses:
            return
        self._firewall = Firewall()
        try:
            self._firewall.commit(self._rules(losses, nft.OWNER))
        except OSError as error:  # older than Linux 5.12: it stays until ``close``
            if error.errno not in (errno.EOPNOTSUPP, errno.EINVAL):
                raise
            self._firewall.commit(self._rules(losses, 0))

    def close(self) -> None:
        """Lose nothing any more."""
        firewall, self._firewall = self._firewall, None
        if firewall is not None:
            firewall.remove([nft.delete_table(self._table, family=nft.BRIDGE)])
            firewall.close()

    def _rules(self, losses: Iterable[Loss], flags: int) -> list[Message]:
        name, bridge = self._table, nft.BRIDGE
        out = [
            nft.table(name, exclusive=True, family=bridge, flags=flags),
            nft.chain(name, "forward", "filter", nft.FORWARD, _PRIORITY, family=bridge),
        ]
        for source, target, share in losses:
            match = _address(6, source) + _address(0, target)
            if share < ALL:
                match += nft.random(ALL) + nft.compare(struct.pack(">I", share), _LESS)
            out.append(nft.rule(name, "forward", match, nft.verdict(nft.DROP), family=bridge))
        return out


def _address(offset: int, mac: str) -> bytes:
    value = bytes.fromhex(mac.replace(":", ""))
    return nft.payload(nft.LINK, offset, 6) + nft.compare(value)
