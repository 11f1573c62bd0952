#!/usr/bin/env python3
"""Time ``config -q`` of a realistic file of 50 services: cold, cached, and docker compose's, side by side.

Comes in:  our command and docker compose's (its plugin binary needs no daemon for ``config``).
Goes out:  a Markdown table of medians and ratios. One round runs every candidate once, in turn.

    bench/config.py --own .venv/bin/pycompose --peer "docker compose" --rounds 21
"""

from __future__ import annotations

import argparse
import os
import shlex
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

SERVICE = """\
  s{n}:
    image: registry.example.org/app/s{n}:${{TAG:-1.{n}}}
    command: ["serve", "--port", "{port}"]
    environment:
      - DATABASE_URL=postgres://app:${{PASSWORD:-secret}}@db{n}/app
      - LOG_LEVEL=${{LOG_LEVEL:-info}}
    ports: ["{port}:8080"]
    volumes: ["data{n}:/var/lib/app", "./conf:/etc/app:ro"]
    networks: [front, back]
    healthcheck: {{test: ["CMD", "true"], interval: 10s, timeout: 1s, retries: 3}}
    deploy: {{resources: {{limits: {{cpus: "0.5", memory: 256M}}}}}}
    restart: unless-stopped
    labels: {{team: a, tier: "{n}"}}
"""


def text(count: int) -> str:
    """A Compose file of ``count`` services, each waiting for the one before."""
    lines = ["services:\n"]
    for n in range(count):
        lines.append(SERVICE.format(n=n, port=9000 + n))
        if n:
            lines.append(f"    depends_on: {{s{n - 1}: {{condition: service_healthy}}}}\n")
    lines.append("networks: {front: , back: }\nvolumes:\n" + "".join(f"  data{n}:\n" for n in range(count)))
    return "".join(lines)


def timed(command: list[str], directory: Path, environment: dict[str, str]) -> float:
    begin = time.perf_counter()
    subprocess.run(
        [*command, "config", "-q"], cwd=directory, env=environment, check=True, stderr=subprocess.DEVNULL
    )
    return (time.perf_counter() - begin) * 1000


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--own", default=str(Path(sys.executable).with_name("pycompose")))
    parser.add_argument("--peer", default="docker compose", help='docker compose, or "" for none')
    parser.add_argument("--services", type=int, default=50)
    parser.add_argument("--rounds", type=int, default=21)
    words = parser.parse_args()
    own, peer = shlex.split(words.own), shlex.split(words.peer)
    times: dict[str, list[float]] = {"cold": [], "cached": [], "peer": []}
    with tempfile.TemporaryDirectory() as work:
        directory, data = Path(work, "app"), Path(work, "data")
        directory.mkdir()
        (directory / "compose.yaml").write_text(text(words.services))
        environment = {**os.environ, "PYCOMPOSE_DATA": str(data)}
        for _ in range(words.rounds):
            shutil.rmtree(data, ignore_errors=True)
            times["cold"].append(timed(own, directory, environment))
            times["cached"].append(timed(own, directory, environment))
            if peer:
                times["peer"].append(timed(peer, directory, environment))
    print(f"| `config -q`, {words.services} services | ms | of docker compose's |\n|---|---|---|")
    base = statistics.median(times["peer"]) if peer else 0.0
    for name, label in (
        ("peer", "docker compose"),
        ("cached", "pycompose, cached"),
        ("cold", "pycompose, cold"),
    ):
        if times[name]:
            middle = statistics.median(times[name])
            print(
                f"| {label} | {middle:.0f} | {middle / base:.2f} |"
                if base
                else f"| {label} | {middle:.0f} | |"
            )


if __name__ == "__main__":
    main()
