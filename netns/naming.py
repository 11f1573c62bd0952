"""Names of links, MAC addresses, and the text of resolv.conf and hosts.

Comes in:  network and container names, addresses, the host's resolv.conf as text.
Goes out:  texts.
Not here:  writing files (the engine does), answering questions (dns).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence
from ipaddress import IPv4Address, ip_address

from netns.errors import NetworkFailure
from netns.spec import EndpointSpec

LOCAL_RESOLVER = "127.0.0.11"
HOST_NAMES = ("host.docker.internal", "host.containers.internal")
_HOSTS_HEAD = (
    ("127.0.0.1", "localhost"),
    ("::1", "localhost ip6-localhost ip6-loopback"),
    ("fe00::", "ip6-localnet"),
    ("ff00::", "ip6-mcastprefix"),
    ("ff02::1", "ip6-allnodes"),
    ("ff02::2", "ip6-allrouters"),
)


def bridge_name(run: str, network: str) -> str:
    """A link name of 15 bytes (IFNAMSIZ less one) for a network of the RUN directory ``run``."""
    return "pc-" + hashlib.sha256(f"{run}\0{network}".encode()).hexdigest()[:12]


def check_link_name(name: str) -> str:
    """``name`` when the kernel takes it for a link (dev_valid_name). Raises NetworkFailure."""
    if not re.fullmatch(r"[^\s/:]{1,15}", name) or name in (".", ".."):
        raise NetworkFailure(
            f"'{name}' is not a name for a link", hint="at most 15 bytes, without '/', ':' or blanks"
        )
    return name


def run_tag(run: str) -> str:
    """Six letters for a RUN directory: in the names of the tables that belong to all its networks."""
    return hashlib.sha256(run.encode()).hexdigest()[:6]


def veth_prefix(run: str) -> str:
    """How the names of all links of a RUN directory begin on the host."""
    return "pcv" + run_tag(run)[:4]


def veth_name(run: str, network: str, container: str, salt: str) -> str:
    """The host's end of an endpoint; ``salt`` keeps it apart from one that is still dying."""
    return veth_prefix(run) + hashlib.sha256(f"{network}\0{container}\0{salt}".encode()).hexdigest()[:8]


def mac_address(address: str, network: str) -> str:
    """A locally administered MAC that follows from the address, so that neighbours' ARP tables stay true."""
    if address and ":" not in address:
        tail = IPv4Address(address).packed
    else:
        tail = hashlib.sha256(f"{network}\0{address}".encode()).digest()[:4]
    return ":".join(f"{byte:02x}" for byte in b"\x02\x42" + tail)


def interface_name(order: int, endpoints: Sequence[EndpointSpec]) -> str:
    """``<prefix><n>``: the n-th of those without a name of their own, skipping names that are taken."""
    names: list[str] = [spec.interface for spec in endpoints]
    for at, spec in enumerate(endpoints):
        if not names[at]:
            numbers = (f"{spec.prefix}{n}" for n in range(len(endpoints) * 2))
            names[at] = next(name for name in numbers if name not in names)
    return names[order]


def directory_name(network: str) -> str:
    """A file name for a network's records; ordinary names stay as they are."""
    if re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,200}", network):
        return network
    return "%" + hashlib.sha256(network.encode()).hexdigest()[:32]


def nameservers(resolv_conf: str) -> tuple[str, ...]:
    """The nameserver addresses of a resolv.conf(5), in order, without scope or repeats."""
    found: dict[str, None] = {}
    for line in resolv_conf.splitlines():
        words = line.split()
        if len(words) >= 2 and words[0] == "nameserver" and _is_address(words[1].split("%")[0]):
            found[words[1]] = None
    return tuple(found)


def search_domains(resolv_conf: str) -> tuple[str, ...]:
    """The search list; the last ``search`` or ``domain`` line counts (resolv.conf(5))."""
    found: tuple[str, ...] = ()
    for line in resolv_conf.splitlines():
        words = line.split()
        if len(words) >= 2 and words[0] in ("search", "domain"):
            found = tuple(word for word in words[1:] if word != ".")
    return found


def options_of(resolv_conf: str) -> tuple[str, ...]:
    """All words of ``options`` lines."""
    lines = (line.split() for line in resolv_conf.splitlines())
    return tuple(word for words in lines if words[:1] == ["options"] for word in words[1:])


def resolv_conf(
    host: str, *, search: Sequence[str] = (), options: Sequence[str] = (), ndots: bool = True
) -> str:
    """The container's resolv.conf: our resolver, the host's search list and options unless overridden.

    host:    text of the host's resolv.conf. search: ``dns_search`` of the service, "." for none.
    options: ``dns_opt`` of the service. ndots: add ``ndots:0`` when nobody sets it.
    """
    domains = [d for d in search if d != "."] if search else list(search_domains(host))
    words = list(options) if options else list(options_of(host))
    if ndots and not any(word.startswith("ndots:") for word in words):
        words.append("ndots:0")
    lines = [f"nameserver {LOCAL_RESOLVER}"]
    if domains:
        lines.append("search " + " ".join(domains))
    if words:
        lines.append("options " + " ".join(words))
    return "\n".join(lines) + "\n"


def direct_resolv_conf(
    host: str, servers: Sequence[str] = (), *, search: Sequence[str] = (), options: Sequence[str] = ()
) -> str:
    """A resolv.conf without our resolver: ``network_mode: host`` and ``none``, builds without names."""
    lines = [f"nameserver {server}" for server in servers or nameservers(host)]
    if domains := [d for d in search if d != "."] if search else search_domains(host):
        lines.append("search " + " ".join(domains))
    if words := options or options_of(host):
        lines.append("options " + " ".join(words))
    return "\n".join(lines) + "\n" if lines else ""


def hosts_file(
    addresses: Iterable[str],
    hostname: str,
    *,
    domainname: str = "",
    extra: Iterable[tuple[str, str]] = (),
    gateway: str = "",
    host: str = "",
) -> str:
    """The container's hosts file.

    addresses: its own, of all networks. extra: (name, address) of ``extra_hosts``; the address
    "host-gateway" becomes ``gateway``, and is left out when there is none.
    gateway: where this machine answers, as host.docker.internal and host.containers.internal too.
    host: the hosts file of this machine, for ``network_mode: host``, "" for an ordinary head.
    """
    lines = host.splitlines() if host else [f"{address}\t{names}" for address, names in _HOSTS_HEAD]
    extra = list(extra)
    known = {name for name, _ in extra}
    extra += [(name, "host-gateway") for name in HOST_NAMES if name not in known]
    for name, address in extra:
        real = gateway if address == "host-gateway" else address.strip("[]")
        if real:
            lines.append(f"{real}\t{name}")
    own = f"{hostname}.{domainname} {hostname}" if domainname else hostname
    lines += [f"{address}\t{own}" for address in addresses if address]
    return "\n".join(lines) + "\n"


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True
