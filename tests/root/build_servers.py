"""Servers for tests of builds, each on a port of its own on loopback: files by http, repositories by git."""

from __future__ import annotations

import functools
import http.server
import os
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.programs import need

PERSON = {
    "GIT_AUTHOR_NAME": "a", "GIT_AUTHOR_EMAIL": "a@b",
    "GIT_COMMITTER_NAME": "a", "GIT_COMMITTER_EMAIL": "a@b",
    "GIT_AUTHOR_DATE": "1600000000 +0000", "GIT_COMMITTER_DATE": "1600000000 +0000",
    "GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_SYSTEM": "/dev/null",
}  # fmt: skip


@contextmanager
def files(home: Path) -> Iterator[tuple[str, list[str]]]:
    """Serve ``home``; gives the URL and the log of answers such as "GET /a 200"."""
    log: list[str] = []

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

        def log_request(self, code: object = "-", size: object = "-") -> None:
            log.append(f"{self.command} {self.path} {int(str(getattr(code, 'value', code)))}")

    handler = functools.partial(Handler, directory=str(home))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}", log
        finally:
            server.shutdown()
            thread.join()


def git(home: Path, *words: str) -> str:
    """Run git in ``home`` as somebody, at a fixed time."""
    need("git")
    done = subprocess.run(
        ["git", "-C", str(home), "-c", "init.defaultBranch=main", *words],
        env={**os.environ, **PERSON}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    return done.stdout.strip()


def repository(home: Path) -> Path:
    """A repository with two commits, a tag on the first, a branch and a directory."""
    home.mkdir()
    git(home, "init", "-q")
    (home / "sub").mkdir()
    (home / "a.txt").write_text("one")
    (home / "sub/Dockerfile").write_text("FROM busybox\nCOPY b.txt /b\n")
    (home / "sub/b.txt").write_text("B")
    git(home, "add", ".")
    git(home, "commit", "-q", "-m", "one")
    git(home, "tag", "-a", "v1", "-m", "first")
    git(home, "branch", "side")
    (home / "a.txt").write_text("two")
    git(home, "commit", "-q", "-a", "-m", "two")
    return home


@contextmanager
def git_daemon(base: Path) -> Iterator[str]:
    """Serve every repository below ``base`` by the git protocol; gives the URL in front of their names."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    where = subprocess.run(["git", "--exec-path"], capture_output=True, text=True, check=True).stdout.strip()
    words = ["--listen=127.0.0.1", f"--port={port}", "--export-all", "--reuseaddr", f"--base-path={base}"]
    with subprocess.Popen(
        [f"{where}/git-daemon", *words], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as daemon:
        try:
            end = time.monotonic() + 60
            while time.monotonic() < end:
                try:
                    socket.create_connection(("127.0.0.1", port), 1).close()
                    break
                except OSError:
                    time.sleep(0.02)
            yield f"git://127.0.0.1:{port}"
        finally:
            daemon.terminate()
