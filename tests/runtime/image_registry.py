"""A registry for tests: one repository's content, served over HTTP on 127.0.0.1, with faults on request."""

from __future__ import annotations

import gzip
import hashlib
import http.server
import io
import json
import tarfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
DOCKER = "application/vnd.docker.distribution.manifest.v2+json"
INDEX = "application/vnd.oci.image.index.v1+json"


def digest(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


def tar_of(files: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size, info.mode = len(data), 0o644
            archive.addfile(info, io.BytesIO(data))
    return out.getvalue()


@dataclass
class Content:
    """What is served. faults: path to a list of (status, headers) given before the true answer; breaks: blob
    digest
    to the byte counts after which the connection is cut, in order."""

    blobs: dict[str, bytes] = field(default_factory=dict)
    manifests: dict[str, tuple[str, bytes]] = field(default_factory=dict)
    faults: dict[str, list[tuple[int, dict[str, str]]]] = field(default_factory=dict)
    breaks: dict[str, list[int]] = field(default_factory=dict)
    redirect: str = ""
    token: str = ""
    seen: list[tuple[str, str, str]] = field(default_factory=list)
    port: int = 0

    def add(
        self,
        tag: str,
        *layers: dict[str, bytes],
        kind: str = MANIFEST,
        lie: str = "",
        machine: str = "amd64",
        pack: Callable[[bytes], bytes] = lambda data: gzip.compress(data, mtime=0),
    ) -> str:
        """Make an image of these layers; gives the digest of its manifest."""
        plain = [tar_of(files) for files in layers]
        packed = [pack(data) for data in plain]
        diffs = [digest(data) for data in plain]
        config: dict[str, Any] = {
            "architecture": machine,
            "os": "linux",
            "config": {"Cmd": ["sh"], "Env": ["A=b"]},
        }
        config["rootfs"] = {
            "type": "layers",
            "diff_ids": [digest(b"lie") for _ in diffs] if lie == "diff" else diffs,
        }
        raw = json.dumps(config).encode()
        self.blobs[digest(raw)] = raw
        for data in packed:
            self.blobs[digest(data)] = b"x" * len(data) if lie == "blob" else data
        size = -100 if lie == "size" else 0
        manifest = {
            "schemaVersion": 2,
            "mediaType": kind,
            "config": {"mediaType": "x", "digest": digest(raw), "size": len(raw)},
            "layers": [{"mediaType": "x", "digest": digest(d), "size": len(d) + size} for d in packed],
        }
        text = json.dumps(manifest).encode()
        self.manifests[tag] = self.manifests[digest(text)] = (kind, text)
        return digest(text)

    def index(self, tag: str, **platforms: str) -> str:
        """An index: platform ("linux_amd64") to manifest digest."""
        entries = []
        for name, target in platforms.items():
            os_, architecture = name.split("_")
            place = {"os": os_, "architecture": architecture}
            size = len(self.manifests[target][1])
            entries.append({"mediaType": MANIFEST, "digest": target, "size": size, "platform": place})
        text = json.dumps({"schemaVersion": 2, "mediaType": INDEX, "manifests": entries}).encode()
        self.manifests[tag] = self.manifests[digest(text)] = (INDEX, text)
        return digest(text)


@contextmanager
def serving(content: Content) -> Iterator[Content]:
    """Serve ``content`` until the end of the block."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

        def do_HEAD(self) -> None:
            self.do_GET()

        def do_GET(self) -> None:
            content.seen.append((self.command, self.path, self.headers.get("Authorization", "")))
            path = self.path.partition("?")[0]
            if content.faults.get(path):
                status, headers = content.faults[path].pop(0)
                self.answer(status, b"", headers)
            elif path == "/token":
                self.answer(200, json.dumps({"token": content.token}).encode(), {})
            elif content.token and self.headers.get("Authorization") != f"Bearer {content.token}":
                realm = f'Bearer realm="http://127.0.0.1:{content.port}/token",service="test"'
                self.answer(401, b"", {"WWW-Authenticate": realm})
            elif "/manifests/" in path:
                kind, data = content.manifests.get(path.rpartition("/")[2], ("", b""))
                headers = {"Content-Type": kind, "Docker-Content-Digest": digest(data)}
                self.answer(200 if data else 404, data, headers)
            else:
                self.blob(path.rpartition("/")[2])

        def blob(self, name: str) -> None:
            if content.redirect:
                self.answer(307, b"", {"Location": f"{content.redirect}/v2/x/blobs/{name}"})
                return
            data = content.blobs.get(name)
            if data is None:
                self.answer(404, b"", {})
                return
            start = int((self.headers.get("Range") or "bytes=0-")[6:].partition("-")[0])
            cut = content.breaks.get(name)
            status = 206 if start else 200
            self.answer(status, data[start:], {}, cut=cut.pop(0) if cut else None)

        def answer(self, status: int, data: bytes, headers: dict[str, str], cut: int | None = None) -> None:
            self.send_response(status)
            for key, value in headers.items():
                self.send_header(key, value)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(data if cut is None else data[:cut])
            if cut is not None:
                self.wfile.flush()
                self.connection.close()

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    content.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield content
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
