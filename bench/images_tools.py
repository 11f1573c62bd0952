"""How each tool of bench/images.py is asked: one class per tool, each verb gives the seconds it took.

Comes in:  a command line, a work directory.
Goes out:  seconds; SubprocessError when a command fails.
Not here:  what is measured (images).
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

BASE = "localhost/bench-busybox"
BUILT = "localhost/bench-built"
EVERYTHING = ("load and save", "build", "push and pull")
CHANGES = ("ENV PATH=/bin", 'CMD ["sh"]')


class Tool:
    """One tool. can: the measurements it takes part in. network: what puts a process beside it."""

    name = ""
    can: tuple[str, ...] = EVERYTHING

    def __init__(
        self, command: Sequence[str], network: tuple[str, ...], work: Path, skopeo: Sequence[str] = ()
    ) -> None:
        self.command, self.network, self.work, self.skopeo = tuple(command), network, work, tuple(skopeo)
        self._left: set[str] = {BUILT, BASE}

    def run(self, *words: str, quiet: bool = False, cwd: Path | None = None) -> float:
        """Run one command to its end; seconds it took. quiet: its failure is nothing."""
        begin = time.perf_counter()
        done = subprocess.run(
            [*self.command, *words],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=300,
            cwd=cwd,
            env=self.environment(),
        )
        took = time.perf_counter() - begin
        if done.returncode and not quiet:
            sys.stderr.write(done.stdout.decode(errors="replace"))
            raise subprocess.CalledProcessError(done.returncode, words)
        return took

    def environment(self) -> dict[str, str]:
        """Of its processes."""
        return dict(os.environ)

    def prepare(self, base: Path) -> None:
        """Make the base image of the builds."""
        changes = [word for change in CHANGES for word in ("--change", change)]
        self.run("import", *changes, str(base), BASE)

    def load(self, archive: Path) -> float:
        """The image of an archive into the store."""
        self._left.add(f"localhost/bench-images:{archive.stem.rpartition('-')[2]}")
        return self.run("load", "-q", "-i", str(archive))

    def save(self, image: str, target: Path) -> float:
        """To a docker-archive."""
        return self.run("save", "-o", str(target), image)

    def build(self, context: Path) -> float:
        """The Dockerfile in a context."""
        return self.run("build", "-q", "-t", BUILT, str(context))

    def push(self, image: str, archive: Path, target: str) -> float:
        """To a registry. archive: the same image for those without a store."""
        self._left.add(target)
        self.run("tag", image, target)
        return self.run("push", "-q", target)

    def pull(self, image: str) -> float:
        """From a registry into the store."""
        self._left.add(image)
        return self.run("pull", "-q", image)

    def clean(self) -> None:
        """Leave nothing."""
        for image in self._left:
            self.run("rmi", "-f", image, quiet=True)
        self.run("image", "prune", "-f", quiet=True)


class Docker(Tool):
    name = "docker"


class Podman(Tool):
    name = "podman"
    LIMITS = ("--ulimit", "nofile=16384:16384", "--ulimit", "nproc=4096:4096")

    def save(self, image: str, target: Path) -> float:
        return self.run("save", "-q", "-o", str(target), image)

    def build(self, context: Path) -> float:
        return self.run("build", "-q", "--layers", *self.LIMITS, "-t", BUILT, str(context))

    def push(self, image: str, archive: Path, target: str) -> float:
        return self.run("push", "-q", "--tls-verify=false", image, target)

    def pull(self, image: str) -> float:
        self._left.add(image)
        return self.run("pull", "-q", "--tls-verify=false", image)


class Buildah(Podman):
    """Shares podman's store and so its base image."""

    name = "buildah"
    can = ("build",)

    def prepare(self, base: Path) -> None:
        container = subprocess.check_output([*self.command, "from", "scratch"], text=True).strip()
        self.run("add", "-q", container, str(base), "/")
        self.run("config", "--env", "PATH=/bin", "--cmd", "sh", container)
        self.run("commit", "-q", "--rm", container, BASE)


class Skopeo(Tool):
    """Has no store: what is pulled goes to a directory, not unpacked."""

    name = "skopeo"
    can = ("push and pull",)

    def prepare(self, base: Path) -> None:
        pass

    def load(self, archive: Path) -> float:
        return 0.0

    def push(self, image: str, archive: Path, target: str) -> float:
        source, there = f"docker-archive:{archive}", f"docker://{target}"
        return self.run("copy", "-q", "--dest-tls-verify=false", source, there)

    def pull(self, image: str) -> float:
        place = tempfile.mkdtemp(dir=self.work)
        return self.run("copy", "-q", "--src-tls-verify=false", f"docker://{image}", f"oci:{place}/out")

    def clean(self) -> None:
        pass


class Own(Tool):
    """Ours: builds, pushes and pulls by a Compose file; the store is a directory of its own."""

    name = "pycompose"

    def __init__(
        self, command: Sequence[str], network: tuple[str, ...], work: Path, skopeo: Sequence[str] = ()
    ) -> None:
        super().__init__((*network, *command), network, work, skopeo)
        self._data, self._run = work / "own-data", work / "own-run"

    def environment(self) -> dict[str, str]:
        return {**os.environ, "PYCOMPOSE_DATA": str(self._data), "PYCOMPOSE_RUN": str(self._run)}

    def save(self, image: str, target: Path) -> float:
        return self.run("save", "-q", "-o", str(target), image)

    def build(self, context: Path) -> float:
        service = {"image": BUILT, "build": {"context": ".", "network": "none"}}
        return self._compose(context, service, "build", "-q")

    def push(self, image: str, archive: Path, target: str) -> float:
        service = {"image": target, "build": {"dockerfile_inline": f"FROM {image}\n"}}
        self._compose(self.work, service, "build", "-q")
        return self._compose(self.work, service, "push", "-q")

    def pull(self, image: str) -> float:
        return self._compose(self.work, {"image": image}, "pull", "-q", "--policy", "always")

    def _compose(self, place: Path, service: Mapping[str, object], *words: str) -> float:
        (file := place / "compose.yaml").write_text(json.dumps({"services": {"bench": service}}))
        try:
            return self.run("-f", str(file), *words, cwd=place)
        finally:
            file.unlink()

    def clean(self) -> None:
        shutil.rmtree(self._data, ignore_errors=True)
        shutil.rmtree(self._run, ignore_errors=True)
