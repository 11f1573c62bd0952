#!/usr/bin/env python3
"""Time pycompose beside other Compose tools, in turn, and print a Markdown table of medians.

Comes in:  tools as NAME IMAGE COMMAND, a directory that all of them can see.
Goes out:  the table on standard output, one line per finished measurement on standard error.

What is timed is the tool and not the ten seconds that a container which ignores SIGTERM is given: every
service has ``stop_signal: SIGKILL``, which all tools honour, so that ``down`` waits for nobody. All tools
run the same busybox with the same command, one after the other in every round, and a ratio is the
median of the ratios of the rounds: the speed of a machine drifts, but hardly within one round.

    bench/run.py --tool "docker compose" localhost/busybox "docker compose" --rounds 5
"""

from __future__ import annotations

import argparse
import re
import shlex
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

# The processes that a tool keeps for its containers, by command line.
KEEPS = {
    "pycompose": r"compose[./]supervisor|process\.spawner",
    "docker compose": r"dockerd|containerd|docker-proxy",
    "podman-compose": r"conmon|netavark|aardvark|rootlessport",
}


@dataclass(frozen=True)
class Tool:
    """name: heads a column. image: how it calls busybox. command: argv prefix, such as docker compose."""

    name: str
    image: str
    command: tuple[str, ...]

    def run(self, file: Path, *words: str, timeout: float = 90) -> float:
        """Run one command to its end; seconds it took. Raises SubprocessError when it fails or hangs."""
        begin = time.perf_counter()
        done = subprocess.run(
            [*self.command, "-f", str(file), *words],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cwd=file.parent,
            timeout=timeout,
            check=False,
        )
        took = time.perf_counter() - begin
        if done.returncode:
            sys.stderr.write(done.stdout.decode(errors="replace"))
            raise subprocess.CalledProcessError(done.returncode, done.args)
        return took


# Files


def services(image: str, count: int, *, chain: bool = False, health: bool = False) -> str:
    """A Compose file of ``count`` sleeping services; in a chain each waits for the one before."""
    lines = ["services:"]
    for number in range(count):
        lines += [
            f"  s{number}:",
            f"    image: {image}",
            "    command: sleep 1000000",
            "    stop_signal: SIGKILL",
        ]
        if health:
            lines += ["    healthcheck:", '      test: ["CMD", "true"]', "      interval: 1s"]
        if number and chain:
            condition = "service_healthy" if health else "service_started"
            lines += ["    depends_on:", f"      s{number - 1}:", f"        condition: {condition}"]
    return "\n".join(lines) + "\n"


NEW = "1 service, file just changed"
FILES: dict[str, Callable[[str], str]] = {
    "1 service": lambda image: services(image, 1),
    NEW: lambda image: services(image, 1),
    "10 services": lambda image: services(image, 10),
    "50 services": lambda image: services(image, 50),
    "chain of 10": lambda image: services(image, 10, chain=True),
    "chain of 5 health checks": lambda image: services(image, 5, chain=True, health=True),
}


# Measurements: each gives {row: seconds or bytes} of one round of one tool


@contextmanager
def running(tool: Tool, file: Path) -> Iterator[float]:
    """The stack of ``file`` is up inside; gives the seconds that took."""
    try:
        yield tool.run(file, "up", "-d")
    finally:
        tool.run(file, "down")


def up_and_down(tool: Tool, file: Path, name: str) -> dict[str, float]:
    up = tool.run(file, "up", "-d")
    return {f"`up -d`, {name}": up, f"`down`, {name}": tool.run(file, "down")}


def small_verbs(tool: Tool, file: Path) -> dict[str, float]:
    with running(tool, file):
        return {
            "`exec` of `true`": statistics.median(
                tool.run(file, "exec", "-T", "s0", "true") for _ in range(5)
            ),
            "`ps`": statistics.median(tool.run(file, "ps") for _ in range(5)),
            "`up -d` again, nothing changed": tool.run(file, "up", "-d"),
        }


def memory(tool: Tool, file: Path) -> dict[str, float]:
    """Proportional set size of what the tool keeps for 50 containers (proc(5), smaps_rollup), in bytes.

    Processes of its daemon count, if it has one; processes of other pycompose projects do not.
    """
    pattern = re.compile(KEEPS.get(tool.name, re.escape(tool.name.split()[0])))
    others = set(matching(pattern)) if tool.name == "pycompose" else set()
    with running(tool, file):
        time.sleep(2)
        kept = set(matching(pattern)) - others
        return {"memory with 50 services": float(sum(pss(pid) for pid in kept))}


