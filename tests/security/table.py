"""The attempts of ``calls`` and ``files``, made in every form in which a container runs something.

Comes in:  an Engine.
Goes out:  an image with the attack programs; form -> attempt -> Outcome.
Not here:  attempts that need more than a program inside (``edges``).
"""

from __future__ import annotations

import base64
import io
import shlex
import tarfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.security import machine_code
from tests.security.calls import CALLS, refused, word
from tests.security.engine import IMAGE, Engine, Project
from tests.security.files import SCRIPTS
from tests.support.busybox import busybox_tree
from tests.support.programs import program

_END = "@@END@@"
_RUNNER = """\
export P=$$
t() {
  out=$(timeout -s KILL 5 sh -c "$2" 2>&1 < /dev/null); code=$?
  echo "@@$1@@$code@@$(echo "$out" | tail -n 1 | tr -d '\\r' | cut -c 1-60)"
}
echo "@@calls@@$(/probe/calls | base64 | tr -d '\\n')"
"""
PROBE = ("sh", "/probe/run")
_FILE = """\
services:
  default: {image: IMAGE, command: [sh, /probe/run]}
  init: {image: IMAGE, command: [sh, /probe/run], init: true}
  tty: {image: IMAGE, command: [sh, /probe/run], tty: true}
  a: {image: IMAGE, command: [sleep, "1000"]}
  built: {build: ., command: [cat, /said]}
"""
FORMS = ("default", "init", "tty", "build", "exec", "exec on a terminal", "run")


@dataclass(frozen=True)
class Outcome:
    """Whether an attempt got through, and what was seen."""

    passed: bool
    note: str


def archive(place: Path) -> Path:
    """A tar of the root file system of IMAGE: busybox, the attack programs."""
    root = place / "root"
    root.mkdir(parents=True)
    busybox_tree(root, program("busybox"))
    probe = root / "probe"
    probe.mkdir()
    (probe / "calls").write_bytes(machine_code.attempts([*CALLS.values()]))
    (probe / "calls").chmod(0o755)
    lines = [f"t {shlex.quote(name)} {shlex.quote(script)}" for name, script in SCRIPTS.items()]
    (probe / "run").write_text("\n".join((_RUNNER, *lines, f"echo {_END}", "")))
    made = place / "root.tar"
    with tarfile.open(made, "w") as tar:
        tar.add(root, ".", filter=_owned_by_root)
    return made


def _owned_by_root(info: tarfile.TarInfo) -> tarfile.TarInfo:
    info.uid = info.gid = 0
    info.uname = info.gname = ""
    return info


def rounds(engine: Engine) -> dict[str, dict[str, Outcome]]:
    """Make all attempts in all FORMS."""
    with engine.project(_FILE.replace("IMAGE", IMAGE)) as project:
        dockerfile = f"FROM {IMAGE}\nRUN sh /probe/run > /said 2>&1\n"
        (project.directory / "Dockerfile").write_text(dockerfile)
        project.up("--build")
        said: dict[str, Callable[[], str]] = {
            "exec": lambda: project("exec", "-T", "a", *PROBE).stdout.decode(errors="replace"),
            "exec on a terminal": lambda: project.on_terminal("exec", "a", *PROBE)[1],
            "run": lambda: _run(project),
            "build": lambda: project.log_until("built", _END),
            "default": lambda: project.log_until("default", _END),
            "init": lambda: project.log_until("init", _END),
            "tty": lambda: project.log_until("tty", _END),
        }
        return {form: _read(said[form]()) for form in FORMS}


def _run(project: Project) -> str:
    return project("run", "--rm", "-T", "a", *PROBE).stdout.decode(errors="replace")


def _read(text: str) -> dict[str, Outcome]:
    """What the runner said. A form in which an attempt is missing was cut short."""
    found: dict[str, Outcome] = {}
    for line in text.replace("\r", "").splitlines():
        words = line.split("@@", 3)
        if words[1:2] == ["calls"] and len(words) == 3:
            found |= _results(base64.b64decode(words[2]))
        elif len(words) == 4 and words[1] in SCRIPTS:
            found[words[1]] = Outcome(words[2] == "0", words[3] or f"code {words[2]}")
    missing = {*CALLS, *SCRIPTS} - {*found}
    assert not missing, f"attempts that were not made: {sorted(missing)[:5]}; the last words: {text[-300:]}"
    return found


def _results(raw: bytes) -> Mapping[str, Outcome]:
    results = machine_code.read_results(raw)
    pairs = zip(CALLS, results, strict=True)
    return {name: Outcome(not refused(name, result), word(result)) for name, result in pairs}


def tar_of(files: Mapping[str, tarfile.TarInfo | bytes]) -> bytes:
    """A tar of members by name: content of a regular file, or a TarInfo of anything else."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, member in files.items():
            info = tarfile.TarInfo(name) if isinstance(member, bytes) else member
            info.name = name
            if isinstance(member, bytes):
                info.size, info.mode = len(member), 0o755
            tar.addfile(info, io.BytesIO(member) if isinstance(member, bytes) else None)
    return buffer.getvalue()
