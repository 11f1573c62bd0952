"""A disk without space: said in a sentence, and `down` still cleans up."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.stack import Stack


@pytest.fixture
def small(stack: Stack, tmp_path: Path) -> Iterator[Path]:
    """The volatile directory of the stack on a file system of 96 KiB."""
    mount = tmp_path / "small"
    mount.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=96k", "tmpfs", str(mount)], check=True)
    stack.run = mount
    stack.environment["PYCOMPOSE_RUN"] = str(mount)
    yield mount
    stack.close()
    subprocess.run(["umount", str(mount)], check=True)


def test_a_full_volatile_directory_is_told_and_cleaned_up(stack: Stack, small: Path) -> None:
    done = stack("up", "-d", check=False)
    assert done.returncode != 0
    assert "No space left on device" in done.stderr and "PYCOMPOSE_RUN" in done.stderr
    stack("down")
    assert not (small / stack.name).exists()
    assert not list((stack.data / "projects").glob(stack.name))
