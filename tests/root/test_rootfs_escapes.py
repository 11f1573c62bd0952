"""What a container does to lead the runtime out of its tree, with real mounts; named after kind or CVE."""

from __future__ import annotations

import errno
import mmap
import os
import signal
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from boxes import Box

from runtime import volume
from runtime.errors import RuntimeFailure
from runtime.inside.fill import fill
from runtime.inside.remove import delete, remove_tree
from runtime.kernel.mounts import Mount as Flag
from runtime.kernel.mounts import mount
from runtime.rootfs.apply import apply
from runtime.rootfs.decide import decide
from runtime.spec import ContainerSpec, Mount

pytestmark = pytest.mark.root
_WANTED = 100  # swaps that hit, each of which gave the attacker a file of the host before


@pytest.fixture
def box(scratch: Path, busybox_root: Path) -> Box:
    return Box(scratch, busybox_root)


def assembled(image: Path, scratch: Path, **changes: object) -> Path:
    """The finished tree of a container of ``image``, as it would be before pivot_root(2)."""
    places = [scratch / name for name in ("upper", "work", "staging")]
    for place in places:
        place.mkdir(exist_ok=True)
    spec = replace(ContainerSpec(id="1" * 64, name="box", argv=("true",), layers=(str(image),)), **changes)
    apply(decide(spec, upper=str(places[0]), work=str(places[1])), places[2])
    return places[2]


@pytest.mark.parametrize("target", ["/data/x", "/data/sys/kernel", "/data/self/attr", "/data"])
def test_a_mount_is_not_led_into_proc(target: str, scratch: Path, busybox_root: Path) -> None:
    """The container replaced the parent of a mount point by a link before it was started again."""
    (scratch / "upper").mkdir()
    (scratch / "upper/data").symlink_to("/proc/sys" if target == "/data" else "/proc")
    (scratch / "own").mkdir()
    for asked in (
        Mount(type="bind", source=str(scratch / "own"), target=target),
        Mount(type="tmpfs", target=target),
    ):
        with pytest.raises((RuntimeFailure, OSError)) as caught:
            assembled(busybox_root, scratch, mounts=(asked,))
        if target in ("/data", "/data/sys/kernel"):
            assert f"where links lead '{target}': nothing is mounted inside /proc" in str(caught.value)
    assert "own" not in Path("/proc/self/mountinfo").read_text().replace(str(scratch / "staging"), "")


def test_a_file_is_not_mounted_in_proc_but_where_lxcfs_does(scratch: Path, busybox_root: Path) -> None:
    (scratch / "own").write_text("0\n")
    asked = Mount(type="bind", source=str(scratch / "own"), target="/proc/uptime")
    root = assembled(busybox_root, scratch, mounts=(asked,))
    assert (root / "proc/uptime").read_text() == "0\n"
    for target in ("/proc/sys/kernel/cap_last_cap", "/proc/kcore", "/proc/self/status"):
        with pytest.raises(RuntimeFailure, match="nothing is mounted inside /proc"):
            assembled(busybox_root, scratch, mounts=(replace(asked, target=target),))


@pytest.mark.parametrize("target", ["/", "/.", "/data", "/data/.."])
def test_nothing_is_mounted_over_the_root(target: str, scratch: Path, busybox_root: Path) -> None:
    (scratch / "upper").mkdir()
    (scratch / "upper/data").symlink_to("../..")
    (scratch / "own").mkdir()
    asked = Mount(type="bind", source=str(scratch / "own"), target=target)
    with pytest.raises(RuntimeFailure, match=f"cannot mount on '{target}': it is the root of the container"):
        assembled(busybox_root, scratch, mounts=(asked,))


