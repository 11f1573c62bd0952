"""Write the ``expected`` of cases from what a real BuildKit makes of them, or tell where it differs.

    python tests/root/dockerfile_reference.py --docker "docker" --work /tmp [--write] [case ...]

docker: a command line that reaches docker with BuildKit. work: a directory that the daemon can read. A case
whose options have ``differs`` (a reason) keeps what it says: there we are not as the reference, on purpose.
An ``error`` is a part of our own message, so that only whether the build fails is compared.
"""

from __future__ import annotations

import argparse
import json
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    here = Path(__file__).parent
    sys.path[:0] = [str(here.parent.parent), str(here), str(here.parent)]

import dockerfile_cases as corpus

from tests.support.programs import program


class Docker:
    """A real docker. ``base`` is imported as the image busybox."""

    def __init__(self, command: str, work: Path, program: str) -> None:
        self._command, self._work = shlex.split(command), work
        with tempfile.TemporaryDirectory(dir=work) as place:
            root, tar = Path(place, "root"), Path(place, "root.tar")
            root.mkdir()
            corpus.make_base(root, program)
            subprocess.run(["tar", "-C", str(root), "-cf", str(tar), "."], check=True)
            changes = ["--change", f"ENV {corpus.PATH}", "--change", 'CMD ["sh"]']
            self.run("import", *changes, str(tar), "busybox")
            self._base = corpus.tar_tree(tar)

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        """One docker command. Raises CalledProcessError."""
        return subprocess.run(
            [*self._command, *words],
            check=True,
            text=True,
            capture_output=True,
            timeout=120,
            stdin=subprocess.DEVNULL,
        )

    def outcome(self, name: str) -> dict[str, Any]:
        """``error``, or ``files`` and ``config``, as the expectation of a case has them."""
        return self.made(corpus.read(name))

    def made(self, case: Mapping[str, str]) -> dict[str, Any]:
        """The same of a case that is in no file."""
        with tempfile.TemporaryDirectory(dir=self._work) as place:
            context, answer = Path(place, "context"), Path(place, "root.tar")
            context.mkdir()
            corpus.lay_out(case, context)
            words = ["build", "--network=none", *flags(corpus.options(case), context)]
            try:
                self.run(*words, "--iidfile", f"{place}/id", str(context))
                self.run(*words, "-o", f"type=tar,dest={answer}", str(context))
            except subprocess.CalledProcessError as error:
                return {"error": error.stderr.strip().splitlines()[-1]}
            (inspected,) = json.loads(self.run("image", "inspect", Path(place, "id").read_text()).stdout)
            files = corpus.changes(self._base, corpus.tar_tree(answer))
            return {"files": files, "config": corpus.docker_settings(inspected)}


def flags(given: dict[str, Any], context: Path) -> list[str]:
    """The options of a case as docker's flags."""
    words = [f"--build-arg={key}={value}" for key, value in given.get("args", {}).items()]
    words += [f"--label={key}={value}" for key, value in given.get("labels", {}).items()]
    words += [f"--target={given['target']}"] if "target" in given else []
    words += [f"--file={context / given['dockerfile']}"] if "dockerfile" in given else []
    words += [f"--build-context={key}={context / value}" for key, value in given.get("contexts", {}).items()]
    words += [f"--secret=id={key},src={context / value}" for key, value in given.get("secrets", {}).items()]
    return words


def write(name: str, found: dict[str, Any]) -> None:
    """Put an expectation into a case's file."""
    path = corpus.ROOT / f"{name}.txt"
    text = path.read_bytes().decode().split("-- expected --\n")[0]
    path.write_bytes(f"{text}-- expected --\n{shown(found)}\n".encode())


def shown(found: dict[str, Any]) -> str:
    """JSON with one line for each file and setting."""
    if "error" in found:
        return json.dumps(found, ensure_ascii=False)
    parts = []
    for key in ("files", "config"):
        lines = [
            f"    {json.dumps(k, ensure_ascii=False)}: {json.dumps(v, ensure_ascii=False)}"
            for k, v in found[key].items()
        ]
        inside = ",\n".join(lines)
        parts.append(f'  "{key}": {{\n{inside}\n  }}' if lines else f'  "{key}": {{}}')
    return "{\n" + ",\n".join(parts) + "\n}"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--docker", default="docker")
    parser.add_argument("--work", type=Path, default=Path("/tmp"))
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--new", action="store_true", help="only cases without an expectation")
    parser.add_argument("cases", nargs="*")
    words = parser.parse_args()
    docker = Docker(words.docker, words.work, program("busybox"))
    for name in words.cases or corpus.cases():
        case = corpus.read(name)
        if words.new and "expected" in case:
            continue
        found = docker.outcome(name)
        before = json.loads(case.get("expected", "null"))
        same = before == found or (before is not None and "error" in before and "error" in found)
        differs = corpus.options(case).get("differs", "")
        print(
            "same" if same else f"differs on purpose: {differs}" if differs else "DIFFERENT",
            name,
            flush=True,
        )
        if not same and not differs:
            print(shown(found))
            if words.write:
                write(name, found)


if __name__ == "__main__":
    main()
