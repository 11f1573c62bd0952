"""On which file systems the times of files can be trusted."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from runtime.build.digests import filesystem
from runtime.build.run import gateway

TABLE = """\
22 1 8:1 / / rw - ext4 /dev/sda1 rw
30 22 0:40 /home /home rw - btrfs /dev/sdb rw
31 30 0:41 / /home/net rw shared:5 - nfs4 server:/x rw
32 22 0:50 / /run rw - tmpfs tmpfs rw
"""


@pytest.mark.parametrize(
    "device,path,kind",
    [
        (os.makedev(8, 1), "/srv/x", "ext4"),
        (os.makedev(0, 50), "/run/x", "tmpfs"),
        (os.makedev(0, 77), "/home/me/x", "btrfs"),
        (os.makedev(0, 78), "/home/net/x", "nfs4"),
        (os.makedev(0, 41), "/elsewhere", "nfs4"),
    ],
)
def test_the_type_of_a_file_system(tmp_path: Path, device: int, path: str, kind: str) -> None:
    (tmp_path / "mountinfo").write_text(TABLE)
    assert filesystem(device, path, tmp_path / "mountinfo") == kind


def test_the_gateway_of_a_routing_table() -> None:
    head = "Iface\tDestination\tGateway\tFlags\n"
    assert gateway(head + "eth0\t0002A8C0\t00000000\t1\neth0\t00000000\t0102A8C0\t3\n") == "192.168.2.1"
    assert gateway(head) == ""