def matching(pattern: re.Pattern[str]) -> Iterator[int]:
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and pattern.search((entry / "cmdline").read_text(errors="replace")):
                yield int(entry.name)
        except OSError:
            continue


def pss(pid: int) -> int:
    try:
        found = re.search(r"^Pss:\s+(\d+) kB", Path(f"/proc/{pid}/smaps_rollup").read_text(), re.M)
    except OSError:
        return 0
    return int(found[1]) * 1024 if found else 0


# The rounds and the table


def measure(
    tools: list[Tool], work: Path, rounds: int, only: re.Pattern[str]
) -> dict[str, dict[str, list[float]]]:
    """{row: {tool name: one value per round}}; a tool that fails a measurement has no more values for it."""
    results: dict[str, dict[str, list[float]]] = {}
    broken: set[tuple[str, str]] = set()
    for number in range(rounds):
        for name, ask in asks().items():
            if not only.search(name):
                continue
            for tool in tools:
                if (name, tool.name) in broken:
                    continue
                try:
                    values = ask(tool, write(work, tool, name))
                except subprocess.SubprocessError as error:
                    print(f"{tool.name}: {name}: {error}", file=sys.stderr)
                    broken.add((name, tool.name))
                    tool.run(write(work, tool, name), "down")
                    continue
                for row, value in values.items():
                    results.setdefault(row, {}).setdefault(tool.name, []).append(value)
                    print(f"round {number + 1}: {tool.name}: {row}: {text(row, value)}", file=sys.stderr)
    return results


def asks() -> dict[str, Callable[[Tool, Path], dict[str, float]]]:
    table: dict[str, Callable[[Tool, Path], dict[str, float]]] = {
        name: (lambda tool, file, name=name: up_and_down(tool, file, name)) for name in FILES
    }
    return {**table, "exec and ps": small_verbs, "memory": memory}


def write(work: Path, tool: Tool, name: str) -> Path:
    """The Compose file of a measurement, in a directory of the tool's own."""
    source = {"exec and ps": "1 service", "memory": "50 services"}.get(name, name)
    directory = work / re.sub(r"\W+", "-", f"{tool.name}-{name}")
    directory.mkdir(parents=True, exist_ok=True)
    text = FILES[source](tool.image)
    if name == NEW:  # a file that no cache has seen
        text += f"# {time.time_ns()}\n"
    (file := directory / "compose.yaml").write_text(text)
    return file


def text(row: str, value: float) -> str:
    return f"{value / 2**20:.0f} MiB" if row.startswith("memory") else f"{value:.3f} s"


def table(tools: list[Tool], results: dict[str, dict[str, list[float]]]) -> str:
    own, *peers = tools
    head = ["", own.name, *(part for peer in peers for part in (peer.name, "ratio"))]
    lines = ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    for row, values in results.items():
        mine = values.get(own.name, [])
        cells = [row, text(row, statistics.median(mine)) if mine else "failed"]
        for peer in peers:
            theirs = values.get(peer.name, [])
            cells.append(text(row, statistics.median(theirs)) if theirs else "failed")
            ratios = [b / a for a, b in zip(mine, theirs, strict=False)]
            cells.append(f"{statistics.median(ratios):.1f}" if ratios else "")
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--own", default=str(Path(sys.executable).with_name("pycompose")), help="our command")
    parser.add_argument("--own-image", default="busybox")
    parser.add_argument("--tool", nargs=3, action="append", default=[], metavar=("NAME", "IMAGE", "COMMAND"))
    parser.add_argument("--work", type=Path, help="directory that every tool can see")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", default="", help="regular expression on the names of measurements")
    words = parser.parse_args()
    tools = [Tool("pycompose", words.own_image, tuple(shlex.split(words.own)))]
    tools += [Tool(name, image, tuple(shlex.split(command))) for name, image, command in words.tool]
    with tempfile.TemporaryDirectory(dir=words.work) as work:
        results = measure(tools, Path(work), words.rounds, re.compile(words.only))
    print(table(tools, results))


if __name__ == "__main__":
    main()
