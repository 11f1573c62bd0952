"""The program that is pid 1 of a container with ``init: true``: a static ELF file of some 330 bytes.

Comes in:  the machine's architecture, the pid of the container's program.
Goes out:  the bytes of an ELF file.
Not here:  executing it (``init``).

It is written in assembly, ``init_<machine>.S`` beside this file, and kept here assembled, so that nothing
has to be compiled where pycompose is installed; a test assembles it again.
Source: elf(5), signal(7), wait(2).
"""

from __future__ import annotations

import signal
import struct

_CODE = {  # machine: (e_machine of elf.h, the text section)
    "x86_64": (
        62,
        (
            "448b2581000000b880000000488d3d6d00000031f631d241ba080000000f0585c078e483f811740e89c64489e7b83e00"
            "00000f05ebd1b83d00000048c7c7ffffffff488d7424f0ba010000004531d20f0585c07eb24439e075dc8b7c24f089f8"
            "83e07f74088db880000000eb09c1ef0881e7ff000000b8e70000000f050f1f0000000000000000000000000000000000"
        ),
    ),
    "aarch64": (
        183,
        (
            "94040010930a40b9e00314aa010080d2020080d2030180d2281180d2010000d41f0000712bffff541f440071c0000054"
            "e103002ae003132a281080d2010000d4f2ffff1700008092e14300d1220080d2030080d2882080d2010000d41f000071"
            "4dfdff541f00136be1feff54e1035fb820180072600000540000021102000014203c0853c80b80d2010000d41f2003d5"
            "00000000000000000000000000000000"
        ),
    ),
}
_BASE, _ALIGN = 0x400000, 0x10000
_HEADER, _SEGMENT = 64, 56
_LOAD, _STACK = 1, 0x6474E551  # PT_LOAD, PT_GNU_STACK
_READ, _WRITE, _RUN = 4, 2, 1
FORWARDED = frozenset(signal.Signals) - {
    signal.SIGKILL,
    signal.SIGSTOP,
    signal.SIGCHLD,
    signal.SIGSEGV,
    signal.SIGBUS,
    signal.SIGFPE,
    signal.SIGILL,
    signal.SIGTRAP,
    signal.SIGABRT,
    signal.SIGSYS,
    signal.SIGTTIN,
    signal.SIGTTOU,
}


def code(machine: str) -> bytes:
    """The text section as assembled; its last 16 bytes are zero: the signal set and the child's pid."""
    return bytes.fromhex(_CODE[machine][1])


def image(machine: str, child: int) -> bytes:
    """The ELF file: it passes FORWARDED signals on to ``child``, reaps, and exits with the code of ``child``.

    machine: as ``os.uname().machine``. The code of a child that signal n ended is 128 + n. Raises KeyError
    for a machine that has no such program.
    """
    number = _CODE[machine][0]
    waited = sum(1 << one - 1 for one in (*FORWARDED, signal.SIGCHLD))
    text = code(machine)[:-16] + struct.pack("<QQ", waited, child)
    start = _HEADER + 2 * _SEGMENT
    size = start + len(text)
    identity = b"\x7fELF" + bytes((2, 1, 1)) + bytes(9)  # 64 bits, little endian, version 1
    header = struct.pack(
        "<16sHHIQQQIHHHHHH",
        *(identity, 2, number, 1, _BASE + start, _HEADER, 0, 0, _HEADER, _SEGMENT, 2, 0, 0, 0),
    )
    load = struct.pack("<IIQQQQQQ", _LOAD, _READ | _RUN, 0, _BASE, _BASE, size, size, _ALIGN)
    stack = struct.pack("<IIQQQQQQ", _STACK, _READ | _WRITE, 0, 0, 0, 0, 0, 16)
    return header + load + stack + text