def test_a_link_leads_no_mount_into_sysfs(scratch: Path, busybox_root: Path) -> None:
    (scratch / "upper").mkdir()
    (scratch / "upper/data").symlink_to("/sys/fs")
    (scratch / "own").mkdir()
    asked = Mount(type="bind", source=str(scratch / "own"), target="/data/cgroup")
    with pytest.raises(RuntimeFailure, match="it is a file system of the kernel"):
        assembled(busybox_root, scratch, mounts=(asked,))
    root = assembled(busybox_root, scratch, mounts=(replace(asked, target="/sys/fs/cgroup"),))
    assert (root / "sys/fs/cgroup").is_mount()  # where the file itself names it, as for systemd


def test_an_image_whose_proc_is_a_link_gets_a_proc(scratch: Path, busybox_root: Path) -> None:
    """CVE-2019-19921: /proc as a link, so that what is masked there is elsewhere."""
    (scratch / "upper/etc").mkdir(parents=True)
    (scratch / "upper/proc").symlink_to("etc")
    (scratch / "upper/sys").symlink_to("/etc")
    root = assembled(busybox_root, scratch, masked=("/proc/interrupts",))
    assert (root / "proc/self/status").exists() and (root / "sys/kernel").is_dir()
    assert stat.S_ISCHR((root / "proc/interrupts").stat().st_mode) and not (root / "etc").is_mount()


def test_cve_2025_31133_dev_null_of_the_container_masks_nothing_else(
    scratch: Path, busybox_root: Path
) -> None:
    """A volume at /dev whose null is a link to what is to be hidden."""
    (scratch / "dev").mkdir()
    (scratch / "dev/null").symlink_to("/proc/timer_list")
    asked = Mount(type="bind", source=str(scratch / "dev"), target="/dev")
    root = assembled(busybox_root, scratch, mounts=(asked,), masked=("/proc/timer_list", "/proc/interrupts"))
    for name in ("timer_list", "interrupts"):
        info = (root / "proc" / name).stat()
        assert stat.S_ISCHR(info.st_mode) and info.st_rdev == os.makedev(1, 3)


def test_cve_2017_1002101_a_subpath_stays_in_its_volume(scratch: Path, busybox_root: Path) -> None:
    home = scratch / "volume"
    (home / "real").mkdir(parents=True)
    (home / "real/f").write_text("volume")
    (home / "link").symlink_to("real")
    (home / "out").symlink_to("/")
    asked = Mount(type="bind", source=str(home), target="/m", subpath="link")
    assert (assembled(busybox_root, scratch, mounts=(asked,)) / "m/f").read_text() == "volume"
    one = replace(asked, subpath="real/f", target="/n")
    assert (assembled(busybox_root, scratch, mounts=(one,)) / "n").read_text() == "volume"
    for path in ("out", "out/etc", "../../.."):
        with pytest.raises(RuntimeFailure, match="leads out of it"):
            assembled(busybox_root, scratch, mounts=(replace(asked, subpath=path),))


def test_a_file_mounted_over_a_dangling_link_of_a_bind_takes_nothing_away(
    scratch: Path, busybox_root: Path
) -> None:
    (scratch / "etc-of-host").mkdir()
    (scratch / "etc-of-host/hosts").symlink_to("../run/hosts")
    (scratch / "ours").mkdir()
    for name in ("hosts", "hostname", "resolv.conf"):
        (scratch / "ours" / name).write_text(name)
    asked = Mount(type="bind", source=str(scratch / "etc-of-host"), target="/etc")
    root = assembled(busybox_root, scratch, mounts=(asked,), etc=str(scratch / "ours"))
    assert (root / "run/hosts").read_text() == "hosts" and (root / "etc/hostname").read_text() == "hostname"
    assert (scratch / "etc-of-host/hosts").is_symlink()


# --- filling volumes


def image_tree(home: Path) -> int:
    """What an image has at the mount point: names that meet again as hard links, in many directories."""
    for number in range(20):
        (home / f"d{number}/in").mkdir(parents=True)
        (home / f"d{number}/f").write_text("image")
        os.link(home / f"d{number}/f", home / f"d{number}/in/g")
        os.link(home / f"d{number}/f", home / f"z{number}")
        os.mknod(home / f"d{number}/node", 0o666 | stat.S_IFCHR, os.makedev(1, 3))
    return os.open(home, os.O_RDONLY | os.O_DIRECTORY)


