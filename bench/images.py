#!/usr/bin/env python3
"""Time pycompose beside docker, podman, buildah and skopeo: load, save, build, push and pull of images.

Comes in:  how each tool is called, a directory that all of them can see.
Goes out:  a Markdown table of medians and ratios; one line per measurement on standard error.

Every tool has its turn in every round, each round beginning with another one, with the same kind of bytes: an
image of one layer of many files (gzip, as a docker-archive), a context of 10,000 small files. No two
measurements are given the same ones, so that no store, cache or registry knows them; and nothing is deleted
before the end, because ext4 that has just deleted many files is slow to make new ones. A ratio is the median
of the ratios of the rounds.

    bench/images.py --docker docker --podman podman --buildah buildah --skopeo skopeo --rounds 5

The registry is Debian's docker-registry. ``--network`` goes before it and our command and puts them where the
others are, such as "nsenter -t <pid> -n --".
"""

from __future__ import annotations

import argparse
import gzip
import io
import json
import os
import random
import re
import shlex
import shutil
import statistics
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path

from images_tools import Buildah, Docker, Own, Podman, Skopeo, Tool

FILES, BYTES = 25_000, 300 << 20  # of the image
SMALL = 10_000  # files of the build's context
REGISTRY = "127.0.0.1:5055"
DOCKERFILE = """\
FROM localhost/bench-busybox
RUN echo {nonce} > /one
RUN mkdir /two && seq 1000 > /two/numbers
RUN for i in 1 2 3 4 5 6 7 8 9; do echo $i > /two/$i; done
RUN rm /two/5
COPY files /files
RUN find /files -type f | wc -l > /count
"""
Values = dict[str, dict[str, list[float]]]


# --- the material


class Images:
    """Images of one gzip layer of 300 MB in 25,000 files; each has the same files and one of its own."""

    def __init__(self, work: Path) -> None:
        self._work, self._count = work, 0
        self._plain, self._packed = work / "common.tar", work / "common.tar.gz"
        write_layer(self._plain)
        with self._packed.open("wb") as out:
            subprocess.run(["gzip", "-6c", str(self._plain)], stdout=out, check=True)

    def fresh(self) -> tuple[str, Path]:
        """A name and a docker-archive that nobody has seen."""
        self._count += 1
        tail = own_file(f"{time.time_ns()}")
        config = self._config(tail)
        name = f"{sha256(config).hexdigest()}.json"
        image = f"localhost/bench-images:{self._count}"
        manifest = [{"Config": name, "RepoTags": [image], "Layers": ["layer.tar.gz"]}]
        layer = self._work / "layer.tar.gz"
        with layer.open("wb") as out, self._packed.open("rb") as common:
            shutil.copyfileobj(common, out)
            out.write(gzip.compress(tail))
        with tarfile.open(target := self._work / f"image-{self._count}.tar", "w") as tar:
            tar.add(layer, "layer.tar.gz")
            for member, data in ((name, config), ("manifest.json", json.dumps(manifest).encode())):
                info = tarfile.TarInfo(member)
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))
        return image, target

    def _config(self, tail: bytes) -> bytes:
        state = sha256()
        with self._plain.open("rb") as data:
            while chunk := data.read(1 << 20):
                state.update(chunk)
        state.update(tail)
        config = {
            "architecture": "amd64" if os.uname().machine == "x86_64" else "arm64",
            "os": "linux",
            "config": {"Env": ["PATH=/bin"]},
            "rootfs": {"type": "layers", "diff_ids": [f"sha256:{state.hexdigest()}"]},
        }
        return json.dumps(config).encode()


def own_file(text: str) -> bytes:
    """The end of a tar: one file and the two empty blocks."""
    with tarfile.open(fileobj=(out := io.BytesIO()), mode="w") as tar:
        info = tarfile.TarInfo("own")
        info.size = len(text)
        tar.addfile(info, io.BytesIO(text.encode()))
    return out.getvalue()


