"""Names and numbers of capabilities, and the set a container gets.

Comes in:  ``cap_add`` and ``cap_drop`` as a person writes them.
Goes out:  the final set as sorted names without CAP_, or as a bit mask.
Not here:  capset(2) (``runtime.kernel.capabilities``).
Source: include/uapi/linux/capability.h; docker run, "runtime privilege and Linux capabilities".
"""

from __future__ import annotations

from collections.abc import Iterable

_NAMES = (  # by number
    "CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP LINUX_IMMUTABLE "
    "NET_BIND_SERVICE NET_BROADCAST NET_ADMIN NET_RAW IPC_LOCK IPC_OWNER SYS_MODULE SYS_RAWIO SYS_CHROOT "
    "SYS_PTRACE SYS_PACCT SYS_ADMIN SYS_BOOT SYS_NICE SYS_RESOURCE SYS_TIME SYS_TTY_CONFIG MKNOD LEASE "
    "AUDIT_WRITE AUDIT_CONTROL SETFCAP MAC_OVERRIDE MAC_ADMIN SYSLOG WAKE_ALARM BLOCK_SUSPEND AUDIT_READ "
    "PERFMON BPF CHECKPOINT_RESTORE"
)
_DEFAULT = (
    "AUDIT_WRITE CHOWN DAC_OVERRIDE FOWNER FSETID KILL MKNOD NET_BIND_SERVICE NET_RAW SETFCAP SETGID SETPCAP "
    "SETUID SYS_CHROOT"
)
NAMES = tuple(_NAMES.split())
NUMBERS = {name: number for number, name in enumerate(NAMES)}
DEFAULT = frozenset(_DEFAULT.split())
ALL = "ALL"


def final(add: Iterable[str] = (), drop: Iterable[str] = (), *, privileged: bool = False) -> tuple[str, ...]:
    """Work out the set: the default, plus ``add``, minus ``drop``; ALL stands for every capability.

    With ``drop`` ALL only what ``add`` names is left; with ``add`` ALL everything but ``drop``.
    Raises ValueError for a name that is none.
    """
    if privileged:
        return tuple(sorted(NAMES))
    added, dropped = {canonical(name) for name in add}, {canonical(name) for name in drop}
    base = set() if ALL in dropped else set(NAMES) if ALL in added else set(DEFAULT)
    if ALL in dropped and ALL in added:
        base = set(NAMES)
    return tuple(sorted((base | added - {ALL}) - (dropped - added)))


def canonical(name: str) -> str:
    """ "cap_net_raw" -> "NET_RAW". Raises ValueError for an unknown capability."""
    short = name.upper().removeprefix("CAP_")
    if short != ALL and short not in NUMBERS:
        raise ValueError(f"'{name}' is no capability")
    return short


def mask(names: Iterable[str]) -> int:
    """The set as bits, capability n in bit n."""
    return sum(1 << NUMBERS[name] for name in set(names))


def named(bits: int) -> list[str]:
    """The names of the bits of ``bits``, unknown ones as numbers."""
    numbers = (n for n in range(bits.bit_length()) if bits >> n & 1)
    return [NAMES[n] if n < len(NAMES) else str(n) for n in numbers]