@contextmanager
def attacker(tree: Path, host: Path) -> Iterator[Callable[[], int]]:
    """A process that has the volume: whatever directory appears is replaced by a link to the host's."""
    shared = mmap.mmap(-1, 8)
    pid = os.fork()
    if pid == 0:
        number = 0
        while True:
            try:
                for name in os.listdir(tree):
                    if name.startswith("d") and not os.path.islink(tree / name):
                        os.rename(tree / name, tree / f"old{number}")
                        os.symlink(host, tree / name)
                        number += 1
                        shared[:8] = number.to_bytes(8, "little")
            except OSError:
                continue
    try:
        yield lambda: int.from_bytes(shared[:8], "little")
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def move_away(path: Path, where: Path) -> None:
    """Empty the volume for the next round; the attacker renames as well."""
    try:
        os.rename(path, where / f"gone-{os.urandom(8).hex()}")
    except FileNotFoundError:
        pass


@pytest.mark.parametrize("place", ["beside", "in place"])
def test_a_volume_that_another_container_changes_gets_nothing_of_the_host(place: str, scratch: Path) -> None:
    source = image_tree(scratch / "image")
    host, volumes = scratch / "host", scratch / "volumes"
    host.mkdir()
    for name in ("f", "node", "secret"):
        (host / name).write_text("host-only")
        (host / name).chmod(0o600)
    data = volumes / "v/_data"
    data.parent.mkdir(parents=True)
    real = data if place == "beside" else scratch / "device"
    if place == "in place":
        data.symlink_to(real)
    real.mkdir()
    with attacker(real, host) as hits:
        while hits() < _WANTED:
            for entry in os.listdir(real):
                move_away(real / entry, scratch)
            try:
                fill(source, str(data))
            except OSError as error:  # the attacker may make the filling fail, and nothing else
                assert error.errno in (errno.ENOENT, errno.EEXIST, errno.ELOOP, errno.ENOTDIR, errno.EXDEV)
    os.close(source)
    for name in ("f", "node", "secret"):
        info = (host / name).stat()
        assert (info.st_nlink, info.st_mode & 0o777, (host / name).read_text()) == (1, 0o600, "host-only")
    assert sorted(os.listdir(host)) == ["f", "node", "secret"]


def test_a_fill_that_was_killed_is_begun_anew(scratch: Path) -> None:
    (scratch / "image/a").mkdir(parents=True)
    (scratch / "image/a/f").write_text("f")
    (scratch / "v/_data").mkdir(parents=True)
    (scratch / "v/.draft/a/half").mkdir(parents=True)
    source = os.open(scratch / "image", os.O_RDONLY)
    assert fill(source, str(scratch / "v/_data")) and not fill(source, str(scratch / "v/_data"))
    os.close(source)
    assert [str(p.relative_to(scratch / "v")) for p in sorted((scratch / "v").rglob("*"))] == [
        "_data",
        "_data/a",
        "_data/a/f",
    ]


def test_links_devices_pipes_and_times_are_copied(scratch: Path) -> None:
    image = scratch / "image"
    image.mkdir()
    (image / "l").symlink_to("/nowhere")
    os.chown(image / "l", 7, 8, follow_symlinks=False)
    os.utime(image / "l", ns=(5, 6), follow_symlinks=False)
    os.mknod(image / "n", 0o640 | stat.S_IFCHR, os.makedev(1, 3))
    os.mkfifo(image / "p", 0o622)
    os.chmod(image / "p", 0o622)
    (image / "s").write_text("s")
    os.chmod(image / "s", 0o4751)
    os.setxattr(image / "s", "user.k", b"v")
    (scratch / "v/_data").mkdir(parents=True)
    source = os.open(image, os.O_RDONLY)
    fill(source, str(scratch / "v/_data"))
    os.close(source)
    for name in ("l", "n", "p", "s"):
        one, two = os.lstat(image / name), os.lstat(scratch / "v/_data" / name)
        same = ("st_mode", "st_uid", "st_gid", "st_rdev", "st_mtime_ns")
        assert [getattr(one, word) for word in same] == [getattr(two, word) for word in same], name
    assert os.readlink(scratch / "v/_data/l") == "/nowhere"
    assert os.getxattr(scratch / "v/_data/s", "user.k") == b"v"


