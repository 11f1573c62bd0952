"""Whoever runs compose files under attack: us, or docker compose to compare with.

Comes in:  a command line, a directory that it sees.
Goes out:  projects: commands run, what they print and return, pids of containers.
Not here:  attempts.
"""

from __future__ import annotations

import json
import os
import pty
import secrets
import select
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.security import SECRET

SECONDS = 60.0
IMAGE = "localhost/escape:latest"
PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
IDLE = f"services: {{a: {{image: {IMAGE}, command: [sleep, '1000'], stop_grace_period: 0s}}}}\n"
Done = subprocess.CompletedProcess[bytes]


class Engine:
    """``compose`` and ``image`` are command lines; projects lie below ``work``."""

    def __init__(
        self, name: str, compose: Sequence[str], image: Sequence[str], work: Path, env: Mapping[str, str]
    ) -> None:
        self.name, self.compose, self.image, self.work = name, [*compose], [*image], work
        clean = {key: value for key, value in os.environ.items() if not key.startswith("COMPOSE_")}
        self._idle: Project | None = None
        self.env = {**clean, **env, "NO_COLOR": "1", "CI_TOKEN": SECRET, "BUILDKIT_PROGRESS": "plain"}

    def load(self, archive: Path) -> None:
        """Make IMAGE of a tar of a root file system."""
        changes = ("--change", 'CMD ["sh"]', "--change", f"ENV {PATH}")
        words = [*self.image, "import", *changes, str(archive), IMAGE]
        subprocess.run(words, env=self.env, check=True, capture_output=True, stdin=subprocess.DEVNULL)

    def project(self, file: str) -> Project:
        """A new project with this compose.yaml."""
        name = f"esc{secrets.token_hex(3)}"
        directory = self.work / name
        directory.mkdir(parents=True)
        directory.chmod(0o755)
        (directory / "compose.yaml").write_text(file)
        return Project(self, name, directory)

    @contextmanager
    def idle(self) -> Iterator[Project]:
        """A project whose service ``a`` runs and does nothing; attempts leave it as they found it."""
        if self._idle is None:
            self._idle = self.project(IDLE)
            self._idle.up()
        yield self._idle

    def close(self) -> None:
        """Take down what ``idle`` made."""
        if self._idle is not None:
            self._idle.__exit__()
            self._idle = None


class Project:
    """One project; leaving it as a context takes it down."""

    def __init__(self, engine: Engine, name: str, directory: Path) -> None:
        self.engine, self.name, self.directory = engine, name, directory

    def __enter__(self) -> Project:
        return self

    def __exit__(self, *_: object) -> None:
        self("down", "-v", "-t", "0", "--remove-orphans")
        shutil.rmtree(self.directory)

    def argv(self, *words: str) -> list[str]:
        place = ["-f", str(self.directory / "compose.yaml"), "-p", self.name]
        return [*self.engine.compose, *place, *words]

    def __call__(self, *words: str, seconds: float = SECONDS, **how: object) -> Done:
        """Run a command to its end. Raises subprocess.TimeoutExpired: it hangs, and is killed."""
        options: dict[str, object] = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE}
        options |= {"stderr": subprocess.STDOUT, "env": self.engine.env, "timeout": seconds} | how
        return subprocess.run(self.argv(*words), check=False, **options)  # type: ignore[call-overload,no-any-return]

    def up(self, *words: str) -> None:
        done = self("up", "-d", *words)
        assert done.returncode == 0, done.stdout.decode(errors="replace")

    def inside(self, script: str, *options: str, service: str = "a") -> str:
        """What a shell script says that ``exec`` runs."""
        return self("exec", "-T", *options, service, "sh", "-c", script).stdout.decode(errors="replace")

    def log(self, service: str) -> str:
        words = ("logs", "--no-log-prefix", "--no-color", service)
        return self(*words).stdout.decode(errors="replace").replace("\r", "")

    def log_until(self, service: str, end: str, seconds: float = SECONDS) -> str:
        """The log once ``end`` is in it, or what there is after ``seconds``."""
        last = time.monotonic() + seconds
        while end not in (text := self.log(service)) and time.monotonic() < last:
            time.sleep(0.1)
        return text

    def exit_code(self, service: str, seconds: float = 10.0) -> int:
        """How the service's container ended; -1 when it still runs."""
        last = time.monotonic() + seconds
        while True:
            rows = self("ps", "-a", "--format", "json", service).stdout.decode()
            for row in _rows(rows):
                if row["State"] == "exited":
                    return int(row["ExitCode"])
            if time.monotonic() > last:
                return -1
            time.sleep(0.1)

    def pid(self, service: str = "a") -> int:
        """The pid of the container's first process on this machine."""
        (id,) = self("ps", "-q", "--no-trunc", service).stdout.decode().split()
        if self.engine.name == "docker":
            words = [*self.engine.image, "inspect", "--format", "{{.State.Pid}}", id]
            return int(subprocess.run(words, capture_output=True, text=True, check=True).stdout)
        run = Path(self.engine.env["PYCOMPOSE_RUN"]) / self.name
        return int(json.loads((run / "containers" / id / "state.json").read_text())["pid"])

    def on_terminal(self, *words: str, typed: bytes = b"", seconds: float = SECONDS) -> tuple[int, str]:
        """Run a command on a pseudo terminal of its own. Returns its code and what was shown."""
        pid, master = pty.fork()
        if pid == 0:
            argv = self.argv(*words)
            os.execvpe(argv[0], argv, self.engine.env)
        os.write(master, typed)
        shown = _read_all(master, time.monotonic() + seconds)
        os.close(master)
        _, status = os.waitpid(pid, 0)
        return os.waitstatus_to_exitcode(status), shown.decode(errors="replace").replace("\r", "")


def _rows(text: str) -> list[dict[str, str]]:
    text = text.strip()
    if text.startswith("["):
        return list(json.loads(text))
    return [json.loads(line) for line in text.splitlines() if line.startswith("{")]


def _read_all(master: int, until: float) -> bytes:
    shown = b""
    while (left := until - time.monotonic()) > 0:
        if master not in select.select([master], [], [], left)[0]:
            break
        try:
            data = os.read(master, 65536)
        except OSError:  # EIO: the last process has closed its side
            break
        if not data:
            break
        shown += data
    return shown


def ours(home: Path) -> Engine:
    """pycompose of this interpreter, with directories of its own."""
    program = [str(Path(sys.executable).with_name("pycompose"))]
    env = {"PYCOMPOSE_RUN": str(home / "run"), "PYCOMPOSE_DATA": str(home / "data")}
    return Engine("pycompose", program, program, home / "work", env)


def docker() -> Engine | None:
    """The engine that PYCOMPOSE_DOCKER names ("docker"), working in PYCOMPOSE_DOCKER_WORK; None without."""
    words = shlex.split(os.environ.get("PYCOMPOSE_DOCKER", ""))
    if not words:
        return None
    work = Path(os.environ.get("PYCOMPOSE_DOCKER_WORK", "/tmp"))
    return Engine("docker", [*words, "compose"], words, work, {})


def wait(true: Callable[[], bool], seconds: float = 10.0) -> bool:
    """Whether something becomes true in time."""
    last = time.monotonic() + seconds
    while not (found := true()) and time.monotonic() < last:
        time.sleep(0.05)
    return found
