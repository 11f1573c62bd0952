"""One project under test, driven from the outside as a user drives it.

Comes in:  a directory with a compose.yaml, the run and data directories of the test session.
Goes out:  what commands print and return, container states, pids, pages.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

SECONDS = 120.0


class Stack:
    """A copy of an example directory with a project name of its own."""

    def __init__(self, directory: Path, name: str, run: Path, data: Path) -> None:
        self.directory = directory
        self.name = name
        self.run = run
        self.data = data
        self.started: list[subprocess.Popen[str]] = []
        self.environment = {
            **{key: value for key, value in os.environ.items() if not key.startswith("COMPOSE_")},
            "PYCOMPOSE_RUN": str(run),
            "PYCOMPOSE_DATA": str(data),
            "COMPOSE_PROJECT_NAME": name,
            "NO_COLOR": "1",
        }

    # Commands

    def argv(self, *words: str) -> list[str]:
        """The command line of a pycompose command, by the interpreter that runs the tests."""
        return [str(Path(sys.executable).with_name("pycompose")), *words]

    def __call__(
        self, *words: str, check: bool = True, stdin: str | None = None, env: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run a command to its end; with ``check``, a code other than 0 fails the test with what it said."""
        done = subprocess.run(
            self.argv(*words),
            cwd=self.directory,
            env={**self.environment, **(env or {})},
            input=stdin,
            stdin=subprocess.DEVNULL if stdin is None else None,
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )
        assert "Traceback" not in done.stderr, done.stderr
        if check:
            assert done.returncode == 0, f"{words} gave {done.returncode}:\n{done.stdout}{done.stderr}"
        return done

    def start(self, *words: str) -> subprocess.Popen[str]:
        """Start a command that stays, both its outputs in one pipe; ended with the stack at the latest."""
        process = subprocess.Popen(
            self.argv(*words),
            cwd=self.directory,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            # A background job of a shell ignores SIGINT, and its children inherit that.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )
        self.started.append(process)
        return process

    # State

    def ps(self, *words: str) -> dict[str, dict[str, Any]]:
        """What ``ps -a --format json`` says, by container name without the project's."""
        out = self("ps", "-a", "--format", "json", *words).stdout.strip()
        rows = json.loads(out) if out.startswith("[") else [json.loads(line) for line in out.splitlines()]
        return {row["Name"].removeprefix(f"{self.name}-"): row for row in rows}

    def ids(self) -> dict[str, str]:
        return {name: row["ID"] for name, row in self.ps().items()}

    def state(self, container: str) -> dict[str, Any]:
        """The state.json of ``web-1`` as the runtime wrote it."""
        for file in (self.run / self.name / "containers").glob("*/state.json"):
            state = json.loads(file.read_text())
            if state["name"] == f"{self.name}-{container}":
                return dict(state)
        raise AssertionError(f"no container {container}")

    def supervised_facts(self, container: str) -> dict[str, Any]:
        """The engine.json of ``web-1`` as the supervisor wrote it."""
        id = self.state(container)["id"]
        record = self.data / "projects" / self.name / "containers" / id
        return dict(json.loads((record / "engine.json").read_text()))

    def exit_record(self, container: str) -> dict[str, Any]:
        id = self.state(container)["id"]
        return dict(json.loads((self.run / self.name / "containers" / id / "exit.json").read_text()))

    def supervisor(self) -> int:
        """The pid of the living supervisor."""
        return int((self.run / self.name / "lock").read_text().split()[0])

    def spawner(self) -> int:
        """The pid of the spawner: who holds its lock, by /proc/locks (proc(5))."""
        inode = (self.run / self.name / "spawner.lock").stat().st_ino
        rows = [line.split() for line in Path("/proc/locks").read_text().splitlines()]
        return one(int(row[4]) for row in rows if row[5].endswith(f":{inode}"))

    def monitor(self, container: str) -> int:
        return int(self.state(container)["monitor"])

    def pid(self, container: str) -> int:
        return int(self.state(container)["pid"])

    # The outside

    def get(self, port: int, path: str = "/", *, host: str = "127.0.0.1", seconds: float = 5.0) -> str:
        """The body of a page, asked for from the host."""
        return fetch(f"http://{host}:{port}{path}", seconds=seconds)

    def file(self, text: str, name: str = "compose.yaml") -> None:
        (self.directory / name).write_text(text)

    def edit(self, old: str, new: str, name: str = "compose.yaml") -> None:
        text = (self.directory / name).read_text()
        assert old in text
        self.file(text.replace(old, new), name)

    def close(self) -> None:
        """Take everything down, whatever state the test left it in."""
        for process in self.started:
            process.kill()
            process.wait()
            if process.stdout:
                process.stdout.close()
        self("down", "-v", "--remove-orphans", "-t", "0", check=False)


def fetch(url: str, *, data: bytes | None = None, seconds: float = 5.0) -> str:
    """GET, or POST ``data``; no proxy."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(url, data=data, timeout=seconds) as response:
        return str(response.read().decode())


def until(what: Callable[[], Any], *, seconds: float = 10.0, every: float = 0.02) -> Any:
    """Ask until the answer is true and raises nothing; the last word is the assertion's."""
    end = time.monotonic() + seconds
    while True:
        try:
            answer = what()
            if answer or time.monotonic() > end:
                assert answer, f"still false after {seconds} s"
                return answer
        except (OSError, LookupError, ValueError):
            if time.monotonic() > end:
                raise
        time.sleep(every)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("0.0.0.0", 0))
        return int(probe.getsockname()[1])


def alive(pid: int) -> bool:
    """Whether ``pid`` runs; a zombie does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def one(pids: Any) -> int:
    (found,) = list(pids)
    return int(found)


def kill(pid: int) -> None:
    """SIGKILL and wait until it is gone."""
    os.kill(pid, signal.SIGKILL)
    until(lambda: not alive(pid))
