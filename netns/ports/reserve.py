"""Hold the published ports of this machine by binding them, and say who holds a busy one.

Comes in:  PortSpecs of one container.
Goes out:  the same with ``published`` filled in, and bound sockets that nobody accepts on.
Not here:  leading packets to a container (nftables.ruleset), finding a holder (holder).

A bound TCP socket refuses connections until ``forward`` listens on it; the kernel's DNAT takes IPv4
packets before they reach it. Every reservation leaves a small file under RUN/ports, because bound
sockets that do not listen are in no table of /proc/net.
"""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

from netns.errors import NetworkFailure, PortBusy
from netns.nftables.ruleset import families
from netns.ports.holder import Holder, describe, find_holder, only_remains, read_note, write_note
from netns.spec import PortSpec
from schemas.frozen import dataclass, replace

_KINDS = {"tcp": socket.SOCK_STREAM, "udp": socket.SOCK_DGRAM}
_EPHEMERAL_TRIES = 20


@dataclass(frozen=True, slots=True)
class Held:
    """One published port: ``four`` and ``six`` are bound sockets, None where that family is not asked for."""

    port: PortSpec
    four: socket.socket | None
    six: socket.socket | None
    note: Path

    def close(self) -> None:
        self.note.unlink(missing_ok=True)  # first: the next holder writes one of the same name
        for held in (self.four, self.six):
            if held is not None:
                held.close()


