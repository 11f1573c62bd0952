"""What errors about networks say: holders by name, refusals of the kernel in sentences.

Comes in:  leases, networks, errors.
Goes out:  texts and NetworkFailure.
Not here:  when they are raised (networks).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from netns.errors import NetworkFailure, NetworkInUse
from netns.leases import Lease
from netns.spec import Network

RESOLV_CONF = Path("/etc/resolv.conf")


def in_use(name: str, leases: Sequence[Lease]) -> NetworkInUse:
    holders = ", ".join(sorted(title(lease) for lease in leases)[:5])
    return NetworkInUse(
        f"network '{name}' still has {len(leases)} endpoints: {holders}",
        hint="stop the containers that use it first",
    )


def of(network: Network) -> str:
    return f" of project '{network.spec.project}'" if network.spec.project else ""


def title(lease: Lease) -> str:
    name = lease.endpoint.spec.container_name or lease.endpoint.spec.container[:12]
    return f"'{name}'" + (f" of project '{lease.project}'" if lease.project else "")


def host_resolv_conf() -> str:
    try:
        return RESOLV_CONF.read_text()
    except OSError:
        return ""


@contextmanager
def kernel_says(what: str) -> Iterator[None]:
    """Turn a refusal of the kernel into a sentence."""
    try:
        yield
    except PermissionError as error:
        raise NetworkFailure(f"{what}: {error}", hint="networks need root (CAP_NET_ADMIN)") from error
    except OSError as error:
        raise NetworkFailure(f"{what}: {error}") from error