# --- propagation, tmpfs, order


def test_a_shared_bind_shares_both_ways_and_a_private_mount_is_refused(
    scratch: Path, busybox_root: Path
) -> None:
    home = scratch / "m"
    home.mkdir()
    mount("tmpfs", home, "tmpfs")
    asked = Mount(type="bind", source=str(home), target="/v", propagation="rshared")
    for word, wanted in (("rshared", "shared"), ("shared", "shared"), ("rslave", "shared or slave")):
        with pytest.raises(RuntimeFailure, match=f"lies on a mount that is not {wanted}$"):
            assembled(busybox_root, scratch, mounts=(replace(asked, propagation=word),))
    mount("", home, "", Flag.SHARED)
    (home / "host").mkdir()
    (home / "box").mkdir()
    root = assembled(busybox_root, scratch, mounts=(asked,))
    mount("tmpfs", home / "host", "tmpfs")
    assert (root / "v/host").is_mount()
    mount("tmpfs", root / "v/box", "tmpfs")
    assert (home / "box").is_mount()


def test_a_slave_hears_of_the_host_and_tells_it_nothing(scratch: Path, busybox_root: Path) -> None:
    home = scratch / "m"
    home.mkdir()
    mount("tmpfs", home, "tmpfs")
    mount("", home, "", Flag.SHARED)
    for name in ("host", "box"):
        (home / name).mkdir()
    asked = Mount(type="bind", source=str(home), target="/v", propagation="rslave")
    private = replace(asked, target="/p", propagation="")
    root = assembled(busybox_root, scratch, mounts=(asked, private))
    mount("tmpfs", home / "host", "tmpfs")
    mount("tmpfs", root / "v/box", "tmpfs")
    assert (root / "v/host").is_mount() and not (home / "box").is_mount()
    assert not (root / "p/host").is_mount()


def test_a_tmpfs_keeps_mode_and_owner_of_what_it_covers(scratch: Path, busybox_root: Path) -> None:
    (scratch / "upper/own").mkdir(parents=True)
    os.chown(scratch / "upper/own", 1000, 50)
    (scratch / "upper/own").chmod(0o750)
    targets = {"/own": "", "/own2": "mode=700,uid=5", "/new/dir": ""}
    mounts = tuple(Mount(type="tmpfs", target=t, options=o) for t, o in targets.items())
    for _ in range(2):  # a second start finds what the first has made
        root = assembled(busybox_root, scratch, mounts=mounts)
        infos = [(root / target[1:]).stat() for target in targets]
        modes = [(f"{info.st_mode & 0o7777:o}", info.st_uid, info.st_gid) for info in infos]
        assert modes == [("750", 1000, 50), ("700", 5, 0), ("1777", 0, 0)]
        os.system(f"umount -R {root}")


def test_mounts_are_made_from_the_outside_to_the_inside(scratch: Path, busybox_root: Path) -> None:
    for name in ("deep", "top"):
        (scratch / name).mkdir()
        (scratch / name / name).touch()
    mounts = (
        Mount(type="bind", source=str(scratch / "deep"), target="/t-x/b"),
        Mount(type="bind", source=str(scratch / "top"), target="/t-x"),
    )
    root = assembled(busybox_root, scratch, mounts=mounts)
    assert (root / "t-x/top").exists() and (root / "t-x/b/deep").exists()


