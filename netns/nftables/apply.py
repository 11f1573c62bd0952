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
        """Apply all, forgiving what is not there any more: then each on its own."""
        try:
            return self.commit(messages)
        except FileNotFoundError:
            if len(messages) == 1:
                return
        for message in messages:
            try:
                self.commit([message])
            except FileNotFoundError:
                continue

    def has(self, table: str, family: int = nft.INET) -> bool:
        return self._socket.get(nft.message(nft.GETTABLE, text(1, table), family=family)) is not None

    def tables(self, family: int = nft.INET) -> list[str]:
        """The names of all tables of a family."""
        found = self._socket.dump(nft.message(nft.GETTABLE, family=family))
        return [attributes(body[4:])[1].rstrip(b"\0").decode() for body in found]

    def others_forward(self) -> bool:
        """Somebody else has a chain at the forward hook: this machine leads packets for him too."""
        chains = (attributes(body[4:]) for body in self._socket.dump(nft.message(nft.GETCHAIN, family=0)))
        hooked = (chain for chain in chains if _hook(chain) == nft.FORWARD)
        return any(not chain[1].startswith(b"pycompose_") for chain in hooked)

    def dropping(self) -> list[tuple[int, str, str]]:
        """Family, table and name of chains at the forward hook that drop by policy (as docker's does)."""
        found = []
        for body in self._socket.dump(nft.message(nft.GETCHAIN, family=0)):
            chain = attributes(body[4:])
            if _hook(chain) != nft.FORWARD:
                continue
            if struct.unpack(">I", chain.get(5, b"\0\0\0\1"))[0] == nft.DROP:
                found.append((body[0], _text(chain[1]), _text(chain[3])))
        return found

    def has_chain(self, table: str, chain: str, family: int) -> bool:
        wanted = nft.message(nft.GETCHAIN, text(1, table), text(3, chain), family=family)
        return self._socket.get(wanted) is not None

    def comments(self, table: str, chain: str, family: int) -> list[tuple[int, str]]:
        """Handle and comment of the rules of a chain that have one."""
        found = []
        for body in self._socket.dump(
            nft.message(nft.GETRULE, text(1, table), text(2, chain), family=family)
        ):
            rule = attributes(body[4:])
            note = rule.get(7, b"")
            if note[:1] == b"\0":  # NFTNL_UDATA_RULE_COMMENT
                found.append((struct.unpack(">Q", rule[3])[0], _text(note[2:])))
        return found


def _text(data: bytes) -> str:
    return data.rstrip(b"\0").decode(errors="replace")


def _hook(chain: dict[int, bytes]) -> int:
    """The hook number of a base chain, -1 of any other."""
    hook = attributes(chain.get(4, b""))
    return int(struct.unpack(">I", hook[1])[0]) if hook else -1
