"""The store where it hurts: a full disk, a kill at any moment, layers under a real overlay."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import pytest

from runtime.errors import ImageError
from runtime.image import layer
from runtime.image.errors import StoreFull
from runtime.image.pull import pull
from runtime.image.store import Store
from runtime.kernel.mounts import Mount, mount

pytestmark = pytest.mark.root
sys.path.insert(0, str(Path(__file__).parent.parent / "runtime"))
from image_registry import Content, serving  # noqa: E402

PULL = """
import sys
from pathlib import Path
from runtime.image.store import Store
from runtime.image.pull import pull
print("ready", flush=True)
pull(Store(Path(sys.argv[1])), sys.argv[2])
"""


def left(store: Store) -> list[str]:
    return [path.name for path in (store.root / "ingest").iterdir() if path.is_dir()]


@pytest.mark.parametrize("room", [1, 2, 4, 6])
def test_a_full_disk_leaves_nothing_of_an_image(scratch: Path, room: int) -> None:
    mount("tmpfs", scratch, "tmpfs", Mount.NONE, f"size={room}m")
    store = Store(scratch / "images")
    content = Content()
    content.add("1", {f"zeros{n}": bytes(1 << 20) for n in range(8)}, {"random": os.urandom(100_000)})
    with serving(content), pytest.raises(StoreFull) as caught:
        pull(store, f"127.0.0.1:{content.port}/x:1")
    assert "free" in caught.value.message
    assert left(store) == [] and store.images() == []
    assert not [path for path in (store.root / "layers").iterdir() if not (path / "diff").is_dir()]


@pytest.mark.parametrize("moment", [0.0, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4])
def test_a_kill_at_any_moment_leaves_what_the_next_pull_can_use(scratch: Path, moment: float) -> None:
    store = Store(scratch / "images")
    content = Content()
    for _ in range(3):
        content.add("1", *[{f"{k}-{i}": os.urandom(3000) for i in range(400)} for k in range(4)])
    with serving(content):
        name = f"127.0.0.1:{content.port}/x:1"
        command = [sys.executable, "-c", PULL, str(store.root), name]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as child:
            assert child.stdout is not None
            child.stdout.readline()
            time.sleep(moment)
            child.send_signal(signal.SIGKILL)
        image = pull(store, name)
    assert left(store) == []
    assert [layer.digest(place).size for place in image.layers] == [1_200_000] * 4
    assert {path.name for path in (store.root / "layers").iterdir()} == {d[7:] for d in image.layer_ids}


def test_whiteouts_and_opaque_directories_hide_under_a_real_overlay(scratch: Path) -> None:
    one, two = scratch / "one", scratch / "two"
    layer.unpack(iter([tar("d/old", "d/both", "gone", "kept")]), one)
    layer.unpack(iter([tar("d/.wh..wh..opq", "d/new", ".wh.gone", ".wh.never", ".wh..wh.plnk")]), two)
    (scratch / "root").mkdir()
    mount("overlay", scratch / "root", "overlay", Mount.RDONLY, f"lowerdir={two}:{one}")
    found = sorted(str(path.relative_to(scratch / "root")) for path in (scratch / "root").rglob("*"))
    assert found == ["d", "d/new", "kept"]
    again = layer.unpack(layer.pack(two), scratch / "again")
    assert again == layer.digest(two)


def test_devices_owners_and_attributes_are_kept(scratch: Path) -> None:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as archive:
        device = tarfile.TarInfo("null")
        device.type, device.devmajor, device.devminor, device.mode = tarfile.CHRTYPE, 1, 3, 0o666
        archive.addfile(device)
        info = tarfile.TarInfo("ping")
        info.uid, info.gid, info.mode = 12345678, 3, 0o4711
        capability = bytes.fromhex("0100000200200000000000000000000000000000")
        info.pax_headers = {
            "SCHILY.xattr.security.capability": capability.decode("latin-1"),
            "SCHILY.xattr.user.note": "hello",
            "SCHILY.xattr.trusted.overlay.redirect": "/etc",
        }
        archive.addfile(info)
        trap = tarfile.TarInfo("trap")
        trap.type, trap.mode = tarfile.CHRTYPE, 0o666
    layer.unpack(iter([out.getvalue()]), scratch / "diff")
    null, ping = (scratch / "diff/null").stat(), (scratch / "diff/ping").stat()
    assert (null.st_rdev, null.st_mode & 0o7777) == (os.makedev(1, 3), 0o666)
    assert (ping.st_uid, ping.st_gid, ping.st_mode & 0o7777) == (12345678, 3, 0o4711)
    assert sorted(os.listxattr(scratch / "diff/ping")) == ["security.capability", "user.note"]


def test_a_device_that_would_be_a_whiteout_is_refused(scratch: Path) -> None:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        info = tarfile.TarInfo("trap")
        info.type = tarfile.CHRTYPE
        archive.addfile(info)
    with pytest.raises(ImageError, match="0:0"):
        layer.unpack(iter([out.getvalue()]), scratch / "diff")


def tar(*names: str) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name in names:
            archive.addfile(tarfile.TarInfo(name))
    return out.getvalue()


def test_a_redirect_of_overlayfs_cannot_be_packed_and_is_refused(scratch: Path) -> None:
    (scratch / "diff/moved").mkdir(parents=True)
    os.setxattr(scratch / "diff/moved", "trusted.overlay.redirect", b"/elsewhere")
    with pytest.raises(ImageError, match="redirect"):
        layer.digest(scratch / "diff")
