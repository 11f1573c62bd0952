"""The front door: create, connect, disconnect, remove.

Comes in:  NetworkSpec, EndpointSpec, PortSpec; the path of a network namespace.
Goes out:  Network, Connection; records under RUN/networks that any process may read.
Not here:  choosing (ipam), messages (netlink, nftables), names (dns).
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Sequence
from contextlib import ExitStack, closing
from functools import lru_cache
from ipaddress import ip_address
from pathlib import Path

from netns import ipam, naming
from netns.errors import AddressTaken, NetworkFailure, NetworkNotFound
from netns.leases import Lease, Leases
from netns.links import Links, furnish
from netns.network import direct, foreign
from netns.network.mending import Mender, closed_by
from netns.network.planning import parent_of, plan
from netns.network.publishing import Publishing
from netns.network.safety import Safety
from netns.network.words import in_use, kernel_says, of, title
from netns.nftables import guard, ruleset
from netns.nftables.apply import Firewall
from netns.ports.reserve import sweep_notes
from netns.spec import Endpoint, EndpointSpec, Network, NetworkSpec, PortSpec
from schemas.frozen import dataclass, replace

_parsed = lru_cache(4096)(ip_address)
TRIES = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Connection:
    """A plugged container: endpoints in order of attachment, ports with ``published`` filled in."""

    endpoints: tuple[Endpoint, ...]
    ports: tuple[PortSpec, ...] = ()


class Networks:
    """The networks of this machine. Reading needs no rights; one object per thread."""

    def __init__(self, run: Path, project: str = "") -> None:
        """run: the machine-wide RUN directory. project: written into what this object makes."""
        self.notices: list[str] = []
        self._run, self._project = run, project
        self._leases = Leases(run)
        self._publishing = Publishing(run, lambda: self._kernel()[1])
        self._former: dict[tuple[str, str], Endpoint] = {}
        self._safety = Safety(run)
        self._opened: tuple[Links, Firewall] | None = None
        self.mender = Mender(self._leases, self._safety, self._publishing, self._kernel, self.create)

    # reading

    def find(self, name: str) -> Network | None:
        return self._leases.network(name)

    def all(self) -> list[Network]:
        return self._leases.networks()

    def endpoints(self, name: str) -> list[Endpoint]:
        return [lease.endpoint for lease in self._leases.of_network(name)]

    def links(self, name: str) -> dict[str, str]:
        """The host's ends of the endpoints of ``name``, by container."""
        return {lease.endpoint.spec.container: lease.link for lease in self._leases.of_network(name)}

    def endpoints_directory(self, name: str) -> Path:
        """The directory whose change time tells that endpoints of ``name`` came or went."""
        return self._leases.endpoints_directory(name)

    def claimed(self, name: str) -> list[str]:
        """The names that projects have on a network, also while nothing of them runs."""
        return self._leases.claimed(name)

    def published(self, container: str) -> tuple[PortSpec, ...]:
        """The ports of a connected container, ``published`` filled in."""
        return tuple(port for lease in self._leases.of_container(container) for port in lease.ports)

    # networks

    def create(self, spec: NetworkSpec) -> Network:
        """Make a network, or bring back what is missing of one that is recorded. Idempotent.

        Raises AddressTaken when a subnet belongs to somebody else, AddressesExhausted,
        NetworkFailure for what the kernel refuses.
        """
        with self._leases.locked(), kernel_says(f"network '{spec.name}' cannot be created"):
            network = self._leases.network(spec.name)
            fresh = network is None
            with ExitStack() as undo:
                if network is None:
                    network = plan(self._run, self._kernel()[0], self.all(), spec)
                    self._clear(network)
                    undo.callback(self._erase, network)
                self._realize(network, fresh=fresh)
                self._leases.write_network(network)
                undo.pop_all()
        return network

    def remove(self, name: str) -> None:
        """Remove a network with its bridge and rules. Nothing happens when there is none.

        May run in a thread, several at once: the kernel waits 30-60 ms for each bridge.
        Raises NetworkInUse while endpoints remain.
        """
        # closing a socket waits for what nf_tables deleted: after the lock, not under it
        with closing(Firewall()) as firewall, closing(Links()) as links:
            with self._leases.locked():
                if leases := self._leases.of_network(name):
                    raise in_use(name, leases)
                network = self._leases.network(name)
                bridge = 0
                if network and not network.direct:
                    firewall.remove([ruleset.remove_network(network)])
                    bridge = links.index(network.bridge)
                self._leases.forget_network(name)
                if network and not self._leases.networks():
                    self._safety.release(firewall, links, last=bridge)
            if bridge:  # by number: the name may be another's by now
                links.delete(bridge)

    def claim(self, name: str, names: Iterable[str], addresses: Iterable[str] = ()) -> None:
        """Answer ``names`` of the project on a network here, also while nothing of them runs.

        addresses: those that the file gives to somebody; others get them when nothing else is left.
        """
        self._leases.claim(name, self._project, names, addresses)

    def disclaim(self) -> None:
        """Forget what ``claim`` noted, on all networks."""
        self._leases.disclaim(self._project)

    # containers

    def reserve(self, container: str, ports: Sequence[PortSpec], *, name: str = "") -> tuple[PortSpec, ...]:
        """Bind the published ports of ``container`` before anything starts; ``connect`` uses them.

        Returns them with ``published`` filled in. Raises PortBusy naming the holder.
        """
        return self._publishing.reservations.reserve(container, ports, project=self._project, name=name)

    def connect(
        self, netns: Path, endpoints: Sequence[EndpointSpec], ports: Sequence[PortSpec] = ()
    ) -> Connection:
        """Plug the namespace ``netns`` into networks and publish ``ports``. All or nothing.

        endpoints: all of one container, which is not connected yet.
        Raises NetworkNotFound, AddressTaken, AddressesExhausted, PortBusy, NetworkFailure.
        """
        if not endpoints:
            return Connection(endpoints=())
        links, _ = self._kernel()
        ordered = sorted(endpoints, key=lambda e: -e.priority)
        container, name = ordered[0].container, ordered[0].container_name
        for spec in ordered:  # whatever somebody else took away
            if not self.mender.fresh(spec.network) and self.mender.missing(self._network(spec.network)):
                self.create(self._network(spec.network).spec)
        self.disconnect(container, keep_ports=True)  # what a crash left of it
        with ExitStack() as undo, kernel_says(f"container {name or container[:12]} cannot be connected"):
            if ports:
                ports = self.reserve(container, ports, name=name)
                undo.callback(self._publishing.reservations.release, container)
            with self._leases.locked():
                plugged = [self._lease(spec, n, ordered) for n, spec in enumerate(ordered)]
                four = ipam.default_endpoint([pair for pair in plugged if pair[0].gateway4])
                six = ipam.default_endpoint([pair for pair in plugged if pair[0].gateway6])
                bridged = [pair for pair in plugged if not pair[0].direct]
                gateway = four if four in bridged else ipam.default_endpoint(bridged)
                leases = [self._leased(network, endpoint) for network, endpoint in plugged]
                if gateway and ports:
                    at = plugged.index(gateway)
                    leases[at] = replace(leases[at], ports=tuple(ports))
                for lease in leases:
                    undo.callback(self._leases.forget, lease)
                    self._leases.write(lease)
            paired = list(zip(plugged, leases, strict=True))
            guarded = [guard.Port(lease.link, *pair) for pair, lease in paired if lease.link]
            undo.callback(self._dismiss, guarded)
            self._admit(guarded)
            descriptor = os.open(netns, os.O_RDONLY | os.O_CLOEXEC)
            undo.callback(os.close, descriptor)
            for (network, endpoint), lease in paired:
                if network.direct:
                    direct.plug(network, endpoint, parent_of(links, network.spec), descriptor)
                    continue
                undo.callback(self._unplug, lease.link)
                links.plug(network, endpoint, lease.link, descriptor, hairpin=bool(ports))
            furnish(netns, plugged, four[0].gateway4 if four else "", six[0].gateway6 if six else "")
            if ports:
                undo.callback(self._unpublish, leases)
                self._publish(name or container[:12], gateway, ports)
            undo.pop_all()
            os.close(descriptor)
        return Connection(endpoints=tuple(e for _, e in plugged), ports=tuple(ports) if gateway else ())

    def disconnect(self, container: str, *, keep_ports: bool = False) -> None:
        """Give back addresses and published ports; the links die with the namespace. Idempotent.

        keep_ports: the ports stay reserved, for a container that is about to start again.
        """
        leases = self._leases.of_container(container)
        self._unpublish(leases)
        self._dismiss(self._guarded(leases))
        for lease in leases:
            spec = lease.endpoint.spec
            self._former[spec.network, container] = lease.endpoint
            self._leases.forget(lease)
        if not keep_ports:
            self._publishing.reservations.release(container)

    def forget(self, container: str) -> None:
        """Disconnect for good: its former addresses are no longer kept for it."""
        self.disconnect(container)
        for key in [key for key in self._former if key[1] == container]:
            del self._former[key]

    def adopt(self, container: str) -> Connection | None:
        """Take over a container that a dead supervisor connected: its ports are reserved and led again.

        Returns None when it has no endpoints. A port that somebody grabbed meanwhile becomes a notice:
        the kernel still leads IPv4 to the container.
        """
        sweep_notes(self._run)
        leases = self._leases.of_container(container)
        if not leases:
            return None
        for lease in leases:
            self.create(self._network(lease.endpoint.spec.network).spec)
            if lease.ports:
                self._take_over(container, lease)
        ports = tuple(port for lease in leases for port in lease.ports)
        return Connection(endpoints=tuple(lease.endpoint for lease in leases), ports=ports)

    def close(self) -> None:
        """Let go of sockets; what is connected stays connected."""
        self._publishing.close()
        if self._safety.owner:
            with self._leases.locked(), closing(Firewall()) as firewall, closing(Links()) as links:
                if not self._leases.networks():
                    self._safety.release(firewall, links)
            self._safety.close()
        if self._opened:
            for opened in self._opened:
                opened.close()
            self._opened = None

    # how

    def _kernel(self) -> tuple[Links, Firewall]:
        if self._opened is None:
            self._opened = (Links(), Firewall())
        return self._opened

    def _network(self, name: str) -> Network:
        network = self._leases.network(name)
        if network is None:
            raise NetworkNotFound(
                f"network '{name}' does not exist on this machine",
                hint="an external network must be created by the project that owns it",
            )
        return network

    def _clear(self, network: Network) -> None:
        """Remove a bridge that a crashed run left. Raises AddressTaken when a link is not ours."""
        links, firewall = self._kernel()
        for other in self.all() if network.bridge else ():
            if other.bridge == network.bridge:
                raise AddressTaken(
                    f"bridge '{network.bridge}' belongs to network '{other.spec.name}'{of(other)}",
                    hint="choose another name for the bridge of this network",
                )
        index = links.index(network.bridge)
        if index and network.spec.bridge and not firewall.has(ruleset.table_name(network)):
            raise AddressTaken(
                f"link '{network.bridge}' exists already and is not a bridge of ours",
                hint="choose another name for the bridge of this network",
            )
        if index:
            links.delete(index)

    def _realize(self, network: Network, *, fresh: bool) -> None:
        """Bring bridge, sysctls and rules into being; of a recorded network only what is missing."""
        links, firewall = self._kernel()
        if network.direct:
            return
        missing = fresh or not firewall.has(ruleset.table_name(network))
        forward = not network.spec.internal
        said = self._safety.secure(
            firewall, self._all_guarded, forward=forward, ipv6=bool(network.subnet6)
        )  # before route_localnet, which make_bridge switches on
        if missing:
            firewall.commit(ruleset.network_rules(network))
        links.make_bridge(network, guard.GROUP)
        self._notice(*said)
        closed = foreign.enter(firewall, self._safety.tag, network.bridge)
        if fresh:
            self._notice(*map(closed_by, closed))
        elif missing:
            self._lead_again(network)

    def _lead_again(self, network: Network) -> None:
        """Published ports of a table that somebody flushed."""
        for lease in self._leases.of_network(network.spec.name):
            self._publishing.lead(network, lease.endpoint, lease.ports)

    def _all_guarded(self) -> list[guard.Port]:
        return [port for n in self.all() for port in self._guarded(self._leases.of_network(n.spec.name))]

    def _guarded(self, leases: Sequence[Lease]) -> list[guard.Port]:
        """What the ports of endpoints are allowed to send."""
        pairs = ((self._leases.network(lease.endpoint.spec.network), lease) for lease in leases if lease.link)
        return [guard.Port(lease.link, network, lease.endpoint) for network, lease in pairs if network]

    def _admit(self, ports: Sequence[guard.Port]) -> None:
        _, firewall = self._kernel()
        try:
            firewall.commit(guard.admit(self._safety.tag, ports))
        except FileNotFoundError:  # somebody flushed the table
            self._safety.secure_ports(firewall, self._all_guarded)
            firewall.commit(guard.admit(self._safety.tag, ports))

    def _dismiss(self, ports: Sequence[guard.Port]) -> None:
        if ports:
            self._kernel()[1].remove(guard.dismiss(self._safety.tag, ports))

    def _erase(self, network: Network) -> None:
        links, firewall = self._kernel()
        firewall.remove([ruleset.remove_network(network)])
        if bridge := links.index(network.bridge):
            links.delete(bridge)

    def _lease(
        self, spec: EndpointSpec, order: int, all_of: Sequence[EndpointSpec]
    ) -> tuple[Network, Endpoint]:
        """Choose the addresses, MAC and interface name of one endpoint; the lock is held."""
        network = self._network(spec.network)
        holders: dict[ipam.Address, str] = {}
        for lease in self._leases.of_network(spec.network):
            if lease.endpoint.spec.container == spec.container:
                continue
            for address in (lease.endpoint.ipv4, lease.endpoint.ipv6):
                if address:
                    holders[_parsed(address)] = title(lease)
        former = {c: e for (n, c), e in self._former.items() if n == spec.network}
        mine = former.pop(spec.container, None) or Endpoint(spec=spec)
        kept = {_parsed(a) for e in former.values() for a in (e.ipv4, e.ipv6) if a}
        kept |= {_parsed(a) for a in self._leases.claimed(spec.network, "addresses")}
        four = ipam.choose_address(network, spec.ipv4, mine.ipv4, holders, kept, 4)
        six = ipam.choose_address(network, spec.ipv6, mine.ipv6, holders, kept, 6)
        endpoint = Endpoint(
            spec=spec,
            ipv4=four,
            ipv6=six,
            mac=spec.mac or naming.mac_address(four or six, spec.network),
            interface=naming.check_link_name(naming.interface_name(order, all_of)),
        )
        return network, endpoint

    def _unplug(self, link: str) -> None:
        links, _ = self._kernel()
        if index := links.index(link):
            links.delete(index)

    def _leased(self, network: Network, endpoint: Endpoint) -> Lease:
        spec = endpoint.spec
        place, salt = str(self._run.absolute()), os.urandom(4).hex()
        link = "" if network.direct else naming.veth_name(place, spec.network, spec.container, salt)
        return Lease(endpoint=endpoint, project=self._project or network.spec.project, link=link)

    def _publish(
        self, name: str, gateway: tuple[Network, Endpoint] | None, ports: Sequence[PortSpec]
    ) -> None:
        if gateway is None:
            self._notice(
                f"container '{name}' is on internal networks or links of the host only: "
                "its ports stay unpublished"
            )
            return
        self._publishing.publish(*gateway, ports)

    def _unpublish(self, leases: Sequence[Lease]) -> None:
        for lease in leases:
            network = self._leases.network(lease.endpoint.spec.network)
            if network and lease.ports:
                self._publishing.withdraw(network, lease)

    def _take_over(self, container: str, lease: Lease) -> None:
        spec = lease.endpoint.spec
        for left in range(TRIES, -1, -1):  # the forwarder of a dead supervisor closes its sockets in a moment
            try:
                self.reserve(container, lease.ports, name=spec.container_name)
                break
            except NetworkFailure as error:
                if not left:
                    self._notice(f"{error.message}; it is still led to container {title(lease)}")
                time.sleep(0.01)
        self._publish(spec.container_name, (self._network(spec.network), lease.endpoint), lease.ports)

    def _notice(self, *sentences: str) -> None:
        self.notices += [sentence for sentence in sentences if sentence not in self.notices]
