"""Compile a seccomp profile to a classic BPF program.

Comes in:  "default", "unconfined" or the text of a profile; capabilities; the machine.
Goes out:  struct sock_filter[] as bytes, b"" for unconfined.
Not here:  what the profile says (``profile``), loading it (``runtime.kernel.seccomp``).

The program looks at the architecture, then finds the call's number by binary search over runs of
numbers with the same answer: about ten comparisons. Numbers past the newest that a refusing profile
names answer ENOSYS, so that a C library falls back.
Source: seccomp(2), Documentation/userspace-api/seccomp_filter.rst.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from functools import lru_cache

from runtime.policy.profile import ALLOW, ENOSYS, ERRNO, Argument, Profile, Rule, default, parse
from runtime.policy.syscalls import X32_BIT, tables

KILL_PROCESS = 0x80000000
LONGEST = 4096  # BPF_MAXINSNS
_ARCHES = {  # uname -m: ((AUDIT_ARCH_*, tables of it), ...), the native one first
    "x86_64": ((0xC000003E, ("x86_64", "x32")), (0x40000003, ("x86",))),
    "aarch64": ((0xC00000B7, ("aarch64",)),),
}
_LOAD, _AND, _RETURN, _JUMP = 0x20, 0x54, 0x06, 0x05
_JEQ, _JGT, _JGE = 0x15, 0x25, 0x35
_NUMBER, _ARCH, _ARGUMENTS = 0, 4, 16  # offsets in struct seccomp_data

Code = list[tuple[int, int, int, int]]  # (code, jump if true, jump if false, value)
Leaf = tuple[Rule, ...]


@lru_cache(maxsize=64)
def program(profile: str, capabilities: tuple[str, ...], machine: str) -> bytes:
    """The filter of ``profile`` for a container with ``capabilities``; cached.

    Raises ValueError for a malformed profile or a machine without tables.
    """
    if profile == "unconfined":
        return b""
    if machine not in _ARCHES:
        raise ValueError(f"no seccomp tables for {machine}; set security_opt seccomp:unconfined")
    if profile in ("", "default", "builtin"):
        chosen = default(capabilities, machine)
    else:
        chosen = parse(profile, capabilities, machine)
    code = compile_profile(chosen, machine)
    if len(code) > LONGEST:
        raise ValueError(f"the seccomp profile is too long: {len(code)} of {LONGEST} instructions")
    return b"".join(struct.pack("<HBBI", op, true, false, value) for op, true, false, value in code)


def compile_profile(profile: Profile, machine: str) -> Code:
    """All architectures of ``machine``, one after the other; any other architecture is killed."""
    known = tables()
    code: Code = [(_LOAD, 0, 0, _ARCH)]
    arches = _ARCHES[machine] if profile.every_arch else _ARCHES[machine][:1]
    for audit, names in arches:
        body: Code = [(_LOAD, 0, 0, _NUMBER), *_search(_runs(profile, [known[name] for name in names]))]
        code += [(_JEQ, 1, 0, audit), (_JUMP, 0, 0, len(body)), *body]
    return [*code, (_RETURN, 0, 0, KILL_PROCESS)]


def _runs(profile: Profile, numbers: list[Mapping[str, int]]) -> list[tuple[int, Leaf]]:
    """Cut 0 .. 2**32 into runs (first number, answer); neighbours with the same answer are one."""
    leaves: dict[int, Leaf] = {}
    for table in numbers:
        for number, rules in _by_number(profile, table).items():
            leaves[number] = rules
    fallback: Leaf = (Rule((), profile.default),)
    unknown: Leaf = (Rule((), ERRNO | ENOSYS),)
    edges = {0: fallback}
    for number, leaf in leaves.items():
        edges[number] = leaf
        edges.setdefault(number + 1, fallback)
    for table in numbers:
        named = [table[name] for rule in profile.rules for name in rule.names if name in table]
        newest = max(table.values()) if profile.default == ALLOW or not named else max(named)
        edges[newest + 1] = unknown
        edges.setdefault(min(table.values()) & X32_BIT, fallback)
    runs: list[tuple[int, Leaf]] = []
    for number in sorted(edges):
        leaf = leaves.get(number, edges[number])
        if not runs or runs[-1][1] != leaf:
            runs.append((number, leaf))
    return runs


def _by_number(profile: Profile, table: Mapping[str, int]) -> dict[int, Leaf]:
    """For each number the rules that decide about it, ended by one without conditions."""
    found: dict[int, list[Rule]] = {}
    for rule in profile.rules:
        for name in rule.names:
            if name in table:
                found.setdefault(table[name], []).append(Rule((), rule.action, rule.arguments))
    return {number: _settled(rules, profile.default) for number, rules in found.items()}


def _settled(rules: list[Rule], fallback: int) -> Leaf:
    """An unconditional rule decides alone; conditions end in the profile's default."""
    plain = next((rule for rule in rules if not rule.arguments), None)
    return (plain,) if plain else (*rules, Rule((), fallback))