class Reservations:
    """The ports this process holds, by container. ``run`` is the machine-wide RUN directory."""

    def __init__(self, run: Path) -> None:
        self._notes = run / "ports"
        self._run = run
        self._held: dict[str, list[Held]] = {}

    def of(self, container: str) -> list[Held]:
        return self._held.get(container, [])

    def reserve(
        self, container: str, ports: Sequence[PortSpec], *, project: str = "", name: str = ""
    ) -> tuple[PortSpec, ...]:
        """Bind all of ``ports`` for ``container`` or none; what it held before is kept when it fits.

        Raises PortBusy naming the holder (the others in ``more``), NetworkFailure for what cannot be.
        """
        if container in self._held:
            kept = tuple(held.port for held in self._held[container])
            if len(kept) == len(ports) and all(map(fits, ports, kept)):
                return kept
            self.release(container)
        self._notes.mkdir(parents=True, exist_ok=True)
        owner = Holder(pid=os.getpid(), command="", project=project, container=name or container[:12])
        with ExitStack() as undo:
            taken, busy = list[Held](), list[PortBusy]()
            for port in ports:
                try:
                    held = self._take(port, owner)
                except PortBusy as error:
                    busy.append(error)
                    continue
                undo.callback(held.close)
                taken.append(held)
            if busy:
                busy[0].more = tuple(busy[1:])
                raise busy[0]
            undo.pop_all()
        self._held[container] = taken
        return tuple(held.port for held in taken)

    def release(self, container: str) -> None:
        for held in self._held.pop(container, []):
            held.close()

    def close(self) -> None:
        for container in list(self._held):
            self.release(container)

    def _take(self, port: PortSpec, owner: Holder) -> Held:
        if port.protocol not in _KINDS:
            raise NetworkFailure(
                f"port {port.target}/{port.protocol} cannot be published",
                hint="tcp and udp can; containers of one network reach each other by any protocol",
            )
        busy: PortBusy | None = None
        for candidate in _candidates(port):
            try:
                return self._bind(replace(port, published=candidate), owner)
            except PortBusy as error:
                busy = error
        if busy and port.last_published > port.published:
            raise PortBusy(
                f"no port of {port.published}-{port.last_published}/{port.protocol} is free: {busy.message}",
                hint=busy.hint,
                published=port.published,
            )
        raise busy or PortBusy(f"no {port.protocol} port is free")

    def _bind(self, port: PortSpec, owner: Holder) -> Held:
        wants_four, wants_six = families(port.host_ip)
        with ExitStack() as undo:
            four = six = None
            if wants_four:
                four = undo.enter_context(self._socket(port, socket.AF_INET))
            if wants_six and socket.has_ipv6 and (port.host_ip or Path("/proc/net/if_inet6").exists()):
                six = undo.enter_context(self._socket(port, socket.AF_INET6))
            undo.pop_all()
        where = port.host_ip.replace(":", "_").replace("/", "_") or "any"
        note = self._notes / f"{port.protocol}-{port.published}-{where}.json"
        write_note(note, owner)
        return Held(port, four, six, note)

    def _socket(self, port: PortSpec, family: socket.AddressFamily) -> socket.socket:
        wildcard = "::" if family == socket.AF_INET6 else "0.0.0.0"
        address = (port.host_ip.strip("[]") or wildcard, port.published)
        made = socket.socket(family, _KINDS[port.protocol] | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
        try:
            if family == socket.AF_INET6:
                made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            self._attach(made, address, port)
        except BaseException:
            made.close()
            raise
        return made

    def _attach(self, made: socket.socket, address: tuple[str, int], port: PortSpec) -> None:
        try:
            made.bind(address)
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                return self._contend(made, address, port)
            raise _refused(error, address, port) from None

    def _contend(self, made: socket.socket, address: tuple[str, int], port: PortSpec) -> None:
        """The port is in use: by whom, or only by connections in TIME_WAIT, which SO_REUSEADDR passes."""
        holder = find_holder(self._run, port.protocol, port.published)
        who = "is already in use"
        if holder is None and port.protocol == "tcp" and only_remains(port.published):
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                return made.bind(address)
            except OSError:
                who = "is held for up to a minute by connections that just closed (TIME_WAIT)"
        elif holder:
            who = f"is already in use by {describe(holder)}"
        shown = f"{port.host_ip}:{port.published}" if port.host_ip else str(port.published)
        stop = f"stop it (kill {holder.pid})" if holder and not holder.project else "stop the holder"
        if holder and holder.pid == os.getpid() and holder.project:
            stop = "stop that container"
        raise PortBusy(
            f"port {shown}/{port.protocol} {who}",
            hint=f"{stop}, or publish another port of the host",
            published=port.published,
        )


def _refused(error: OSError, address: tuple[str, int], port: PortSpec) -> NetworkFailure:
    if error.errno == errno.EADDRNOTAVAIL:
        return NetworkFailure(
            f"port {port.published}/{port.protocol} cannot be published on {address[0]}: "
            "the host has no such address",
            hint="'ip address' lists the addresses of the host",
        )
    return NetworkFailure(f"port {port.published}/{port.protocol} cannot be published: {error.strerror}")


def fits(wanted: PortSpec, held: PortSpec) -> bool:
    """A held port answers what is wanted: same target and place, and a number of the wanted range."""
    same = (wanted.target, wanted.protocol, wanted.host_ip, wanted.carried) == (
        held.target,
        held.protocol,
        held.host_ip,
        held.carried,
    )
    if wanted.published == 0:
        return same
    last = max(wanted.last_published, wanted.published)
    return same and wanted.published <= held.published <= last


def _ephemeral(port: PortSpec) -> int:
    """A port the kernel calls free. Bound by number afterwards: a number that the kernel chose while
    binding is given back when a listening socket is shut down (SOCK_BINDPORT_LOCK)."""
    family = socket.AF_INET6 if ":" in port.host_ip else socket.AF_INET
    with socket.socket(family, _KINDS[port.protocol]) as probe:
        probe.bind(("", 0))
        return int(probe.getsockname()[1])


def _candidates(port: PortSpec) -> Iterator[int]:
    if port.published == 0:
        for _ in range(_EPHEMERAL_TRIES):
            yield _ephemeral(port)
    else:
        yield from range(port.published, max(port.published, port.last_published) + 1)


def sweep_notes(run: Path) -> None:
    """Remove notes whose process is gone: left by a supervisor that was killed."""
    for note in (run / "ports").glob("*.json"):
        if read_note(note) is None:
            note.unlink(missing_ok=True)
