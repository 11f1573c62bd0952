"""Keep the host closed: the guard tables, and forwarding that is switched on for our bridges only.

Comes in:  the RUN directory, an open Firewall and Links; the ports of all bridges.
Goes out:  tables and sysctls of the kernel; RUN/forwarding.json says what to restore.
Not here:  which rules (nftables.guard), the tables of networks (networks).
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from netns import leases
from netns.links import Links, advised, forwarding_is_off, switch_forwarding
from netns.naming import run_tag, veth_prefix
from netns.netlink import Message
from netns.network import foreign
from netns.nftables import guard
from netns.nftables import messages as nft
from netns.nftables.apply import Firewall

_SWITCH = {nft.IPV4: "net.ipv4.ip_forward", nft.IPV6: "net.ipv6.conf.all.forwarding"}


class Safety:
    """What protects the host while networks of ``run`` exist. Calls are made under the machine's lock."""

    def __init__(self, run: Path) -> None:
        place = str(run.absolute())
        self.tag, self._prefix = run_tag(place), veth_prefix(place)
        self._record = run / "forwarding.json"
        self._owner: Firewall | None = None

    def secure(
        self, firewall: Firewall, ports: Callable[[], Sequence[guard.Port]], *, forward: bool, ipv6: bool
    ) -> list[str]:
        """Have all tables that are wanted and, with ``forward``, the switches; gives sentences about them.

        ports: all ports of our bridges, asked for when their table is missing.
        """
        self._own(guard.guard_table(self.tag), lambda flags: guard.guard_rules(self.tag, flags))
        self.secure_ports(firewall, ports)
        return self._forward(firewall, ipv6=ipv6) if forward else []

    def secure_ports(self, firewall: Firewall, ports: Callable[[], Sequence[guard.Port]]) -> None:
        """Have the table of bridge ports; one that is missing gets all ``ports``."""
        if not firewall.has(guard.ports_table(self.tag), nft.BRIDGE):
            made = guard.ports_rules(self.tag, self._prefix) + guard.admit(self.tag, ports())
            firewall.commit(made)

    def complete(self, firewall: Firewall) -> bool:
        """All tables that ``secure`` made are there."""
        told = leases.read(self._record) or {}
        tables = [guard.guard_table(self.tag), *([guard.forward_table(self.tag)] if told else ())]
        return firewall.has(guard.ports_table(self.tag), nft.BRIDGE) and all(map(firewall.has, tables))

    def release(self, firewall: Firewall, links: Links, *, last: int = 0) -> None:
        """No network is left: take the tables away and restore the switches, unless others use them.

        last: number of the last bridge, which goes in a moment: what goes before it costs no wait of its own.
        """
        foreign.leave(firewall, self.tag)
        others = firewall.others_forward() or links.group_has(guard.GROUP, but=last)
        remover = self._owner or firewall  # closing the owner here would wait for the kernel
        told = leases.read(self._record) or {}
        if told and not others:
            switch_forwarding(told["families"], told["advised"], on=False)
        self._record.unlink(missing_ok=True)
        tables = (
            (guard.guard_table, nft.INET),
            (guard.forward_table, nft.INET),
            (guard.ports_table, nft.BRIDGE),
        )
        there = [(name(self.tag), family) for name, family in tables if firewall.has(name(self.tag), family)]
        gone = [nft.delete_table(name, family=family) for name, family in there]
        try:
            remover.remove(gone)
        except PermissionError:  # another supervisor's; it takes it away when it ends
            for message in gone:
                with suppress(PermissionError):
                    remover.remove([message])

    @property
    def owner(self) -> bool:
        """Tables may be ours."""
        return self._owner is not None

    def close(self) -> None:
        """Let go of the tables; they stay."""
        owner, self._owner = self._owner, None
        if owner:
            owner.close()

    def _forward(self, firewall: Firewall, *, ipv6: bool) -> list[str]:
        """Switch on what is off; the rule that keeps it for our bridges comes first."""
        off = forwarding_is_off(ipv6=ipv6)
        told = leases.read(self._record) or {"families": [], "advised": []}
        families = sorted({*told["families"], *off})
        if not families:
            return []
        table = guard.forward_table(self.tag)
        if families != told["families"]:
            told = {"families": families, "advised": [*told["advised"], *(advised() if ipv6 else ())]}
            self._remove(table)
            leases.write(self._record, told)
        others = firewall.others_forward()
        if told.get("others", False) != others:
            self._remove(table)
            leases.write(self._record, told | {"others": others})
        self._own(table, lambda flags: guard.forward_rules(self.tag, families, flags, others=others))
        switch_forwarding(off, told["advised"], on=True)
        return [
            f"{_SWITCH[f]} was 0 and is now 1, so that containers reach the network; "
            "the host forwards for its containers only"
            for f in off
        ]

    def _remove(self, table: str) -> None:
        if self._socket().has(table):  # a batch that fails takes 10 ms
            with suppress(PermissionError):
                self._socket().remove([nft.delete_table(table)])

    def _socket(self) -> Firewall:
        if self._owner is None:
            self._owner = Firewall()
        return self._owner

    def _own(self, table: str, rules: Callable[[int], Sequence[Message]]) -> None:
        """Make ``table``, or become the owner of one whose owner has died; another's stays as it is.

        The flags are of Linux 6.9; without them the table is an ordinary one.
        """
        socket, flags = self._socket(), nft.OWNER | nft.PERSIST
        try:
            if socket.has(table):
                return socket.commit([nft.table(table, flags=flags)])
            socket.commit(rules(flags))
        except (PermissionError, FileExistsError):
            return
        except OSError as error:
            if error.errno not in (errno.EOPNOTSUPP, errno.EINVAL):
                raise
            if not socket.has(table):
                socket.commit(rules(0))