def test_the_whole_tree_is_not_shared_back_after_the_start(box: Box, scratch: Path) -> None:
    """With a shared mount in it the container still sees nothing of the host's other mounts."""
    home = scratch / "m"
    home.mkdir()
    mount("tmpfs", home, "tmpfs")
    mount("", home, "", Flag.SHARED)
    asked = Mount(type="bind", source=str(home), target="/v", propagation="rshared")
    record, text = box.finished("sh", "-c", "cut -d' ' -f5,7 /proc/self/mountinfo", mounts=(asked,))
    shared = [line.split()[0] for line in text.splitlines() if "shared:" in line]
    assert record.code == 0 and shared == ["/v"]
    assert str(scratch) not in text


def test_an_image_is_shown_read_only_and_a_part_of_it_too(scratch: Path, busybox_root: Path) -> None:
    for name in ("one", "two"):
        (scratch / name / "etc").mkdir(parents=True)
        (scratch / name / "etc" / name).write_text(name)
    (scratch / "two/out").symlink_to("/bin")
    layers = (str(scratch / "one"), str(scratch / "two"))
    asked = Mount(type="image", source="tools:1", target="/m", layers=layers)
    root = assembled(busybox_root, scratch, mounts=(asked,))
    assert sorted(os.listdir(root / "m/etc")) == ["one", "two"]
    with pytest.raises(OSError, match="Read-only"):
        (root / "m/x").touch()
    parts = (replace(asked, subpath="etc"), replace(asked, subpath="etc/two", target="/f", layers=layers[1:]))
    root = assembled(busybox_root, scratch, mounts=parts)
    assert (root / "m/one").exists() and (root / "f").read_text() == "two"
    with pytest.raises(OSError, match="Read-only"):
        (root / "f").write_text("x")
    with pytest.raises(RuntimeFailure, match="subpath 'out' of image 'tools:1': leads out of it"):
        assembled(busybox_root, scratch, mounts=(replace(asked, subpath="out"),))


def test_a_volume_with_options_is_mounted_once_and_never_emptied_through(scratch: Path) -> None:
    tmpfs = {"type": "tmpfs", "device": "tmpfs", "o": "size=64k,mode=750,noexec"}
    data = volume.create(scratch / "volumes", "v", {}, tmpfs)
    for _ in range(2):
        volume.attach(scratch / "volumes", "v")
    (data / "f").touch()
    assert volume.is_attached(scratch / "volumes", "v") and data.stat().st_mode & 0o777 == 0o750
    assert Path("/proc/self/mountinfo").read_text().count(str(data)) == 1
    mount("tmpfs", data, "tmpfs")  # somebody else's
    volume.remove(scratch / "volumes", "v")
    assert os.listdir(scratch / "volumes") == [] and str(data) not in Path("/proc/self/mountinfo").read_text()
    volume.create(scratch / "volumes", "w", {}, {"type": "nosuchfs", "device": "x"})
    with pytest.raises(
        RuntimeFailure, match="volume 'w': type 'nosuchfs', device 'x' cannot be mounted: No such"
    ):
        volume.attach(scratch / "volumes", "w")


def test_removing_a_tree_stops_at_what_is_mounted_in_it(scratch: Path) -> None:
    (scratch / "tree/a/b").mkdir(parents=True)
    (scratch / "host").mkdir()
    (scratch / "host/f").touch()
    mount(str(scratch / "host"), scratch / "tree/a/b", "", Flag.BIND)
    (scratch / "tree/z/y").mkdir(parents=True)
    (scratch / "tree/a/f").touch()
    delete(scratch / "tree")
    assert (scratch / "host/f").exists()
    left = [path.name for path in (scratch / "tree").rglob("*")]
    assert "f" in left and not {"z", "y"} & set(left) and not (scratch / "tree/a/f").exists()
    parent = os.open(scratch, os.O_RDONLY)
    with pytest.raises(OSError, match="busy"):
        remove_tree(parent, "tree")
    os.close(parent)
