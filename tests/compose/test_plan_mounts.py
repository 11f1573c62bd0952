"""What may be mounted where: refused with a place in the file before anything is made."""

from __future__ import annotations

import dataclasses

import pytest
from test_translate import IMAGE, launch

from compose.engine.ground import driver_options
from compose.errors import ComposeError
from compose.model.project import Volume
from compose.model.service import Deploy, DeviceMount, FileMount, VolumeMount
from runtime.spec import Mount


def volume(target: str, **more: object) -> VolumeMount:
    return VolumeMount(type="volume", source="data", target=target, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "target", ["/proc", "/proc/", "/x/../proc/sys", "//proc//./self", "/proc/kcore", "/", "/.."]
)
def test_nothing_is_mounted_in_proc_or_over_the_root(target: str) -> None:
    refused = "nothing can be mounted at '/|mounts over the root directory"
    with pytest.raises(ComposeError, match=refused) as caught:
        launch(volumes=(volume(target),))
    assert caught.value.path.startswith("services.web.volumes")
    with pytest.raises(ComposeError, match=refused) as caught:
        launch(tmpfs=(target,))
    assert caught.value.path.startswith("services.web.tmpfs")
    with pytest.raises(ComposeError, match="nothing can be mounted at") as caught:
        launch(secrets=(FileMount(source="key", target=target),))
    assert caught.value.path == "services.web"


def test_a_volume_of_the_image_in_proc_is_refused_as_the_image_s() -> None:
    with pytest.raises(ComposeError, match=r"inside /proc \(a VOLUME of its image\)"):
        launch(dataclasses.replace(IMAGE, volumes=("/proc",)))


def test_lxcfs_may_show_its_files_and_names_like_proc_are_free() -> None:
    binds = tuple(
        VolumeMount(type="bind", source="/lxcfs", target=target)
        for target in ("/proc/uptime", "/proc/sys/kernel/ns_last_pid", "/process", "/a/proc")
    )
    assert len(launch(volumes=binds).spec.mounts) == 4


@pytest.mark.parametrize("path", ["../x", "a/../../b", "/etc", ".."])
def test_a_subpath_leads_out_by_no_word_of_its_own(path: str) -> None:
    with pytest.raises(ComposeError, match=f"subpath '{path}' of 'data' leads out of it"):
        launch(volumes=(volume("/d", subpath=path),))


def test_a_subpath_is_resolved_by_the_runtime() -> None:
    (mount,) = launch(volumes=(volume("/d", subpath="a/b"),)).spec.mounts
    assert (mount.source, mount.subpath, mount.seed) == ("/v/shop_data/_data", "a/b", False)


def test_an_image_is_mounted_read_only_with_its_layers() -> None:
    wanted = VolumeMount(type="image", source="tools:1", target="/t", subpath="bin")
    image = dataclasses.replace(IMAGE, mounted={"tools:1": ["sha256:2", "/l/a", "/l/b"]})
    (mount,) = launch(image, volumes=(wanted,)).spec.mounts
    assert (mount.type, mount.layers, mount.subpath, mount.options) == (
        "image",
        ("/l/a", "/l/b"),
        "bin",
        "sha256:2",
    )
    with pytest.raises(ComposeError, match="no image 'tools:1' here to be mounted"):
        launch(volumes=(wanted,))


def test_a_tmpfs_is_not_inherited() -> None:
    theirs = (
        Mount(type="tmpfs", target="/t"),
        Mount(type="bind", source="/v/x/_data", target="/d", seed=True),
    )
    (mount,) = launch(site={"inherited": ((theirs, True),)}).spec.mounts
    assert (mount.target, mount.read_only, mount.seed) == ("/d", True, False)


@pytest.mark.parametrize(
    "rule", ["c 1:3", "x 1:3 rwm", "c 1 rwm", "c 1:3 rwx", "c -1:3 r", "", "ab 1:3 r", "c a:b r"]
)
def test_a_rule_that_is_none_is_named(rule: str) -> None:
    with pytest.raises(ComposeError, match=r"has the device rule .*, which is none") as caught:
        launch(device_cgroup_rules=(rule,))
    assert caught.value.path == "services.web.device_cgroup_rules[0]"


def test_permissions_of_a_device_are_r_w_and_m() -> None:
    assert launch(devices=(DeviceMount(source="/dev/null", permissions="rw"),)).spec.devices[0].access == "rw"
    with pytest.raises(ComposeError, match="has a device with the permissions 'rx'"):
        launch(devices=(DeviceMount(source="/dev/null", permissions="rx"),))


def test_a_memory_limit_too_small_to_start_in_is_named() -> None:
    with pytest.raises(ComposeError, match="has a memory limit of 524288 bytes") as caught:
        launch(mem_limit=512 << 10)
    assert caught.value.path == "services.web.mem_limit" and "6" in caught.value.hint
    with pytest.raises(ComposeError, match="has a memory limit of"):
        launch(deploy=Deploy(limit_memory=6 * 1024 * 1024 - 1))
    assert launch(mem_limit=6 << 20).spec.limits.memory == 6 << 20


def wanted(**options: str) -> Volume:
    return Volume(key="v", name="shop_v", driver_opts=options)


def test_driver_options_are_those_of_mount() -> None:
    nfs = {"type": "nfs", "device": ":/x", "o": "addr=10.0.0.1,ro"}
    assert driver_options(wanted(**nfs)) == nfs
    assert driver_options(wanted(type="none", device="/srv", o="bind,ro"))["device"] == "/srv"
    for options, why in (
        ({"typ": "nfs"}, "invalid option 'typ'"),
        ({"type": "nfs"}, "missing required option"),
        ({"o": "bind", "device": "data"}, "a bind needs an absolute 'device'"),
        ({"o": "bind,nosuid", "device": "/d"}, "a bind has no option 'nosuid' here"),
    ):
        with pytest.raises(ComposeError, match=why) as caught:
            driver_options(wanted(**options))
        assert caught.value.path == "volumes.v"


def test_another_driver_is_refused() -> None:
    with pytest.raises(ComposeError, match="driver 'x' is not supported"):
        driver_options(Volume(key="v", name="v", driver="x"))
