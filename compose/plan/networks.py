"""From a network of the file to one of ``netns``, with every wrong value refused at its place.

Comes in:  a Network of the model.
Goes out:  a NetworkSpec.
Not here:  choosing what the file leaves open (netns.ipam).
Source: Compose Specification, networks; docker network create, options of the bridge driver.
"""

from __future__ import annotations

from compose.errors import ComposeError
from compose.model.project import Network
from compose.plan import observed as label
from compose.plan.fingerprint import network_hash
from netns.spec import NetworkSpec, Pool

_YES = ("1", "t", "T", "TRUE", "true", "True")  # strconv.ParseBool of Go, which docker reads options with
_NO = ("0", "f", "F", "FALSE", "false", "False")


def network_spec(project: str, network: Network) -> NetworkSpec:
    """A network of the file in the words of ``netns``. Raises ComposeError for other drivers than bridge."""
    if network.driver not in ("", "bridge", "default"):
        raise ComposeError(
            f"network '{network.key}': driver '{network.driver}' is not supported",
            hint="use 'driver: bridge'",
        )
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
        mtu=int(mtu) if mtu else None,
        icc=_truth(network, "com.docker.network.bridge.enable_icc"),
        masquerade=_truth(network, "com.docker.network.bridge.enable_ip_masquerade"),
        labels={
            **network.labels,
            label.PROJECT: project,
            label.NETWORK: network.key,
            label.CONFIG_HASH: network_hash(network),
        },
    )


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
