"""A tiny root file system for containers: a static busybox, a link for each of its commands, some users."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

USERS = """\
root:x:0:0:root:/root:/bin/sh
web:x:1000:1000:web:/home/web:/bin/sh
nobody:x:65534:65534::/:/bin/false
"""
GROUPS = "root:x:0:\nweb:x:1000:\nstaff:x:50:web\nnogroup:x:65534:\n"


def busybox_tree(root: Path, program: str) -> None:
    """Fill ``root`` with a tiny root file system around the static busybox ``program``."""
    for name in ("bin", "etc", "tmp", "root", "home/web", "usr/bin", "var"):
        (root / name).mkdir(parents=True)
    root.chmod(0o755)
    (root / "tmp").chmod(0o1777)
    shutil.copy(program, root / "bin/busybox")
    listed = subprocess.run([program, "--list"], capture_output=True, text=True, check=True).stdout.split()
    for name in listed:
        if name != "busybox":
            (root / "bin" / name).symlink_to("busybox")
    (root / "etc/passwd").write_text(USERS)
    (root / "etc/group").write_text(GROUPS)
