"""A machine for whole stacks: one store of images per test session, leaks looked for around every test."""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.e2e import leaks
from tests.e2e.stack import Stack


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.root)


@pytest.fixture(scope="session", autouse=True)
def privileged() -> None:
    """Whole stacks need root; PYCOMPOSE_REQUIRE_ROOT=1 makes a missing privilege a failure."""
    child = subprocess.run(["unshare", "-mn", "true"], capture_output=True, text=True, check=False)
    if child.returncode:
        if os.environ.get("PYCOMPOSE_REQUIRE_ROOT"):
            pytest.fail(f"privileged tests are required: {child.stderr}")
        pytest.skip(child.stderr.strip())


@pytest.fixture(scope="session")
def home() -> Iterator[Path]:
    """A directory with ``run`` and ``data``. PYCOMPOSE_E2E_DATA keeps images from one session to the next."""
    path = Path(tempfile.mkdtemp(prefix="pycompose-e2e-", dir="/var/tmp"))
    kept = os.environ.get("PYCOMPOSE_E2E_DATA")
    if kept:
        Path(kept).mkdir(parents=True, exist_ok=True)
        (path / "data").symlink_to(Path(kept).resolve())
    (path / "compose.yaml").write_text("services: {busybox: {image: busybox}}\n")
    Stack(path, "images", path / "run", (path / "data").resolve())(
        "pull"
    )  # so that no test has to wait for it
    yield path
    shutil.rmtree(path)


@pytest.fixture
def clean(home: Path) -> Iterator[None]:
    """Fails a test that leaves a process, mount, link, table, cgroup or file behind."""
    before = leaks.look(home / "run", (home / "data").resolve())
    yield
    left = leaks.wait_until_clean(before, home / "run", (home / "data").resolve())
    assert not left, "left on the machine:\n  " + "\n  ".join(left)


@pytest.fixture
def make_stack(home: Path, tmp_path: Path, clean: None) -> Iterator[Callable[[Path], Stack]]:
    """Copy a directory and make it a project; taken down after the test."""
    stacks = []

    def make(source: Path) -> Stack:
        name = f"e{secrets.token_hex(3)}"
        directory = tmp_path / name
        shutil.copytree(source, directory, ignore=shutil.ignore_patterns("*.py", "__pycache__", ".env"))
        stacks.append(Stack(directory, name, home / "run", (home / "data").resolve()))
        return stacks[-1]

    yield make
    for stack in reversed(stacks):
        stack.close()


@pytest.fixture
def stack(make_stack: Callable[[Path], Stack], request: pytest.FixtureRequest) -> Stack:
    """The project in the directory of the test's own file."""
    return make_stack(request.path.parent)
