"""The default profile and the compiler, by running the program over made-up calls."""

from __future__ import annotations

import json
import struct

import pytest

from runtime.policy import seccomp
from runtime.policy.capabilities import DEFAULT
from runtime.policy.syscalls import tables

X86_64, X86, ARM = 0xC000003E, 0x40000003, 0x40000028
ALLOW, EPERM, ENOSYS, KILL = 0x7FFF0000, 0x50001, 0x50026, 0x80000000
PLAIN = tuple(sorted(DEFAULT))


def answer(
    program: bytes, call: str | int, *arguments: int, table: str = "x86_64", arch: int = X86_64
) -> int:
    """What the kernel would do: interpret the classic BPF that the compiler emits."""
    number = tables()[table][call] if isinstance(call, str) else call
    data = struct.pack("<IIQ6Q", number, arch, 0, *(*arguments, 0, 0, 0, 0, 0, 0)[:6])
    place = accumulator = 0
    while True:
        code, true, false, value = struct.unpack_from("<HBBI", program, place * 8)
        place += 1
        if code == 0x20:
            accumulator = struct.unpack_from("<I", data, value)[0]
        elif code == 0x54:
            accumulator &= value
        elif code == 0x05:
            place += value
        elif code == 0x06:
            return int(value)
        else:
            holds = {0x15: accumulator == value, 0x25: accumulator > value, 0x35: accumulator >= value}[code]
            place += true if holds else false


@pytest.fixture(scope="module")
def plain() -> bytes:
    return seccomp.program("default", PLAIN, "x86_64")


def test_ordinary_calls_pass_and_those_of_the_host_do_not(plain: bytes) -> None:
    for call in ("read", "execve", "openat2", "futex_waitv", "ptrace", "chroot"):
        assert answer(plain, call) == ALLOW, call
    for call in (
        "mount",
        "unshare",
        "setns",
        "keyctl",
        "add_key",
        "bpf",
        "reboot",
        "init_module",
        "io_uring_setup",
    ):
        assert answer(plain, call) == EPERM, call


def test_clone_may_not_make_namespaces_and_clone3_is_unknown(plain: bytes) -> None:
    assert answer(plain, "clone", 0x11) == ALLOW
    for flag in (0x00020000, 0x02000000, 0x04000000, 0x08000000, 0x10000000, 0x20000000, 0x40000000):
        assert answer(plain, "clone", flag | 0x11) == EPERM
    assert answer(plain, "clone3") == ENOSYS


def test_capabilities_give_calls_back() -> None:
    admin = seccomp.program("default", (*PLAIN, "SYS_ADMIN"), "x86_64")
    for call in ("mount", "unshare", "setns", "clone3"):
        assert answer(admin, call) == ALLOW
    assert answer(admin, "clone", 0x10000011) == ALLOW
    assert answer(seccomp.program("default", ("SYS_TIME",), "x86_64"), "settimeofday") == ALLOW
    assert answer(seccomp.program("default", (), "x86_64"), "chroot") == EPERM


def test_sockets_by_family_and_personality_by_value(plain: bytes) -> None:
    families = {1: ALLOW, 2: ALLOW, 16: ALLOW, 38: EPERM, 39: ALLOW, 40: EPERM, 41: ALLOW}
    assert {family: answer(plain, "socket", family) for family in families} == families
    assert answer(plain, "personality", 0x20008) == ALLOW
    assert answer(plain, "personality", 0x0040000) == EPERM  # ADDR_NO_RANDOMIZE
    # the family is an int: what stands above it does not hide it
    assert {family: answer(plain, "socket", 1 << 40 | family) for family in families} == families


def test_the_other_architectures_of_the_processor_are_filtered_too(plain: bytes) -> None:
    assert answer(plain, "mount", table="x86", arch=X86) == EPERM
    assert answer(plain, "waitpid", table="x86", arch=X86) == ALLOW
    assert answer(plain, "execve", table="x32") == ALLOW
    assert answer(plain, "unshare", table="x32") == EPERM
    assert answer(plain, "read", arch=ARM) == KILL


def test_a_call_from_the_future_is_unknown_rather_than_forbidden(plain: bytes) -> None:
    assert answer(plain, 600) == ENOSYS
    assert answer(plain, "file_getattr") == ENOSYS  # newer than every call the profile names
    assert answer(plain, 0x40000000 + 600) == ENOSYS


def test_aarch64_has_its_own_numbers() -> None:
    program = seccomp.program("default", PLAIN, "aarch64")
    assert answer(program, "openat", table="aarch64", arch=0xC00000B7) == ALLOW
    assert answer(program, "mount", table="aarch64", arch=0xC00000B7) == EPERM


@pytest.mark.parametrize(
    ("operator", "value", "passing", "failing"),
    [
        ("NE", 5, (4, 1 << 33 | 5), (5,)),
        ("LT", 1 << 32, (0, (1 << 32) - 1), (1 << 32, 1 << 33)),
        ("LE", 1 << 32, (1 << 32,), ((1 << 32) + 1,)),
        ("EQ", 1 << 32 | 7, (1 << 32 | 7,), (7, 1 << 32)),
        ("GE", 7, (7, 1 << 40), (6,)),
        ("GT", 7, (8, 1 << 40), (7,)),
    ],
)
def test_every_operator_compares_64_bits(
    operator: str, value: int, passing: tuple[int, ...], failing: tuple[int, ...]
) -> None:
    args = [{"index": 1, "op": f"SCMP_CMP_{operator}", "value": value}]
    rule = {"names": ["kill"], "action": "SCMP_ACT_ALLOW", "args": args}
    text = json.dumps({"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [rule]})
    program = seccomp.program(text, (), "x86_64")
    assert [answer(program, "kill", 0, number) for number in passing] == [ALLOW] * len(passing)
    assert [answer(program, "kill", 0, number) for number in failing] == [EPERM] * len(failing)


def test_a_custom_profile_may_deny_with_its_own_number() -> None:
    rules = [{"names": ["chmod", "no_such_call"], "action": "SCMP_ACT_ERRNO", "errnoRet": 95}]
    program = seccomp.program(
        json.dumps({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": rules}), (), "x86_64"
    )
    assert answer(program, "chmod") == 0x50000 | 95
    assert answer(program, "mount") == ALLOW


@pytest.mark.parametrize("text", ["", "{", "{}", '{"defaultAction": "EXPLODE"}', "[]"])
def test_a_broken_profile_is_refused(text: str) -> None:
    if text == "":
        return
    with pytest.raises(ValueError, match="profile"):
        seccomp.program(text, (), "x86_64")


def test_unconfined_is_no_program() -> None:
    assert seccomp.program("unconfined", PLAIN, "x86_64") == b""