def _search(runs: list[tuple[int, Leaf]]) -> Code:
    """Binary search over ``runs``; the accumulator holds the number. A leaf returns, nothing joins again."""
    if len(runs) == 1:
        return _leaf(runs[0][1])
    middle = len(runs) // 2
    left, right = _search(runs[:middle]), _search(runs[middle:])
    if len(left) <= 255:
        return [(_JGE, len(left), 0, runs[middle][0]), *left, *right]
    return [(_JGE, 0, 1, runs[middle][0]), (_JUMP, 0, 0, len(left)), *left, *right]


def _leaf(rules: Leaf) -> Code:
    code: Code = []
    for rule in rules:
        tests = [_test(argument) for argument in rule.arguments]
        length = sum(len(test) for test in tests) + 1
        for test in tests:
            length -= len(test)
            code += _aimed(test, length)
        code.append((_RETURN, 0, 0, rule.action))
    return code


FAIL, PASS = -1, -2  # where a test jumps to: past the rule's return, or to the next test


def _aimed(test: Code, after: int) -> Code:
    """Turn FAIL and PASS into distances; ``after`` instructions of the rule follow this test."""
    out: Code = []
    for place, (op, true, false, value) in enumerate(test):
        left = len(test) - place - 1
        aim = {FAIL: left + after, PASS: left}
        out.append((op, aim.get(true, true), aim.get(false, false), value))
    return out


def _test(argument: Argument) -> Code:
    """Compare one 64-bit argument by its halves, high first (little endian)."""
    index, operator, value, other = argument
    low, high = _ARGUMENTS + 8 * index, _ARGUMENTS + 8 * index + 4
    mask = (1 << 64) - 1
    if operator == "MASKED_EQ":
        mask, value = value, other
    if operator in ("EQ", "MASKED_EQ"):
        return [*_half(high, mask >> 32, value >> 32), *_half(low, mask & 0xFFFFFFFF, value & 0xFFFFFFFF)]
    if operator == "LT32":
        return [(_LOAD, 0, 0, low), (_JGE, FAIL, PASS, value)]
    if operator == "GT32":
        return [(_LOAD, 0, 0, low), (_JGT, PASS, FAIL, value)]
    top, bottom = value >> 32, value & 0xFFFFFFFF
    if operator == "NE":
        tail: Code = [(_JEQ, 0, PASS, top), (_LOAD, 0, 0, low), (_JEQ, FAIL, PASS, bottom)]
    elif operator in ("GT", "GE"):
        last = _JGT if operator == "GT" else _JGE
        tail = [(_JGT, PASS, 0, top), (_JEQ, 0, FAIL, top), (_LOAD, 0, 0, low), (last, PASS, FAIL, bottom)]
    else:
        last = _JGE if operator == "LT" else _JGT
        tail = [(_JGT, FAIL, 0, top), (_JEQ, 0, PASS, top), (_LOAD, 0, 0, low), (last, FAIL, PASS, bottom)]
    return [(_LOAD, 0, 0, high), *tail]


def _half(offset: int, mask: int, value: int) -> Code:
    """One half of an equality, under a mask unless that is all ones."""
    masked: Code = [] if mask == 0xFFFFFFFF else [(_AND, 0, 0, mask)]
    return [(_LOAD, 0, 0, offset), *masked, (_JEQ, 0, FAIL, value)]
