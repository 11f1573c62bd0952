"""The list of mounts, without mounting anything."""

from __future__ import annotations

from dataclasses import replace

from runtime.kernel.mounts import Mount as Flag
from runtime.rootfs.decide import SAFE, CgroupMount, MountOp, decide, propagation, tmpfs_options
from runtime.rootfs.overlay import data, features
from runtime.spec import ContainerSpec, Mount, Namespaces

SPEC = ContainerSpec(id="1" * 64, name="box", argv=("true",), layers=("/low", "/high"))


def ops(spec: ContainerSpec = SPEC, **more: object) -> list[MountOp]:
    return list(decide(spec, upper="/upper", work="/work", **more))


def at(target: str, spec: ContainerSpec = SPEC) -> list[MountOp]:
    return [op for op in ops(spec) if op.target == target]


def test_the_root_comes_first_and_the_seal_last() -> None:
    spec = replace(SPEC, read_only=True, masked=("/proc/kcore",), readonly_paths=("/proc/sys",))
    kinds = [op.kind for op in ops(spec)]
    assert kinds[0] == "overlay"
    assert kinds[-4:] == ["mask", "readonly", "workdir", "seal"]


def test_mounts_keep_the_order_of_the_file_after_dev() -> None:
    mounts = (Mount(type="bind", source="/b", target="/z"), Mount(type="tmpfs", target="/a"))
    targets = [op.target for op in ops(replace(SPEC, mounts=mounts))]
    assert targets.index("/dev/shm") < targets.index("/z") < targets.index("/a")


def test_sys_is_read_only_unless_privileged() -> None:
    assert at("/sys")[0].flags == SAFE | Flag.RDONLY
    assert at("/sys", replace(SPEC, privileged=True))[0].flags == SAFE


def test_cgroup_v1_gets_a_directory_of_mounts_locked_at_the_end() -> None:
    several = (CgroupMount(name="cpu", fstype="cgroup", data="cpu"),)
    found = [(op.kind, op.target) for op in ops(cgroups=several) if "cgroup" in op.target]
    assert found == [
        ("mount", "/sys/fs/cgroup"),
        ("mount", "/sys/fs/cgroup/cpu"),
        ("lock", "/sys/fs/cgroup"),
    ]
    one = [op for op in ops(cgroups=(CgroupMount(name="", fstype="cgroup2"),)) if "cgroup" in op.target]
    assert [(op.target, op.fstype) for op in one] == [("/sys/fs/cgroup", "cgroup2")]


def test_ipc_decides_what_shm_is() -> None:
    assert at("/dev/shm")[0].data == "mode=1777,size=67108864"
    assert at("/dev/shm", replace(SPEC, namespaces=Namespaces(ipc="none"))) == []
    assert at("/dev/shm", replace(SPEC, namespaces=Namespaces(ipc="host")))[0].kind == "bind"


def test_a_user_mount_on_hosts_replaces_ours() -> None:
    spec = replace(SPEC, etc="/etc-of-it")
    assert at("/etc/hosts", spec)[0].source == "/etc-of-it/hosts"
    own = replace(spec, mounts=(Mount(type="bind", source="/mine", target="/etc/hosts"),))
    assert [op.source for op in at("/etc/hosts", own)] == ["/mine"]


def test_a_read_only_container_cannot_write_its_hosts_either() -> None:
    spec = replace(SPEC, etc="/etc-of-it", read_only=True)
    names = ("hosts", "hostname", "resolv.conf")
    assert all(at(f"/etc/{name}", spec)[0].flags & Flag.RDONLY for name in names)
    assert not at("/etc/hosts", replace(spec, read_only=False))[0].flags


def test_tmpfs_options_split_into_flags_and_data() -> None:
    assert tmpfs_options("") == (SAFE, "")
    assert tmpfs_options("size=64m,exec,mode=700") == (Flag.NOSUID | Flag.NODEV, "size=64m,mode=700")
    assert tmpfs_options("ro")[0] == SAFE | Flag.RDONLY


def test_a_volume_is_seeded_before_it_is_mounted() -> None:
    mounts = (Mount(type="bind", source="/v", target="/data", seed=True),)
    assert [op.kind for op in at("/data", replace(SPEC, mounts=mounts))] == ["fill", "bind"]


def test_propagation_is_private_unless_a_mount_asks() -> None:
    assert propagation(SPEC) == Flag.PRIVATE | Flag.REC
    for word, flag in (("rslave", Flag.SLAVE | Flag.REC), ("shared", Flag.NONE)):
        mounts = (Mount(type="bind", source="/a", target="/b", propagation=word),)
        assert propagation(replace(SPEC, mounts=mounts)) == flag


def test_the_top_layer_is_named_first_and_separators_are_quoted() -> None:
    text = data(["/low", "/a:b,c"], "/up,per", "/work")
    assert text == "lowerdir=/a\\:b\\,c:/low,upperdir=/up\\,per,workdir=/work,index=off"


def test_what_a_distribution_turns_on_is_turned_off_where_the_kernel_has_it() -> None:
    assert features(["index", "redirect_dir", "metacopy"]) == ",redirect_dir=nofollow,metacopy=off"
    assert features(["index"]) == ""
