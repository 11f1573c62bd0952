"""Make the kernel forget UDP conversations on published ports, so that the next datagram meets today's rules.

Comes in:  published ports.
Goes out:  entries of connection tracking deleted.
Why: a datagram follows the entry of its conversation, not the rules; a client that keeps sending from
one port would go on to an address that is gone. TCP connections end with their container and need nothing.
Source: include/uapi/linux/netfilter/nfnetlink_conntrack.h.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from contextlib import suppress

from netns.netlink import NESTED, NETFILTER, Message, Socket, attr, attributes
from netns.spec import PortSpec

_GET, _DELETE = 0x101, 0x102  # NFNL_SUBSYS_CTNETLINK << 8 | IPCTNL_MSG_CT_GET, _DELETE
_ORIGINAL, _PROTOCOL = 1, 2  # CTA_TUPLE_ORIG, CTA_TUPLE_PROTO
_NUMBER, _DESTINATION = 1, 3  # CTA_PROTO_NUM, CTA_PROTO_DST_PORT
_HEADS = tuple(struct.pack(">BBH", family, 0, 0) for family in (2, 10))  # AF_INET, AF_INET6
_UDP = 17


def forget_flows(published: Sequence[PortSpec]) -> None:
    """Delete the UDP conversations on ``published`` ports. O(tracked connections of the host)."""
    ports = {port.published for port in published if port.protocol == "udp"}
    if not ports:
        return
    with Socket(NETFILTER) as socket:
        for head in _HEADS:
            for body in socket.dump(Message(_GET, head, about="list connections")):
                original = attributes(body[4:]).get(_ORIGINAL, b"")
                protocol = attributes(attributes(original).get(_PROTOCOL, b""))
                if protocol.get(_NUMBER) != bytes([_UDP]):
                    continue
                if struct.unpack(">H", protocol[_DESTINATION])[0] in ports:
                    forget = head + attr(_ORIGINAL | NESTED, original)
                    with suppress(FileNotFoundError):  # it ended by itself
                        socket.request([Message(_DELETE, forget, about="forget connection")])
