"""Programs that make system calls and nothing else: static ELF files for x86-64, made without an assembler.

Comes in:  calls as data: which ABI, which number, which arguments.
Goes out:  the bytes of a program that a container can run, without libc and without a compiler.
Not here:  which calls are attempts (``calls``).
Source: elf(5), syscalls(2); arch/x86/entry/syscalls/syscall_32.tbl and syscall_64.tbl.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

_BASE = 0x20000000  # below 4 GiB for the 32-bit ABI, and away from where programs lie
_SHARED = 0x30000000
UNTOUCHED = 0x5EC0DE  # the result of a call that killed its process
_X32 = 0x40000000
# Registers as the low three bits of "mov r/m, imm" and whether they need REX.B.
_NATIVE = ((7, 0), (6, 0), (2, 0), (2, 1), (0, 1), (1, 1))  # rdi rsi rdx r10 r8 r9
_OLD = (3, 1, 2, 6, 7, 5)  # ebx ecx edx esi edi ebp
_FORK, _EXIT, _WAIT, _ALARM, _MMAP, _WRITE = 57, 231, 61, 37, 9, 1


@dataclass(frozen=True)
class Call:
    """One system call. ``abi`` is "64", "x32" or "32"; text and bytes arguments become addresses of theirs.

    ``Result(n)`` among the arguments is what call n of the same attempt returned.
    """

    number: int
    arguments: Sequence[int | bytes | Result] = ()
    abi: str = "64"


@dataclass(frozen=True)
class Result:
    """What an earlier call of the same attempt returned."""

    index: int


@dataclass
class _Text:
    code: bytearray = field(default_factory=bytearray)
    data: bytearray = field(default_factory=bytearray)
    places: list[tuple[int, int]] = field(default_factory=list)  # (where in code, offset in data)

    def move(self, register: int, high: int, value: int) -> None:
        self.code += bytes((0x48 | high, 0xB8 | register)) + struct.pack("<Q", value % (1 << 64))

    def address(self, register: int, high: int, content: bytes) -> None:
        self.move(register, high, 0)
        self.places.append((len(self.code) - 8, len(self.data)))
        self.data += content + bytes(-len(content) % 8 or 8)

    def load(self, register: int, high: int, where: int) -> None:
        self.code += bytes((0x48 | high << 2, 0x8B, 0x04 | register << 3, 0x25)) + struct.pack("<I", where)

    def store_result(self, where: int) -> None:
        self.code += b"\x48\x89\x04\x25" + struct.pack("<I", where)

    def call(self, call: Call, results: int) -> None:
        registers = [(one, 0) for one in _OLD] if call.abi == "32" else _NATIVE
        for (register, high), value in zip(registers, call.arguments, strict=False):
            if isinstance(value, Result):
                self.load(register, high, results + 8 * value.index)
            elif isinstance(value, bytes):
                self.address(register, high, value)
            else:
                self.move(register, high, value)
        self.move(0, 0, call.number | (_X32 if call.abi == "x32" else 0))
        self.code += b"\xcd\x80" if call.abi == "32" else b"\x0f\x05"

    def elf(self) -> bytes:
        start = 64 + 56
        code = bytearray(self.code + bytes(-len(self.code) % 8))
        for place, offset in self.places:
            struct.pack_into("<Q", code, place, _BASE + start + len(code) + offset)
        size = start + len(code) + len(self.data)
        identity = b"\x7fELF" + bytes((2, 1, 1)) + bytes(9)
        header = struct.pack(
            "<16sHHIQQQIHHHHHH", *(identity, 2, 62, 1, _BASE + start, 64, 0, 0, 64, 56, 1, 0, 0, 0)
        )
        return header + struct.pack("<IIQQQQQQ", 1, 7, 0, _BASE, _BASE, size, size, 4096) + code + self.data


def attempts(wanted: Sequence[Sequence[Call]]) -> bytes:
    """A program that makes each attempt in a child of its own and writes what the last calls returned.

    Its output is one little-endian 64-bit number per attempt, UNTOUCHED where the kernel killed the child;
    a child that hangs is killed after two seconds.
    """
    text = _Text()
    size = 8 * (len(wanted) + 16)
    text.call(Call(_MMAP, (_SHARED, size, 3, 0x31, -1, 0)), 0)
    scratch = _SHARED + 8 * len(wanted)
    for index, calls in enumerate(wanted):
        text.move(0, 0, UNTOUCHED)
        text.store_result(_SHARED + 8 * index)
        child = _Text()
        _attempt(child, calls, scratch, _SHARED + 8 * index)
        text.call(Call(_FORK), 0)
        text.code += b"\x85\xc0\x0f\x85" + struct.pack("<I", len(child.code))  # test eax, eax; jnz
        offset, moved = len(text.code), len(text.data)
        text.places += [(offset + place, moved + data) for place, data in child.places]
        text.code += child.code
        text.data += child.data
        text.code += b"\x89\xc7"  # mov edi, eax
        for register, high in ((6, 0), (2, 0), (2, 1)):
            text.move(register, high, 0)
        text.move(0, 0, _WAIT)
        text.code += b"\x0f\x05"
    text.call(Call(_WRITE, (1, _SHARED, 8 * len(wanted))), 0)
    text.call(Call(_EXIT, (0,)), 0)
    return text.elf()


def _attempt(text: _Text, calls: Sequence[Call], scratch: int, slot: int) -> None:
    text.call(Call(_ALARM, (2,)), 0)
    for index, call in enumerate(calls):
        text.call(call, scratch)
        text.store_result(scratch + 8 * index)
    text.store_result(slot)
    text.call(Call(_EXIT, (0,)), 0)


def read_results(raw: bytes) -> list[int]:
    """The output of ``attempts`` as signed numbers, a 32-bit -errno widened; UNTOUCHED stays."""
    words = struct.unpack(f"<{len(raw) // 8}q", raw)
    return [word - (1 << 32) if 0xFFFFF000 <= word <= 0xFFFFFFFF else word for word in words]


PASSED = 100  # exit code of ``prober`` when the first change worked, 101 for the second ...
FAILED = 99


def prober(first: Call, changes: Iterable[Call], refused: Sequence[int]) -> bytes:
    """A program that opens something, tries to change it and says by its exit code how far it came.

    PASSED + n: change n gave neither of the errno values in ``refused``. FAILED: all were refused. With
    ``Result(0)`` a change takes the descriptor.
    """
    text = _Text()
    results = _BASE + 0x10000
    text.call(Call(_MMAP, (results, 4096, 3, 0x32, -1, 0)), 0)
    text.call(first, results)
    text.store_result(results)
    for index, change in enumerate(changes):
        text.call(change, results)
        leave = _Text()
        leave.call(Call(_EXIT, (PASSED + index,)), 0)
        for errno in refused:
            text.code += b"\x83\xf8" + struct.pack("<b", -errno) + b"\x0f\x84"  # cmp eax, imm8; je
            after = (len(refused) - 1 - refused.index(errno)) * 9
            text.code += struct.pack("<I", after + len(leave.code))
        text.code += leave.code
    text.call(Call(_EXIT, (FAILED,)), 0)
    return text.elf()
