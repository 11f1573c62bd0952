"""Limits as texts for control files, the layout of hierarchies, the device program."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from runtime.cgroup import apply, devices
from runtime.cgroup.layout import Layout, group, parse
from runtime.cgroup.leave import leave
from runtime.cgroup.writes import weight, writes
from runtime.spec import Limits, Throttle

HYBRID = """\
30 20 0:26 / /sys/fs/cgroup rw - tmpfs tmpfs rw
31 30 0:27 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct
32 30 0:28 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory
33 30 0:29 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,name=systemd
34 30 0:30 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw
"""
PURE = "30 20 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n"


def rendered(limits: Limits, version: int) -> list[str]:
    return [f"{w.file}={w.text}" for w in writes(limits, version, lambda path: "8:0")]


def test_a_hybrid_machine_is_version_1_with_every_mount_once() -> None:
    layout = parse(HYBRID, lambda root: "")
    root = Path("/sys/fs/cgroup")
    assert layout.version == 1
    assert layout.controllers == {
        "cpu": root / "cpu,cpuacct",
        "cpuacct": root / "cpu,cpuacct",
        "memory": root / "memory",
    }
    assert sorted(layout.roots()) == [root / "cpu,cpuacct", root / "memory", root / "unified"]


def test_a_pure_machine_is_version_2() -> None:
    layout = parse(PURE, lambda root: "cpu memory pids")
    assert layout.version == 2
    own = group(layout, "shop", "1a2b")
    assert own.directory("memory") == Path("/sys/fs/cgroup/pycompose/shop/1a2b")
    assert own.directory("cpuset") is None


def test_a_parent_takes_the_place_of_the_project_and_cannot_climb() -> None:
    layout = parse(PURE, lambda root: "")
    assert group(layout, "shop", "1a", "/machine/../x").name == "pycompose/machine/x/1a"


def test_memory_alone_allows_as_much_swap_again() -> None:
    limits = Limits(memory=64 << 20)
    assert rendered(limits, 1) == ["memory.limit_in_bytes=67108864", "memory.memsw.limit_in_bytes=134217728"]
    assert rendered(limits, 2) == ["memory.max=67108864", "memory.swap.max=67108864"]


def test_memory_plus_swap_is_a_total() -> None:
    limits = Limits(memory=100, memory_swap=300)
    assert rendered(limits, 2) == ["memory.max=100", "memory.swap.max=200"]
    assert rendered(Limits(memory=100, memory_swap=-1), 2)[1] == "memory.swap.max=max"
    assert rendered(Limits(memory=100, memory_swap=100), 2)[1] == "memory.swap.max=0"


def test_cpus_become_a_quota() -> None:
    assert rendered(Limits(cpus=1.5), 1) == ["cpu.cfs_period_us=100000", "cpu.cfs_quota_us=150000"]
    assert rendered(Limits(cpus=0.25), 2) == ["cpu.max=25000 100000"]
    assert rendered(Limits(cpu_quota=5000, cpu_period=20000), 2) == ["cpu.max=5000 20000"]
    assert rendered(Limits(cpu_period=20000), 2) == ["cpu.max=max 20000"]


def test_shares_and_weights_span_their_whole_ranges() -> None:
    assert [weight(shares) for shares in (2, 1024, 262144)] == [1, 39, 10000]
    assert rendered(Limits(blkio_weight=1000), 2) == ["io.weight=default 10000"]


def test_pids_cpuset_and_throttles() -> None:
    limits = Limits(
        pids=-1, cpuset_cpus="0-1", throttles=(Throttle(kind="read_bps", path="/dev/sda", rate=9),)
    )
    assert rendered(limits, 1) == ["cpuset.cpus=0-1", "pids.max=max", "blkio.throttle.read_bps_device=8:0 9"]
    assert rendered(limits, 2) == ["cpuset.cpus=0-1", "pids.max=max", "io.max=8:0 rbps=9"]


def test_a_missing_controller_is_named_with_its_limit(tmp_path: Path) -> None:
    layout = Layout(controllers={"pids": tmp_path})
    own = group(layout, "shop", "1a")
    (tmp_path / own.name).mkdir(parents=True)
    (tmp_path / own.name / "pids.max").write_text("")
    wanted = writes(Limits(memory=1, pids=3), 1, str)
    warnings = apply.create(own, wanted)
    assert warnings == ["the limit 'memory' has no effect: this machine has no memory controller"]
    assert (tmp_path / own.name / "pids.max").read_text() == "3"


def test_what_version_2_does_not_have_is_a_warning(tmp_path: Path) -> None:
    layout = Layout(controllers={}, unified=tmp_path, unified_controllers=frozenset({"memory"}))
    for directory in (tmp_path, tmp_path / "pycompose", tmp_path / "pycompose/p"):
        directory.mkdir(exist_ok=True)
        (directory / "cgroup.controllers").write_text("memory")
        (directory / "cgroup.subtree_control").write_text("")
    own = group(layout, "p", "1")
    warnings = apply.create(own, writes(Limits(oom_kill_disable=True), 2, str))
    assert warnings == ["the limit 'oom_kill_disable' has no effect: no such control here"]
    assert (tmp_path / "pycompose/cgroup.subtree_control").read_text().endswith("+memory")


@pytest.mark.parametrize("text", ["c 1:3", "x 1:3 rwm", "c 1 rwm", "c 1:3 q", ""])
def test_a_malformed_device_rule_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is no device rule"):
        devices.parse(text)


def allowed(program: bytes, kind: int, major: int, minor: int, access: int) -> bool:
    """Interpret the few eBPF instructions that the compiler uses."""
    memory = struct.pack("<III", access << 16 | kind, major, minor)
    registers, place = [0] * 11, 0
    while True:
        code, both, offset, immediate = struct.unpack_from("<BBhi", program, place * 8)
        target, source, place = both & 15, both >> 4, place + 1
        if code == 0x61:
            registers[target] = struct.unpack_from("<I", memory, offset)[0]
        elif code == 0xBC:
            registers[target] = registers[source]
        elif code == 0x54:
            registers[target] &= immediate
        elif code == 0x74:
            registers[target] >>= immediate
        elif code == 0x55:
            place += offset if registers[target] != immediate else 0
        elif code == 0xB7:
            registers[target] = immediate
        else:
            return bool(registers[0])


def test_the_device_program_says_what_the_rules_say() -> None:
    program = devices.program((*devices.DEFAULT, "b 8:* r"))
    assert allowed(program, 2, 1, 3, 6)  # /dev/null, read and write
    assert allowed(program, 2, 136, 7, 6)  # any pty
    assert allowed(program, 1, 259, 0, 1)  # making any node
    assert not allowed(program, 1, 259, 0, 2)  # reading a disk
    assert allowed(program, 1, 8, 1, 2)
    assert not allowed(program, 1, 8, 1, 4)
    assert not allowed(program, 2, 10, 200, 2)
    assert allowed(devices.program(devices.EVERYTHING), 1, 259, 0, 7)


def hierarchy(directory: Path, own: str) -> tuple[str, str]:
    directory.mkdir(parents=True)
    (directory / "cgroup.procs").touch()
    (directory / "own").write_text(own)
    return str(directory), str(directory / "own")


def test_a_process_leaves_the_service_that_started_it(tmp_path: Path) -> None:
    root, own = hierarchy(tmp_path / "pure", "0::/system.slice/cron.service\n")
    assert leave(root, own)
    assert Path(root, "cgroup.procs").read_text() == "0"


def test_on_a_hybrid_machine_it_leaves_the_unified_hierarchy(tmp_path: Path) -> None:
    unified, own = hierarchy(tmp_path / "unified", "4:memory:/\n0::/user.slice\n")
    assert leave(str(tmp_path), own)
    assert Path(unified, "cgroup.procs").read_text() == "0"


def test_a_process_stays_at_the_root_in_a_container_and_without_version_2(tmp_path: Path) -> None:
    at_root, own = hierarchy(tmp_path / "root", "0::/\n")
    assert not leave(at_root, own)
    inside, own = hierarchy(tmp_path / "inside", "0::/init\n")
    Path(inside, "cgroup.type").write_text("domain\n")
    assert not leave(inside, own)
    assert Path(inside, "cgroup.procs").read_text() == ""
    assert not leave(str(tmp_path / "nothing"), own)


def version_2(root: Path, controllers: str, pids: str) -> Layout:
    (root / "cgroup.controllers").write_text(controllers)
    (root / "cgroup.subtree_control").write_text("")
    (root / "cgroup.procs").write_text(pids)
    return Layout(controllers={}, unified=root, unified_controllers=frozenset(controllers.split()))


def test_the_processes_of_a_machines_own_root_stay_there(tmp_path: Path) -> None:
    apply.settle(version_2(tmp_path, "cpu memory", "1 2"))
    assert not (tmp_path / "init").exists()


def test_in_a_container_controllers_are_enabled_at_one_go(tmp_path: Path) -> None:
    (tmp_path / "cgroup.type").write_text("domain")
    apply.settle(version_2(tmp_path, "pids cpu memory", ""))
    assert (tmp_path / "cgroup.subtree_control").read_text() == "+cpu +memory +pids"
