"""Commands of somebody without rights end in a sentence, whatever root runs and stores."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.e2e.stack import Stack

NOBODY = 65534
READING = [
    "ps -a", "ls -a", "images", "image ls", "df", "top", "logs", "port db 80", "save busybox", "config -q",
    "graph", "up --dry-run", "image prune --force --dry-run",
]  # fmt: skip
CHANGING = [
    "up -d", "create", "start", "stop", "restart", "kill", "rm -f", "pause", "unpause", "down", "pull",
    "push", "run db true", "exec -T db true", "image rm busybox", "image prune -f", "builder prune -f",
    "export db", "commit db x", "import compose.yaml x", "load -i compose.yaml",
]  # fmt: skip


def without_rights(stack: Stack, words: str, store: Path) -> subprocess.CompletedProcess[str]:
    """Run a command by a process that owns neither ``store`` nor has a capability; DATA and RUN lie there."""
    places = {"PYCOMPOSE_DATA": str(store / "data"), "PYCOMPOSE_RUN": str(store / "run")}
    return subprocess.run(
        ["setpriv", "--bounding-set=-all", "--inh-caps=-all", *stack.argv(*words.split())],
        cwd=stack.directory, env={**stack.environment, **places}, stdin=subprocess.DEVNULL,
        capture_output=True, text=True,
        timeout=60, check=False,
    )  # fmt: skip


@pytest.fixture(params=["no store", "a closed store", "a readable store"])
def store(request: pytest.FixtureRequest, stack: Stack, tmp_path: Path) -> Path:
    """A copy of what root has while the stack is up, in the hands of somebody else."""
    place = tmp_path / "store"
    place.mkdir()
    (stack.directory / ".env.example").rename(stack.directory / ".env")
    if request.param == "no store":
        place.chmod(0o755)
        os.chown(place, NOBODY, NOBODY)
        return place
    stack("up", "-d")
    for name, origin in (("data", stack.data), ("run", stack.run)):
        (place / name).mkdir()
        subprocess.run(
            f"tar -C {origin} --exclude=layers --exclude=blobs -cf - . | tar -C {place / name} -xf -",
            shell=True, check=False, capture_output=True,
        )  # fmt: skip
    mode = "a+rX,go-w,u-s" if request.param == "a readable store" else "go="
    subprocess.run(["chmod", "-R", mode, str(place)], check=True)
    subprocess.run(["chown", "-R", f"{NOBODY}:{NOBODY}", str(place)], check=True)
    place.chmod(0o755)
    return place


def test_every_command_without_rights_ends_in_a_sentence(stack: Stack, store: Path) -> None:
    for words in (*READING, *CHANGING):
        done = without_rights(stack, words, store)
        text = done.stdout + done.stderr
        assert not any(word in text for word in ("Traceback", "defect", "Error:", "internal error")), text
        assert done.returncode in (0, 1), (words, text)
        if done.returncode:
            assert done.stderr.startswith(("error: ", "warning: ")), (words, text)
    shutil.rmtree(store)
