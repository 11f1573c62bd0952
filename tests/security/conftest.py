"""An engine with the image of attack programs, once per session; nothing of it is left behind."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.security import table
from tests.security.engine import Engine, ours


@pytest.fixture(scope="session")
def engine() -> Iterator[Engine]:
    """pycompose, with IMAGE in a store of its own."""
    _privileged()
    home = Path(tempfile.mkdtemp(prefix="pycompose-escape-", dir="/var/tmp"))
    home.chmod(0o755)
    made = ours(home)
    made.load(table.archive(home / "image"))
    yield made
    made.close()
    shutil.rmtree(home)


def _privileged() -> None:
    if platform.machine() != "x86_64":
        pytest.skip("the attack programs are for x86-64")
    child = subprocess.run(["unshare", "-mn", "true"], capture_output=True, text=True, check=False)
    if child.returncode:
        (pytest.fail if os.environ.get("PYCOMPOSE_REQUIRE_ROOT") else pytest.skip)(child.stderr.strip())
