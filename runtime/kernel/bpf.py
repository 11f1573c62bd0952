"""bpf(2): load a device-control program and attach it to a cgroup.

Comes in:  eBPF instructions as bytes, a descriptor of a cgroup v2 directory.
Goes out:  nothing; the cgroup holds the program until it is removed.
Not here:  writing the program (``runtime.cgroup.devices``).
"""

from __future__ import annotations

import ctypes
import os
import struct

from runtime.kernel.libc import syscall

_PROG_LOAD, _PROG_ATTACH = 5, 8
_TYPE_CGROUP_DEVICE, _CGROUP_DEVICE = 15, 6
_ALLOW_MULTI = 2


def load_device_program(instructions: bytes) -> int:
    """BPF_PROG_LOAD of a BPF_PROG_TYPE_CGROUP_DEVICE program. Returns its descriptor.

    EPERM: no CAP_BPF and CAP_NET_ADMIN, or no CAP_SYS_ADMIN. Source: include/uapi/linux/bpf.h.
    """
    code = ctypes.create_string_buffer(instructions, len(instructions))
    licence = ctypes.create_string_buffer(b"Apache-2.0")
    words = (_TYPE_CGROUP_DEVICE, len(instructions) // 8, ctypes.addressof(code), ctypes.addressof(licence))
    attr = ctypes.create_string_buffer(struct.pack("=IIQQ", *words), 120)
    return syscall("bpf", _PROG_LOAD, attr, 120)


def attach_device_program(cgroup: int, program: int) -> None:
    """BPF_PROG_ATTACH (BPF_CGROUP_DEVICE, BPF_F_ALLOW_MULTI) and close ``program``."""
    try:
        attr = ctypes.create_string_buffer(
            struct.pack("=IIII", cgroup, program, _CGROUP_DEVICE, _ALLOW_MULTI), 120
        )
        syscall("bpf", _PROG_ATTACH, attr, 120)
    finally:
        os.close(program)
