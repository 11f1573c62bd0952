"""Builds and the world around them: a network of their own, and a sudden end."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from netns.network import build_network
from runtime.build import BuildSpec, build
from runtime.image import layer
from runtime.image.manifest import ImageConfig
from runtime.image.progress import Progress
from runtime.image.store import Store

pytestmark = pytest.mark.root
PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
BUILD = """
import sys
from pathlib import Path
from runtime.build import BuildSpec, build
from runtime.image.store import Store
text = "FROM busybox\\nRUN echo first\\nRUN echo begun; sleep 1000\\n"
spec = BuildSpec(context=sys.argv[2], dockerfile_text=text, network="none")
build(Store(Path(sys.argv[1])), spec, events=lambda e: print(e.text, flush=True))
"""


def store_with_busybox(root: Path, busybox: Path) -> Store:
    store = Store(root)
    with store.ingest() as work:
        made = layer.unpack(layer.pack(busybox), work / "diff")
        store.commit_layer(work / "diff", made.diff_id, size=made.size)
    store.put_image(ImageConfig(env=(PATH,)), [made.diff_id], ["busybox"])
    return store


@pytest.mark.smoke("ip")
def test_run_has_a_network_of_its_own_unless_told_otherwise(scratch: Path, busybox_root: Path) -> None:
    store = store_with_busybox(scratch / "images", busybox_root)
    heard: list[Progress] = []
    text = (
        "FROM busybox\nRUN ip -4 -o addr show eth0; cat /etc/resolv.conf\n"
        "RUN --network=none echo none: $(ls /sys/class/net)\n"
        'RUN ip route | grep -q "via $(grep gate /etc/hosts | cut -f1) " && echo found the gate\n'
    )
    spec = BuildSpec(context=str(scratch), dockerfile_text=text, extra_hosts=("gate:host-gateway",))
    build(store, spec, connect=lambda: build_network(scratch / "run"), events=heard.append)
    said = [event.text for event in heard if event.kind == "output"]
    assert "inet " in said[0] and "eth0" in said[0]
    assert "nameserver 127.0.0.11" in said
    assert said[-2:] == ["none: lo", "found the gate"]
    end = time.monotonic() + 5  # the kernel takes links down some time after their namespace has gone
    while len(links := links_here()) > 1 and time.monotonic() < end:
        time.sleep(0.02)
    assert len(links) == 1, links


def links_here() -> list[str]:
    out = subprocess.run(["ip", "-o", "link"], capture_output=True, text=True, check=True).stdout
    return out.splitlines()


def test_a_killed_build_takes_its_container_along_and_is_swept_by_the_next(
    scratch: Path, busybox_root: Path
) -> None:
    store = store_with_busybox(scratch / "images", busybox_root)
    command = [sys.executable, "-c", BUILD, str(store.root), str(scratch)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        while "begun" not in (line := child.stdout.readline()):
            assert line, "it ended too early"
        child.kill()
    for _ in range(100):
        if "sleep 1000" not in running():
            break
        time.sleep(0.05)
    assert "sleep 1000" not in running()
    store.sweep()
    assert [path for path in (store.root / "ingest").iterdir() if path.is_dir()] == []
    heard: list[Progress] = []
    spec = BuildSpec(context=str(scratch), dockerfile_text="FROM busybox\nRUN echo first\n", network="none")
    build(store, spec, events=heard.append)
    assert [event.text for event in heard] == ["CACHED"]


def running() -> str:
    lines = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            lines.append(path.read_bytes().replace(b"\0", b" ").decode("utf-8", "replace"))
        except OSError:
            continue
    return "\n".join(lines)
