"""Which device nodes a container may open and make, as v1 rules and as a v2 program.

Comes in:  rules such as "c 1:3 rwm".
Goes out:  the same rules, parsed, or eBPF instructions for them.
Not here:  loading (``runtime.kernel.bpf``), the nodes themselves (``runtime.rootfs``).
Source: Documentation/admin-guide/cgroup-v1/devices.rst, include/uapi/linux/bpf.h (bpf_cgroup_dev_ctx).
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from typing import NamedTuple

# Making any node is harmless without the right to open it; the rest are null, zero, full, random,
# urandom, tty, console, ptmx and pseudo terminals.
DEFAULT = (
    "c *:* m",
    "b *:* m",
    "c 1:3 rwm",
    "c 1:5 rwm",
    "c 1:7 rwm",
    "c 1:8 rwm",
    "c 1:9 rwm",
    "c 5:0 rwm",
    "c 5:1 rwm",
    "c 5:2 rwm",
    "c 136:* rwm",
)
EVERYTHING = ("a *:* rwm",)
_KIND = {"b": 1, "c": 2}
_ACCESS = {"m": 1, "r": 2, "w": 4}


class Rule(NamedTuple):
    """One allowed thing: kind "a", "b" or "c"; None is any number; access bits m=1, r=2, w=4."""

    kind: str
    major: int | None
    minor: int | None
    access: int


def parse(text: str) -> Rule:
    """Read one rule. ValueError: not of the form "<a|b|c> <major|*>:<minor|*> <rwm>"."""
    try:
        kind, numbers, access = text.split()
        major, minor = (None if word == "*" else int(word) for word in numbers.split(":"))
        if (
            kind not in ("a", "b", "c")
            or len(set(access)) != len(access)
            or (major or 0) < 0
            or (minor or 0) < 0
        ):
            raise ValueError
        return Rule(kind, major, minor, sum(_ACCESS[letter] for letter in access))
    except (ValueError, KeyError):
        raise ValueError(f"'{text}' is no device rule") from None


def program(rules: Iterable[str]) -> bytes:
    """Compile ``rules`` to a BPF_PROG_TYPE_CGROUP_DEVICE program: 1 (allowed) when any of them matches."""
    code = [
        _instruction(0x61, 2, 1, 0),  # r2 = access << 16 | type
        _instruction(0xBC, 3, 2),  # r3 = r2
        _instruction(0x54, 3, immediate=0xFFFF),  # r3 = type
        _instruction(0x74, 2, immediate=16),  # r2 = access
        _instruction(0x61, 4, 1, 4),  # r4 = major
        _instruction(0x61, 5, 1, 8),  # r5 = minor
    ]
    for rule in map(parse, rules):
        code += _matching(rule)
    return b"".join([*code, _instruction(0xB7, 0, immediate=0), _instruction(0x95)])


def _matching(rule: Rule) -> list[bytes]:
    """The tests of one rule, each jumping to the next rule when it fails, then "return 1"."""
    tests: list[tuple[int, int]] = []
    if rule.kind != "a":
        tests.append((3, _KIND[rule.kind]))
    tests += [
        (register, number) for register, number in ((4, rule.major), (5, rule.minor)) if number is not None
    ]
    body = [_instruction(0xBC, 1, 2), _instruction(0x54, 1, immediate=7 & ~rule.access)]
    tests.append((1, 0))
    length = len(tests) + len(body) + 2
    out: list[bytes] = []
    for register, number in tests:
        if register == 1:
            out += body
        out.append(_instruction(0x55, register, offset=length - len(out) - 1, immediate=number))
    return [*out, _instruction(0xB7, 0, immediate=1), _instruction(0x95)]


def _instruction(code: int, target: int = 0, source: int = 0, offset: int = 0, immediate: int = 0) -> bytes:
    return struct.pack("<BBhi", code, source << 4 | target, offset, immediate)
