"""Send batches to nf_tables and look at what other firewalls do.

Comes in:  messages of ``ruleset``.
Goes out:  the kernel's state, changed as a whole or not at all; names of foreign chains that drop.
Not here:  which rules (ruleset).
"""

from __future__ import annotations

import errno
import struct
from collections.abc import Sequence

from netns.netlink import NETFILTER, Message, Socket, attributes, text
from netns.nftables import messages as nft


class Firewall:
    """One nfnetlink socket in the namespace of the thread that made it."""

    def __init__(self) -> None:
        self._socket = Socket(NETFILTER)

    def close(self) -> None:
        self._socket.close()

    def commit(self, messages: Sequence[Message]) -> None:
        """Apply all of ``messages`` or none. 0.1-0.4 ms. Raises OSError naming the one that failed."""
        if not messages:
            return
        for _ in range(10):
            try:
                return self._socket.transaction(nft.begin(), messages, nft.end())
            except OSError as error:
                if error.errno != errno.EINTR:  # somebody else's batch came between: the kernel says again
                    raise
        raise OSError(errno.EINTR, "nf_tables: other programs change the rules without a pause")

    def remove(self, messages: Sequence[Message]) -> None:
        """Apply each on its own, forgiving what is not there any more."""
        for message in messages:
            try:
                self.commit([message])
            except FileNotFoundError:
                continue

    def has(self, table: str) -> bool:
        return self._socket.get(nft.message(nft.GETTABLE, text(1, table))) is not None

    def tables(self) -> list[str]:
        """The names of all tables of the inet family."""
        found = self._socket.dump(nft.message(nft.GETTABLE))
        return [attributes(body[4:])[1].rstrip(b"\0").decode() for body in found]

    def dropping(self) -> list[str]:
        """Tables of others whose base chain at the forward hook drops by policy (as docker's does)."""
        found = []
        for body in self._socket.dump(nft.message(nft.GETCHAIN, family=0)):
            chain = attributes(body[4:])
            hook = attributes(chain.get(4, b""))
            if not hook or struct.unpack(">I", hook[1])[0] != nft.FORWARD:
                continue
            table = chain[1].rstrip(b"\0").decode()
            if struct.unpack(">I", chain.get(5, b"\0\0\0\1"))[0] == nft.DROP:
                found.append(table)
        return found