def write_layer(path: Path) -> None:
    """Files of text and of bytes that do not compress, of sizes as in a distribution."""
    dice = random.Random(1)
    words = ["".join(dice.choices("abcdefghijklmnopqrstuvwxyz", k=dice.randint(2, 11))) for _ in range(9000)]
    text = " ".join(dice.choices(words, k=700_000)).encode()
    sizes = [dice.lognormvariate(8, 1.6) for _ in range(FILES)]
    scale = BYTES / sum(sizes)
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as tar:
        for number, size in enumerate(int(size * scale) for size in sizes):
            info = tarfile.TarInfo(f"usr/share/d{number // 250}/s{number // 25}/file-{number}")
            begin = dice.randrange(len(text) - 1)
            data = (text[begin:] + text * (size // len(text) + 1))[:size]
            data = dice.randbytes(size) if number % 5 == 0 else data
            info.size, info.mtime, info.mode = len(data), 1_600_000_000 + number, 0o644
            tar.addfile(info, io.BytesIO(data))
        end = tar.offset
    os.truncate(path, end)  # without the empty blocks: more files come behind it


def context(place: Path) -> None:
    """A build's context that no cache has seen."""
    nonce = str(time.time_ns())
    for number in range(SMALL):
        directory = place / "files" / f"d{number // 100}"
        directory.mkdir(parents=True, exist_ok=True)
        (directory / f"f{number}").write_text(f"{nonce} {number}\n" * 20)
    (place / "Dockerfile").write_text(DOCKERFILE.format(nonce=nonce))


def base(work: Path) -> Path:
    """A root file system with a static busybox, as a tar."""
    program = shutil.which("busybox") or sys.exit("no busybox here: apt-get install busybox-static")
    target = work / "busybox.tar"
    listed = subprocess.run([program, "--list"], capture_output=True, text=True, check=True).stdout.split()
    with tarfile.open(target, "w") as tar:
        tar.add(Path(program).resolve(), "bin/busybox")
        for name in set(listed) - {"busybox"}:
            info = tarfile.TarInfo(f"bin/{name}")
            info.type, info.linkname = tarfile.SYMTYPE, "busybox"
            tar.addfile(info)
    return target


@contextmanager
def registry(work: Path, prefix: tuple[str, ...]) -> Iterator[str]:
    """An empty docker-registry; gives its address."""
    with tempfile.TemporaryDirectory(dir=work) as place:
        settings = {
            "version": 0.1,
            "log": {"level": "error", "accesslog": {"disabled": True}},
            "storage": {"filesystem": {"rootdirectory": f"{place}/data"}},
            "http": {"addr": REGISTRY},
        }
        (file := Path(place, "config.yml")).write_text(json.dumps(settings))
        server = subprocess.Popen([*prefix, "docker-registry", "serve", str(file)], stderr=subprocess.DEVNULL)
        try:
            probe = f"import urllib.request as u; u.urlopen('http://{REGISTRY}/v2/', timeout=1)"
            for _ in range(100):
                if (
                    subprocess.run([*prefix, sys.executable, "-c", probe], capture_output=True).returncode
                    == 0
                ):
                    break
                time.sleep(0.05)
            yield REGISTRY
        finally:
            server.terminate()
            server.wait()


# --- the measurements: each gives seconds by row


def loading(tool: Tool, images: Images, place: Path) -> dict[str, float]:
    image, archive = images.fresh()
    rows = {"load, 300 MB in 25,000 files": tool.load(archive)}
    archive.unlink()
    rows["save of that image"] = tool.save(image, place / "saved.tar")
    return rows


def building(tool: Tool, images: Images, place: Path) -> dict[str, float]:
    context(place)
    rows = {"build, nothing cached": tool.build(place)}
    rows["build again, all cached"] = tool.build(place)
    (place / "files/d50/f5000").write_text("changed")
    rows["build, one of 10,000 files changed"] = tool.build(place)
    return rows


def moving(tool: Tool, images: Images, place: Path) -> dict[str, float]:
    """What is pulled was put into the registry by skopeo."""
    with registry(place, tool.network) as address:
        image, archive = images.fresh()
        tool.load(archive)
        rows = {"push of such an image": tool.push(image, archive, f"{address}/pushed")}
        archive.unlink()
        if tool.skopeo:
            _, archive = images.fresh()
            Skopeo(tool.skopeo, tool.network, place).push("", archive, f"{address}/pulled")
            archive.unlink()
            rows["pull of one"] = tool.pull(f"{address}/pulled")
    return rows


ASKS: dict[str, Callable[[Tool, Images, Path], dict[str, float]]] = {
    "load and save": loading,
    "build": building,
    "push and pull": moving,
}


def measure(tools: list[Tool], images: Images, work: Path, rounds: int, only: re.Pattern[str]) -> Values:
    """{row: {tool: one value per round}}; a tool that fails a measurement is not asked again."""
    results: Values = {}
    broken: set[tuple[str, str]] = set()
    for number in range(rounds):
        for name, ask in ASKS.items():
            first = number % len(tools)
            for tool in (*tools[first:], *tools[:first]):
                if not only.search(name) or name not in tool.can or (name, tool.name) in broken:
                    continue
                place = Path(tempfile.mkdtemp(dir=work))
                try:
                    rows = ask(tool, images, place)
                except subprocess.SubprocessError as error:
                    print(f"{tool.name}: {name}: {error}", file=sys.stderr)
                    broken.add((name, tool.name))
                    continue
                for row, value in rows.items():
                    results.setdefault(row, {}).setdefault(tool.name, []).append(value)
                    print(
                        f"round {number + 1}: {tool.name}: {row}: {value:.3f} s", file=sys.stderr, flush=True
                    )
    return results


def table(tools: list[Tool], results: Values) -> str:
    own, *peers = tools
    lines = ["| | " + " | ".join([own.name, *(f"{peer.name} | ratio" for peer in peers)]) + " |"]
    lines.append("|---" * (2 + 2 * len(peers)) + "|")
    for row, values in results.items():
        mine = values.get(own.name, [])
        cells = [row, f"{statistics.median(mine):.2f} s" if mine else ""]
        for peer in peers:
            theirs = values.get(peer.name, [])
            ratios = [b / a for a, b in zip(mine, theirs, strict=False)]
            cells.append(f"{statistics.median(theirs):.2f} s" if theirs else "")
            cells.append(f"{statistics.median(ratios):.1f}" if ratios else "")
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--own", default=str(Path(sys.executable).with_name("pycompose")), help="our command")
    for name in ("docker", "podman", "buildah", "skopeo"):
        parser.add_argument(f"--{name}", default="", help=f"a command line that reaches {name}")
    parser.add_argument("--network", default="", help="goes before the registry and before our command")
    parser.add_argument(
        "--work", type=Path, default=Path("/var/tmp"), help="directory that every tool can see"
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument(
        "--only", default="", help="regular expression on: load and save, build, push and pull"
    )
    words = parser.parse_args()
    (work := words.work / "bench-images").mkdir(exist_ok=True)
    prefix = tuple(shlex.split(words.network))
    skopeo = shlex.split(words.skopeo)
    tools: list[Tool] = [Own(shlex.split(words.own), prefix, work, skopeo)]
    kinds = {"docker": Docker, "podman": Podman, "buildah": Buildah, "skopeo": Skopeo}
    for name, kind in kinds.items():
        if line := getattr(words, name):
            tools.append(kind(shlex.split(line), prefix, work, skopeo))
    try:
        for tool in tools:
            tool.prepare(base(work))
        results = measure(tools, Images(work), work, words.rounds, re.compile(words.only))
    finally:
        for tool in tools:
            tool.clean()
        shutil.rmtree(work)
    print(table(tools, results))


if __name__ == "__main__":
    main()
