#!/usr/bin/env python3
"""Measure networks of pycompose beside other Compose tools, in turn; print a Markdown table of medians.

Comes in:  tools as NAME IMAGE COMMAND HOST: HOST is what a program of "its host" is run with, "" for here.
           The image needs iperf3, dnsperf and python3, and so does the host iperf3.
Goes out:  the table on standard output; a ratio is the median of the rounds' ratios, above 1 is good.

What is measured: throughput between containers and from the host to published ports, by IPv4 and IPv6, in
Gbit/s; answers to own names per second with 50 outstanding, and the median in microseconds one at a time.

    bench/net.py --tool docker localhost/bench "peers.sh exec docker compose" "peers.sh exec" --rounds 5
"""

from __future__ import annotations

import argparse
import json
import re
import shlex
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

FILE = """\
name: {project}
services:
  server: {{image: "{image}", command: iperf3 -s, init: true, ports: ["{port}:5201"], networks: [n]}}
  client: {{image: "{image}", command: sleep 3600, init: true, networks: [n]}}
networks:
  n: {{enable_ipv6: true}}
"""
ASK = """\
import socket, struct, time
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.connect(("127.0.0.11", 53))
q = struct.pack(">6H", 7, 0x0100, 1, 0, 0, 0) + b"\\6server\\0" + struct.pack(">HH", 1, 1)
took = []
for _ in range(2000):
    t = time.perf_counter(); s.send(q); s.recv(512); took.append(time.perf_counter() - t)
print(sorted(took)[1000] * 1e6)
"""
LOOKUPS = "echo 'server A' > /tmp/q; dnsperf -s 127.0.0.11 -d /tmp/q -q 50 -l {seconds}"


class Tool:
    """One Compose tool and the host that its containers run on."""

    def __init__(self, name: str, image: str, command: str, host: str, port: int, directory: Path) -> None:
        self.name, self.command, self.host, self.port = name, shlex.split(command), shlex.split(host), port
        self.file = directory / f"{name}.yaml"
        self.file.write_text(FILE.format(project=f"benchnet{port}", image=image, port=port))

    def compose(self, *words: str) -> str:
        return run([*self.command, "-f", str(self.file), *words])

    def inside(self, *words: str) -> str:
        return self.compose("exec", "-T", "client", *words)


def run(command: list[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{shlex.join(command)}: {done.stderr[-500:]}{done.stdout[-300:]}")
    return done.stdout


def gigabits(text: str) -> float:
    return float(json.loads(text)["end"]["sum_received"]["bits_per_second"]) / 1e9


def between(tool: Tool, family: str, seconds: int) -> float:
    return gigabits(tool.inside("iperf3", family, "-c", "server", "-t", str(seconds), "-J"))


def published(tool: Tool, address: str, seconds: int) -> float:
    words = ["iperf3", "-c", address, "-p", str(tool.port), "-t", str(seconds), "-J"]
    return gigabits(run([*tool.host, *words]))


def lookups(tool: Tool, seconds: int) -> float:
    said = tool.inside("sh", "-c", LOOKUPS.format(seconds=seconds))
    found = re.search(r"Queries per second:\s+([\d.]+)", said)
    return float(found[1]) if found else 0.0


ROWS: dict[str, tuple[Callable[[Tool, int], float], bool]] = {  # what -> (how, more is better)
    "container to container, IPv4, Gbit/s": (lambda tool, s: between(tool, "-4", s), True),
    "container to container, IPv6, Gbit/s": (lambda tool, s: between(tool, "-6", s), True),
    "host to published 127.0.0.1, Gbit/s": (lambda tool, s: published(tool, "127.0.0.1", s), True),
    "host to published [::1], Gbit/s": (lambda tool, s: published(tool, "::1", s), True),
    "own names, 50 outstanding, per second": (lookups, True),
    "own names, one at a time, p50, microseconds": (
        lambda t, _: float(t.inside("python3", "-c", ASK)),
        False,
    ),
}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--own", default="pycompose", help="our command")
    parser.add_argument("--own-image", default="localhost/bench")
    parser.add_argument("--own-host", default="", help="what a program of our host is run with")
    parser.add_argument(
        "--tool", nargs=4, action="append", default=[], metavar=("NAME", "IMAGE", "COMMAND", "HOST")
    )
    parser.add_argument("--work", default=tempfile.gettempdir(), help="a directory that all tools can see")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=2, help="of one measurement")
    told = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=told.work) as directory:
        wanted = [["pycompose", told.own_image, told.own, told.own_host], *told.tool]
        tools = [Tool(*words, 24500 + n, Path(directory)) for n, words in enumerate(wanted)]
        try:
            for tool in tools:
                tool.compose("up", "-d")
            print(table(tools, measure(tools, told.rounds, told.seconds)))
        finally:
            for tool in tools:
                tool.compose("down", "-t", "0")


def measure(tools: list[Tool], rounds: int, seconds: int) -> dict[str, list[list[float]]]:
    """For each row the values of all tools, round by round."""
    found: dict[str, list[list[float]]] = {row: [] for row in ROWS}
    for number in range(rounds):
        for row, (how, _) in ROWS.items():
            found[row].append([how(tool, seconds) for tool in tools])
            print(f"{number + 1}. {row}: {found[row][-1]}", file=sys.stderr)
    return found


def table(tools: list[Tool], found: dict[str, list[list[float]]]) -> str:
    """Medians, and for each other tool the median of the rounds' ratios."""
    others = tools[1:]
    head = ["", *(tool.name for tool in tools), *(f"against {tool.name}" for tool in others)]
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    for row, rounds in found.items():
        more = ROWS[row][1]
        cells = [f"{statistics.median(one[n] for one in rounds):.3g}" for n in range(len(tools))]
        for n in range(1, len(tools)):
            ratios = [(one[0] / one[n] if more else one[n] / one[0]) for one in rounds if one[0] and one[n]]
            cells.append(f"{statistics.median(ratios):.2f}" if ratios else "-")
        lines.append("| " + " | ".join([row, *cells]) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
