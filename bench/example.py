#!/usr/bin/env python3
"""Time examples/web-postgres until its page answers: from an empty store, then with the images present.

Comes in:  nothing; uses run and data directories of its own, which are removed afterwards.
Goes out:  two lines of seconds on standard output.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

EXAMPLE = Path(__file__).parents[1] / "examples/web-postgres"


def answered(port: int) -> bool:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        return b"visit number" in opener.open(f"http://127.0.0.1:{port}/", timeout=2).read()
    except OSError:
        return False


def seconds_until_the_page(pycompose: str, directory: Path, environment: dict[str, str]) -> float:
    begin = time.perf_counter()
    up = subprocess.Popen([pycompose, "up", "-d"], cwd=directory, env=environment, stderr=subprocess.PIPE)
    while not answered(int(environment["WEB_PORT"])):
        if up.poll():
            sys.exit(up.stderr.read().decode() if up.stderr else "up failed")
        time.sleep(0.02)
    took = time.perf_counter() - begin
    up.communicate()
    return took


def main() -> None:
    pycompose = str(Path(sys.executable).with_name("pycompose"))
    with tempfile.TemporaryDirectory(dir="/var/tmp") as home, socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
        probe.close()
        directory = Path(home) / "web-postgres"
        shutil.copytree(EXAMPLE, directory)
        (directory / ".env").write_text((directory / ".env.example").read_text())
        environment = {
            **os.environ, "WEB_PORT": port, "PYCOMPOSE_RUN": f"{home}/run", "PYCOMPOSE_DATA": f"{home}/data"
        }  # fmt: skip
        for what, last in (
            ("empty store", ["down", "-v"]),
            ("images present, new database", ["down"]),
            ("images and database present", ["down", "-v"]),
        ):
            print(f"{what}: {seconds_until_the_page(pycompose, directory, environment):.1f} s", flush=True)
            subprocess.run(
                [pycompose, *last], cwd=directory, env=environment, check=True, capture_output=True
            )


if __name__ == "__main__":
    main()
