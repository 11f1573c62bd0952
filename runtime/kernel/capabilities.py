"""capget(2) and capset(2), with sets of capabilities as bit masks.

Comes in:  masks, bit n for capability n (include/uapi/linux/capability.h).
Goes out:  masks.
Not here:  names and Docker's default (``runtime.policy.capabilities``).
"""

from __future__ import annotations

import ctypes
import struct
from typing import NamedTuple

from runtime.kernel.libc import syscall

_VERSION_3 = 0x20080522


class Capabilities(NamedTuple):
    """The three sets of a thread."""

    effective: int
    permitted: int
    inheritable: int


def capget() -> Capabilities:
    """capget(2): the calling thread's sets."""
    header, data = (
        ctypes.create_string_buffer(struct.pack("Ii", _VERSION_3, 0)),
        ctypes.create_string_buffer(24),
    )
    syscall("capget", header, data)
    low_e, low_p, low_i, high_e, high_p, high_i = struct.unpack("6I", data.raw[:24])
    return Capabilities(low_e | high_e << 32, low_p | high_p << 32, low_i | high_i << 32)


def capset(sets: Capabilities) -> None:
    """capset(2): set the calling thread's sets. EPERM: a bit that is not permitted now."""
    low = [mask & 0xFFFFFFFF for mask in sets]
    high = [mask >> 32 for mask in sets]
    header = ctypes.create_string_buffer(struct.pack("Ii", _VERSION_3, 0))
    syscall("capset", header, ctypes.create_string_buffer(struct.pack("6I", *low, *high)))
