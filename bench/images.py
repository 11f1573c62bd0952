#!/usr/bin/env python3
"""Time pycompose beside docker, podman, buildah and skopeo: load, save, build, push and pull of images.

Comes in:  how each tool is called, a directory that all of them can see.
Goes out:  a Markdown table of medians and ratios; one line per measurement on standard error.

Every tool has its turn in every round, with the same bytes: an image of one layer of many files (gzip, as a
docker-archive), a context of 10,000 small files. Before a measurement whatever would make it easier is
taken away: the image from the store (our whole store), the registry's storage, the build cache by a line
that no build has seen. A ratio is the median of the ratios of the rounds.

    bench/images.py --docker docker --podman podman --buildah buildah --skopeo skopeo --rounds 5

The registry is Debian's docker-registry. ``--network`` goes before it and our command and puts them where the
others are, such as "nsenter -t <pid> -n --".
"""

from __future__ import annotations

import argparse
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
IMAGE = "localhost/bench-images:latest"
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


def archive(work: Path) -> Path:
    """A docker-archive of one gzip layer of 300 MB in 25,000 files; made once for a work directory."""
    target = work / f"bench-{FILES}-{BYTES >> 20}.tar"
    if target.exists():
        return target
    plain, packed = work / "layer.tar", work / "layer.tar.gz"
    write_layer(plain)
    with packed.open("wb") as out:
        subprocess.run(["gzip", "-6c", str(plain)], stdout=out, check=True)
    with plain.open("rb") as data:
        diff = digest(data)
    config = json.dumps(
        {
            "architecture": "amd64" if os.uname().machine == "x86_64" else "arm64",
            "os": "linux",
            "config": {"Env": ["PATH=/bin"]},
            "rootfs": {"type": "layers", "diff_ids": [f"sha256:{diff}"]},
        }
    ).encode()
    name = f"{sha256(config).hexdigest()}.json"
    manifest = [{"Config": name, "RepoTags": [IMAGE], "Layers": ["layer.tar.gz"]}]
    with tarfile.open(partial := work / "partial", "w") as tar:
        tar.add(packed, "layer.tar.gz")
        for member, data_ in ((name, config), ("manifest.json", json.dumps(manifest).encode())):
            info = tarfile.TarInfo(member)
            info.size = len(data_)
            tar.addfile(info, io.BytesIO(data_))
    plain.unlink()
    packed.unlink()
    partial.rename(target)
    return target


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


def digest(data: io.BufferedReader) -> str:
    state = sha256()
    while chunk := data.read(1 << 20):
        state.update(chunk)
    return state.hexdigest()


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


def loading(tool: Tool, work: Path) -> dict[str, float]:
    tool.forget(IMAGE)
    took = tool.load(archive(work))
    return {"load, 300 MB in 25,000 files": took}


def saving(tool: Tool, work: Path) -> dict[str, float]:
    if not tool.has(IMAGE):
        tool.load(archive(work))
    with tempfile.TemporaryDirectory(dir=work) as place:
        return {"save of that image": tool.save(IMAGE, Path(place, "saved.tar"))}


def building(tool: Tool, work: Path) -> dict[str, float]:
    with tempfile.TemporaryDirectory(dir=work) as place:
        context(Path(place))
        rows = {"build, nothing cached": tool.build(Path(place))}
        rows["build again, all cached"] = tool.build(Path(place))
        (Path(place) / "files/d50/f5000").write_text("changed")
        rows["build, one of 10,000 files changed"] = tool.build(Path(place))
    return rows


def moving(tool: Tool, work: Path) -> dict[str, float]:
    source = IMAGE if tool.has(IMAGE) or tool.load(archive(work)) else ""
    with registry(work, tool.network) as address:
        rows = {"push of that image": tool.push(source, archive(work), f"{address}/bench:{time.time_ns()}")}
        tool.forget(IMAGE)
        rows["pull of it"] = tool.pull()
    return rows


ASKS: dict[str, Callable[[Tool, Path], dict[str, float]]] = {
    "load": loading,
    "save": saving,
    "build": building,
    "push and pull": moving,
}


def measure(tools: list[Tool], work: Path, rounds: int, only: re.Pattern[str]) -> Values:
    """{row: {tool: one value per round}}; a tool that fails a measurement is not asked again."""
    results: Values = {}
    broken: set[tuple[str, str]] = set()
    for number in range(rounds):
        for name, ask in ASKS.items():
            for tool in tools:
                if not only.search(name) or name not in tool.can or (name, tool.name) in broken:
                    continue
                try:
                    rows = ask(tool, work)
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
    parser.add_argument("--only", default="", help="regular expression on load, save, build, push and pull")
    words = parser.parse_args()
    (work := words.work / "bench-images").mkdir(exist_ok=True)
    prefix = tuple(shlex.split(words.network))
    tools: list[Tool] = [Own(shlex.split(words.own), prefix, work)]
    kinds = {"docker": Docker, "podman": Podman, "buildah": Buildah, "skopeo": Skopeo}
    tools += [
        kind(shlex.split(line), prefix, work)
        for name, kind in kinds.items()
        if (line := getattr(words, name))
    ]
    try:
        archive(work)
        for tool in tools:
            tool.prepare(base(work))
        results = measure(tools, work, words.rounds, re.compile(words.only))
    finally:
        for tool in tools:
            tool.clean()
        shutil.rmtree(work)
    print(table(tools, results))


if __name__ == "__main__":
    main()
