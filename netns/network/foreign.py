"""Pass through the firewall of others: Docker's, or iptables with a FORWARD policy of DROP.

Comes in:  the open Firewall, the RUN directory's tag, names of bridges.
Goes out:  accept rules in ``DOCKER-USER`` or ``FORWARD`` of iptables, as docker and podman enter them.
Not here:  our own tables (nftables), saying what could not be done (mending).

An accept there ends the evaluation of that chain only: what may pass is still decided by the table of the
network. Rules match names, because iptables(8) cannot print a link group. A native table of the
administrator is not touched.
"""

from __future__ import annotations

from collections.abc import Sequence

from netns.netlink import Message
from netns.nftables import messages as nft
from netns.nftables.apply import Firewall

PREFIX = "pc-"  # of the names that pycompose gives to bridges
_FAMILIES = (nft.IPV4, nft.IPV6)
_CHAINS = ("DOCKER-USER", "FORWARD")


def enter(firewall: Firewall, tag: str, bridge: str) -> list[str]:
    """Have ``bridge`` accepted where iptables drops; gives the tables that drop and are not iptables'."""
    closed = []
    for family, table, chain in firewall.dropping():
        if family not in _FAMILIES or (table, chain) != ("filter", "FORWARD"):
            if not table.startswith("pycompose_"):
                closed.append(table)
            continue
        into = next(name for name in _CHAINS if firewall.has_chain(table, name, family))
        name = PREFIX if bridge.startswith(PREFIX) else bridge
        comment = f"pycompose {tag} {name}"
        if comment not in (there for _, there in firewall.comments(table, into, family)):
            firewall.commit(_accept(table, into, family, name, comment))
    return closed


def leave(firewall: Firewall, tag: str) -> None:
    """Take all rules of ``tag`` back."""
    for family in _FAMILIES:
        for chain in _CHAINS:
            if not firewall.has_chain("filter", chain, family):
                continue
            mine = [
                h for h, c in firewall.comments("filter", chain, family) if c.startswith(f"pycompose {tag} ")
            ]
            firewall.remove([nft.delete_rule("filter", chain, handle, family=family) for handle in mine])


def _accept(table: str, chain: str, family: int, name: str, comment: str) -> Sequence[Message]:
    value = name.encode() if name == PREFIX else name.encode().ljust(16, b"\0")
    return [
        nft.first_rule(
            table, chain, comment, nft.meta(key), nft.compare(value), nft.verdict(nft.ACCEPT), family=family
        )
        for key in (nft.META_IIFNAME, nft.META_OIFNAME)
    ]
