"""From a network of the file to one of ``netns``, with every wrong value refused at its place.

Comes in:  a Network of the model.
Goes out:  a NetworkSpec.
Not here:  choosing what the file leaves open (netns.ipam).
Source: Compose Specification, networks; docker network create, options of the bridge driver.
"""

from __future__ import annotations

from collections.abc import Iterable

from compose.errors import ComposeError
from compose.model.project import Network, Project
from compose.model.service import NetworkAttachment
from compose.plan import observed as label
from compose.plan.fingerprint import network_hash
from netns.spec import NetworkSpec, Pool
from schemas.frozen import dataclass, replace

BRIDGE = "network_mode: bridge"  # key of the network that stands for Docker's default bridge
DIRECT = {"macvlan": ("bridge", "private", "vepa", "passthru"), "ipvlan": ("l2", "l3", "l3s")}
_YES = ("1", "t", "T", "TRUE", "true", "True")  # strconv.ParseBool of Go, which docker reads options with
_NO = ("0", "f", "F", "FALSE", "false", "False")


@dataclass(frozen=True, slots=True, kw_only=True)
class Owner:
    """The container whose network namespace a guest lives in: its id, files of /etc and names."""

    id: str = ""
    etc: str = ""
    hostname: str = ""
    domainname: str = ""


def with_modes(project: Project) -> Project:
    """The project with networks in place of ``network_mode: bridge``, ``default`` and names of networks.

    ``bridge`` and ``default`` are a network of the project of their own; a name is one of its networks, else
    an external one.
    """
    networks, services = dict(project.networks), dict(project.services)
    for service in project.services.values():
        mode = service.network_mode
        if mode in ("", "host", "none") or mode.startswith(("service:", "container:")):
            continue
        if mode in ("bridge", "default"):
            network = Network(key=BRIDGE, name=f"{project.name}_bridge")
        else:
            named = (n for n in project.networks.values() if mode == n.name)
            network = next(named, Network(key=mode, name=mode, external=True))
        networks.setdefault(network.key, network)
        services[service.name] = replace(
            service, network_mode="", networks={network.key: NetworkAttachment()}
        )
    return replace(project, networks=networks, services=services)


def left_out(project: Project, names: Iterable[str]) -> list[str]:
    """Sentences about what the ``network_mode`` of services leaves out, as docker says them."""
    found = (project.services[name] for name in names)
    return [
        f"service '{service.name}': published ports are discarded when using {service.network_mode} "
        "network mode: remove 'ports'"
        for service in found
        if service.network_mode in ("host", "none") and service.ports
    ]


def names_on(project: Project) -> dict[str, set[str]]:
    """What the services of a project are called on each network, by the network's real name."""
    found: dict[str, set[str]] = {}
    for service in project.services.values():
        for key, attachment in service.networks.items():
            if key in project.networks:
                numbers = range(1, service.scale + 1)
                made = {f"{project.name}-{service.name}-{number}" for number in numbers}
                names = {service.name, *attachment.aliases, service.hostname}
                names |= {service.container_name} if service.container_name else made
                found.setdefault(project.networks[key].name, set()).update(names - {""})
    return found


def addresses_on(project: Project, network: str) -> set[str]:
    """The addresses that services ask for on the network of real name ``network``."""
    keys = [key for key, one in project.networks.items() if one.name == network]
    given = (s.networks[key] for s in project.services.values() for key in keys if key in s.networks)
    return {text for one in given for text in (one.ipv4_address, one.ipv6_address) if text}


def network_spec(project: str, network: Network) -> NetworkSpec:
    """A network of the file in the words of ``netns``. Raises ComposeError for other drivers than bridge."""
    driver = _driver(network)
    options = network.driver_opts
    mtu = options.get("com.docker.network.driver.mtu", "")
    return NetworkSpec(
        name=network.name,
        project=project,
        bridge=options.get("com.docker.network.bridge.name", ""),
        pools=tuple(
            Pool(
                subnet=p.subnet,
                ip_range=p.ip_range,
                gateway=p.gateway,
                reserved=tuple(p.aux_addresses.values()),
            )
            for p in network.ipam
        ),
        internal=network.internal,
        ipv4=network.enable_ipv4,
        ipv6=network.enable_ipv6,
        mtu=int(mtu) if mtu.isdigit() else None,
        icc=_truth(network, "com.docker.network.bridge.enable_icc"),
        masquerade=_truth(network, "com.docker.network.bridge.enable_ip_masquerade"),
        driver=driver,
        parent=options.get("parent", "") if driver in DIRECT else "",
        mode=options.get(f"{driver}_mode", "") if driver in DIRECT else "",
        labels={
            **network.labels,
            label.PROJECT: project,
            label.NETWORK: network.key,
            label.CONFIG_HASH: network_hash(network),
        },
    )


def _driver(network: Network) -> str:
    """The driver of a network. Raises ComposeError for what is none, or lacks a parent."""
    driver = network.driver if network.driver not in ("", "default") else "bridge"
    at, options = f"networks.{network.key}", network.driver_opts
    if driver != "bridge" and driver not in DIRECT:
        raise ComposeError(
            f"network '{network.key}': driver '{network.driver}' is not supported",
            hint="drivers are bridge, macvlan and ipvlan; 'network_mode: host' and 'none' need no network",
            path=f"{at}.driver",
        )
    if driver in DIRECT and not options.get("parent"):
        raise ComposeError(
            f"network '{network.key}': driver '{driver}' needs a link of the host",
            hint="add 'driver_opts: {parent: eth0}'",
            path=f"{at}.driver",
        )
    mode = options.get(f"{driver}_mode", "")
    if mode and mode not in DIRECT.get(driver, (mode,)):
        raise ComposeError(
            f"network '{network.key}': '{mode}' is no mode of {driver}",
            hint="modes are " + ", ".join(DIRECT[driver]),
            path=f"{at}.driver_opts.{driver}_mode",
        )
    return driver


def _truth(network: Network, option: str) -> bool:
    """A truth value among ``driver_opts``, true when it is not given."""
    text = network.driver_opts.get(option, "true")
    if text in _YES or text in _NO:
        return text in _YES
    raise ComposeError(
        f"network '{network.key}': driver option '{option}' is '{text}'",
        hint="use 'true' or 'false'",
        path=f"networks.{network.key}.driver_opts.{option}",
    )
