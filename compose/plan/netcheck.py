"""Networks and attachments that do not fit together, each with its place, before anything is made.

Comes in:  a Project, the services wanted.
Goes out:  one ComposeError for each wrong value.
Not here:  single values (networking, resources); what depends on the machine: subnets and addresses that
           are taken (netns.ipam).
Source: Compose Specification, networks and ipam; the checks of docker network create and docker run.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from compose.errors import ComposeError
from compose.model.project import IpamPool, Network, Project
from compose.model.service import NetworkAttachment, Service
from compose.plan.networks import network_spec
from compose.plan.values import hardware_address
from netns.errors import NetworkFailure
from netns.naming import check_link_name

Subnet = IPv4Network | IPv6Network
Address = IPv4Address | IPv6Address


def wrong_values(project: Project, names: Iterable[str]) -> list[ComposeError]:
    """Everything about the networks of the services ``names`` that is wrong whatever the machine is like."""
    services = [project.services[name] for name in names]
    used = {key for service in services for key in service.networks}
    found: list[ComposeError] = []
    for network in project.networks.values():
        if network.key in used and not network.external:
            found += _network(project, network)
    for service in services:
        for key, attachment in service.networks.items():
            if key in project.networks:
                found += _attachment(service, project.networks[key], attachment)
    return found + list(_twice(services))


def plain_mac(text: str) -> str:
    """A MAC address in lower case with colons; "" when it is not the address of one interface."""
    try:
        return hardware_address(text)
    except ValueError:
        return ""


def _network(project: Project, network: Network) -> Iterator[ComposeError]:
    at = f"networks.{network.key}"
    try:
        network_spec(project.name, network)
    except ComposeError as error:
        yield error
    options = network.driver_opts
    if prefix := options.get("com.docker.network.container_iface_prefix", ""):
        yield from _link_name(f"{prefix}9", f"{at}.driver_opts.com.docker.network.container_iface_prefix")
    if bridge := options.get("com.docker.network.bridge.name", ""):
        yield from _link_name(bridge, f"{at}.driver_opts.com.docker.network.bridge.name")
    if not network.enable_ipv4 and not network.enable_ipv6:
        text = f"network '{network.key}' has neither IPv4 nor IPv6"
        yield ComposeError(text, hint="enable one of them", path=f"{at}.enable_ipv4")
    yield from _pools(network, at)


def _link_name(name: str, path: str) -> Iterator[ComposeError]:
    try:
        check_link_name(name)
    except NetworkFailure as error:
        yield ComposeError(error.message, hint=error.hint, path=path)


def _pools(network: Network, at: str) -> Iterator[ComposeError]:
    seen: list[Subnet] = []
    for number, pool in enumerate(network.ipam):
        place = f"{at}.ipam.config[{number}]"
        subnet = _subnet(pool.subnet)
        if pool.subnet and subnet is None:
            text = f"network '{network.key}': subnet '{pool.subnet}' is not a network in CIDR form"
            yield ComposeError(text, hint="write it as 10.1.2.0/24", path=f"{place}.subnet")
            continue
        if subnet is None:
            for name in ("ip_range", "gateway", "aux_addresses"):
                if getattr(pool, name):
                    text = f"network '{network.key}': '{name}' without a 'subnet' that it is part of"
                    yield ComposeError(text, hint="add 'subnet'", path=f"{place}.{name}")
            continue
        for other in seen:
            if other.version == subnet.version:
                text = f"network '{network.key}' has two IPv{subnet.version} subnets, {other} and {subnet}"
                yield ComposeError(text, hint="a bridge has one of each family", path=f"{place}.subnet")
        seen.append(subnet)
        if subnet.version == 6 and not network.enable_ipv6:
            text = f"network '{network.key}': subnet {subnet} without IPv6"
            yield ComposeError(text, hint="add 'enable_ipv6: true'", path=f"{place}.subnet")
        if subnet.num_addresses < 4:
            text = f"network '{network.key}': subnet {subnet} has no room for a gateway and a container"
            yield ComposeError(
                text, hint=f"/{subnet.max_prefixlen - 2} is the smallest", path=f"{place}.subnet"
            )
        yield from _inside(network, pool, subnet, place)


def _inside(network: Network, pool: IpamPool, subnet: Subnet, place: str) -> Iterator[ComposeError]:
    """The parts of a pool lie in its subnet."""
    area = _subnet(pool.ip_range) if pool.ip_range else None
    if pool.ip_range and (area is None or area.version != subnet.version or not _within(area, subnet)):
        text = f"network '{network.key}': ip_range '{pool.ip_range}' is not a part of subnet {subnet}"
        yield ComposeError(text, hint="give a smaller network inside the subnet", path=f"{place}.ip_range")
    given = [("gateway", pool.gateway, f"{place}.gateway")] if pool.gateway else []
    given += [("aux_addresses", text, f"{place}.aux_addresses.{n}") for n, text in pool.aux_addresses.items()]
    seen: dict[Address, str] = {}
    for name, text, path in given:
        address = _address(text)
        if address is None or address not in subnet or address == subnet.network_address:
            said = f"network '{network.key}': {name} '{text}' is not an address of subnet {subnet}"
            yield ComposeError(said, hint="choose an address inside the subnet", path=path)
        elif address in seen:
            said = f"network '{network.key}': {name} '{text}' is given to {seen[address]} already"
            yield ComposeError(said, hint="choose another address", path=path)
        else:
            seen[address] = name


def _within(inner: Subnet, outer: Subnet) -> bool:
    return inner.network_address in outer and inner.broadcast_address in outer


def _attachment(service: Service, network: Network, given: NetworkAttachment) -> Iterator[ComposeError]:
    at = f"services.{service.name}.networks.{network.key}"
    if given.interface_name:
        yield from _link_name(given.interface_name, f"{at}.interface_name")
    for name, text, version in (
        ("ipv4_address", given.ipv4_address, 4),
        ("ipv6_address", given.ipv6_address, 6),
    ):
        if text:
            yield from _static(service, network, text, version, f"{at}.{name}")


def _static(service: Service, network: Network, text: str, version: int, path: str) -> Iterator[ComposeError]:
    address = _address(text)
    if address is None or address.version != version:  # told by ``networking``
        return
    if not network.external and not (network.enable_ipv4 if version == 4 else network.enable_ipv6):
        said = f"service '{service.name}': {text} on network '{network.key}', which has no IPv{version}"
        yield ComposeError(said, hint=f"add 'enable_ipv{version}: true' to the network", path=path)
        return
    pools = [(pool, subnet) for pool in network.ipam if (subnet := _subnet(pool.subnet))]
    for pool, subnet in pools:
        if subnet.version == version and address not in subnet:
            said = f"service '{service.name}': address {address} is not in subnet {subnet} of '{network.key}'"
            yield ComposeError(said, hint="choose an address inside the subnet", path=path)
        elif subnet.version == version and address == (_address(pool.gateway) or subnet[1]):
            said = f"service '{service.name}': address {address} is the gateway of '{network.key}'"
            yield ComposeError(said, hint="choose another address", path=path)
    if service.scale > 1:
        said = f"service '{service.name}': address {address} for {service.scale} containers"
        yield ComposeError(said, hint="remove the address, or 'scale'", path=path)


def _twice(services: Iterable[Service]) -> Iterator[ComposeError]:
    """Addresses and MACs that two services ask for on one network."""
    seen: dict[tuple[str, str], str] = {}
    wanted = (
        (service.name, key, name, str(getattr(given, name)))
        for service in services
        for key, given in service.networks.items()
        for name in ("ipv4_address", "ipv6_address", "mac_address")
    )
    for service, key, name, text in wanted:
        value = plain_mac(text) or str(_address(text) or "")
        other = seen.setdefault((key, value), service) if value else service
        if other != service:
            yield ComposeError(
                f"service '{service}' asks for {text} on network '{key}', as service '{other}' does",
                hint="give one of them another address",
                path=f"services.{service}.networks.{key}.{name}",
            )


def _subnet(text: str) -> Subnet | None:
    try:
        return ip_network(text, strict=False) if "/" in text else None
    except ValueError:
        return None


def _address(text: str) -> Address | None:
    try:
        return ip_address(text)
    except ValueError:
        return None
