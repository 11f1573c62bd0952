"""Which kernel parameters belong to a container rather than to the host.

Comes in:  a name as in ``sysctls:``, the container's namespaces.
Goes out:  whether writing it stays inside.
Not here:  writing it (``runtime.process.launch``).
Source: namespaces(7), ipc_namespaces(7), uts_namespaces(7); docker run --sysctl.
"""

from __future__ import annotations

_IPC = ("msgmax", "msgmnb", "msgmni", "sem", "shmall", "shmmax", "shmmni", "shm_rmid_forced")


def own_sysctl(name: str, *, network: str, ipc: str, uts: str = "host") -> bool:
    """Whether ``name`` is of a namespace that the container does not share with the host."""
    if ".." in name or "/" in name:
        return False
    if name == "kernel.domainname":
        return uts != "host"
    if name.startswith("net."):
        return network != "host"
    return ipc != "host" and (name.startswith("fs.mqueue.") or name in {f"kernel.{word}" for word in _IPC})
