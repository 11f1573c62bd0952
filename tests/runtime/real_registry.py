"""Debian's docker-registry for a test: plain, with passwords, with a token server, over TLS."""

from __future__ import annotations

import base64
import contextlib
import http.server
import json
import os
import re
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.support.programs import need

CONFIG = """
version: 0.1
log: {level: info, accesslog: {disabled: true}}
storage:
  filesystem: {rootdirectory: %s}
  delete: {enabled: true}
http:
  addr: "127.0.0.1:0"
  secret: tests
"""


@contextlib.contextmanager
def running(home: Path, *extra: str) -> Iterator[str]:
    """A docker-registry with its data in ``home``; gives "127.0.0.1:port". extra: lines of configuration."""
    need("docker-registry")
    home.mkdir(exist_ok=True)
    path = home / "config.yml"
    path.write_text(CONFIG % (home / "data") + "\n".join(extra) + "\n")
    environment = {"PATH": os.environ["PATH"], "HOME": str(home)}
    with subprocess.Popen(
        ["docker-registry", "serve", str(path)], stderr=subprocess.PIPE, text=True, env=environment
    ) as process:
        assert process.stderr is not None
        lines = []
        try:
            for line in process.stderr:
                lines.append(line)
                if match := re.search(r"listening on (127\.0\.0\.1:\d+)", line):
                    break
            else:
                pytest.fail(f"docker-registry did not start: {''.join(lines)}")
            reader = threading.Thread(target=process.stderr.read)
            reader.start()
            yield match[1]
        finally:
            process.terminate()
            process.wait()
        reader.join()


def passwords(home: Path, user: str, password: str) -> tuple[str, ...]:
    """Lines of configuration for one user by htpasswd."""
    need("htpasswd")
    done = subprocess.run(
        ["htpasswd", "-nbB", user, password], capture_output=True, text=True, check=True
    ).stdout
    home.mkdir(exist_ok=True)
    (home / "htpasswd").write_text(done)
    return ("auth:", f"  htpasswd: {{realm: tests, path: {home / 'htpasswd'}}}")


class Authority:
    """A certificate authority of the test's own, made with openssl."""

    def __init__(self, home: Path) -> None:
        need("openssl")
        home.mkdir(exist_ok=True)
        self.home = home
        self.file = home / "ca.crt"
        _openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=tests CA",
                 "-keyout", str(home / "ca.key"), "-out", str(self.file))  # fmt: skip

    def issue(self, name: str, subject: str) -> tuple[Path, Path]:
        """Certificate and key for ``subject`` ("IP:127.0.0.1", "DNS:registry.example")."""
        certificate, key, request = (self.home / f"{name}.{end}" for end in ("cert", "key", "csr"))
        _openssl("req", "-newkey", "rsa:2048", "-nodes", "-subj", f"/CN={name}", "-keyout", str(key),
                 "-out", str(request))  # fmt: skip
        (self.home / "extensions").write_text(f"subjectAltName={subject}\n")
        _openssl("x509", "-req", "-in", str(request), "-CA", str(self.file), "-CAkey",
                 str(self.home / "ca.key"), "-CAcreateserial", "-days", "2", "-out", str(certificate),
                 "-extfile", str(self.home / "extensions"))  # fmt: skip
        return certificate, key


def _openssl(*words: str, data: bytes = b"") -> bytes:
    return subprocess.run(["openssl", *words], input=data, capture_output=True, check=True).stdout


class TokenServer:
    """A token server as the Distribution project specifies it, for one user; others may pull public/*."""

    def __init__(self, authority: Authority, user: str, password: str) -> None:
        self.certificate, self.key = authority.issue("tokens", "DNS:tokens")
        self.login = "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()
        self.asked: list[dict[str, list[str]]] = []
        self.port = 0

    def lines(self) -> tuple[str, ...]:
        """Lines of configuration for a registry that trusts this server."""
        realm = f"http://127.0.0.1:{self.port}/token"
        where = f"issuer: tests, service: tests, rootcertbundle: {self.certificate}"
        return ("auth:", f'  token: {{realm: "{realm}", {where}}}')

    def token(self, scopes: list[str], *, known: bool) -> str:
        """A JWT by RS256 that allows what the caller may do."""
        access = []
        for scope in " ".join(scopes).split():
            kind, name, actions = scope.split(":")
            allowed = actions.split(",") if known else ["pull"] if name.startswith("public/") else []
            access.append({"type": kind, "name": name, "actions": allowed})
        der = _openssl("x509", "-in", str(self.certificate), "-outform", "der")
        header = {"typ": "JWT", "alg": "RS256", "x5c": [base64.b64encode(der).decode()]}
        now = int(time.time())
        claims = {"iss": "tests", "sub": "", "aud": "tests", "exp": now + 300, "nbf": now - 60, "iat": now,
                  "jti": os.urandom(8).hex(), "access": access}  # fmt: skip
        text = ".".join(_base64(json.dumps(part).encode()) for part in (header, claims))
        return f"{text}.{_base64(_openssl('dgst', '-sha256', '-sign', str(self.key), data=text.encode()))}"

    @contextlib.contextmanager
    def serving(self) -> Iterator[TokenServer]:
        """Answer until the end of the block."""
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def log_message(self, *_: object) -> None:
                pass

            def do_GET(self) -> None:
                query = parse_qs(urlsplit(self.path).query)
                outer.asked.append(query)
                shown = self.headers.get("Authorization", "")
                good = shown in ("", outer.login)
                token = outer.token(query.get("scope", []), known=shown == outer.login) if good else ""
                data = json.dumps({"token": token} if good else {}).encode()
                self.send_response(200 if good else 401)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        server.daemon_threads = True
        self.port = server.server_address[1]
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield self
        finally:
            server.shutdown()
            server.server_close()
            thread.join()


def _base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def skopeo(*words: str) -> str:
    """Run skopeo to its end. What it remembers of blobs it has seen is thrown away; else one test would
    change what the next one does."""
    need("skopeo")
    with tempfile.TemporaryDirectory() as home:
        done = subprocess.run(
            ["skopeo", "--insecure-policy", *words],
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
            env={**os.environ, "_CONTAINERS_ROOTLESS_UID": "1", "XDG_DATA_HOME": home},
        )
    assert done.returncode == 0, done.stderr
    return done.stdout
