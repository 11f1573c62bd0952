"""A registry for tests: one store of content, served over HTTP(S) on 127.0.0.1, with faults on request."""

from __future__ import annotations

import gzip
import hashlib
import http.server
import io
import json
import re
import ssl
import tarfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlsplit

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
    """What is served, and what goes wrong.

    faults:   path to a list of (status, headers) given before the true answer, with the body ``said``.
    breaks:   blob digest to the byte counts after which the connection is cut, in order.
    stalls:   path to the number of body bytes after which nothing comes any more.
    redirect: where blobs are said to be. relocate: where uploads are said to go.
    token:    wanted as Bearer; a new one is wanted after ``uses`` requests. basic: "user:password" wanted.
    cuts:     byte counts of a PATCH that are taken in before the connection is cut, in order.
    lost:     how many upload sessions are forgotten at their first PATCH.
    elsewhere: blob digest to the repository that a mount finds it in.
    refused:  media types of manifests that are not taken.
    seen:     (method, path, Authorization) of every request.
    """

    blobs: dict[str, bytes] = field(default_factory=dict)
    manifests: dict[str, tuple[str, bytes]] = field(default_factory=dict)
    tags: list[str] = field(default_factory=list)
    faults: dict[str, list[tuple[int, dict[str, str]]]] = field(default_factory=dict)
    said: bytes = b""
    breaks: dict[str, list[int]] = field(default_factory=dict)
    stalls: dict[str, int] = field(default_factory=dict)
    redirect: str = ""
    relocate: str = ""
    ranges: bool = True
    token: str = ""
    uses: int = 0
    realm: str = ""
    basic: str = ""
    cuts: list[int] = field(default_factory=list)
    lost: int = 0
    elsewhere: dict[str, str] = field(default_factory=dict)
    refused: set[str] = field(default_factory=set)
    uploads: dict[str, bytearray] = field(default_factory=dict)
    forms: list[dict[str, list[str]]] = field(default_factory=list)
    seen: list[tuple[str, str, str]] = field(default_factory=list)
    ended: threading.Event = field(default_factory=threading.Event)
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
        size = {"size": -100, "longer": 100}.get(lie, 0)
        manifest = {
            "schemaVersion": 2,
            "mediaType": kind,
            "config": {"mediaType": "x", "digest": digest(raw), "size": len(raw)},
            "layers": [{"mediaType": "x", "digest": digest(d), "size": len(d) + size} for d in packed],
        }
        return self.put(tag, kind, manifest)

    def put(self, tag: str, kind: str, document: object) -> str:
        """Store a manifest or index under a tag and its digest, which is returned."""
        text = json.dumps(document).encode()
        self.manifests[tag] = self.manifests[digest(text)] = (kind, text)
        self.tags.append(tag)
        return digest(text)

    def index(self, tag: str, **platforms: str) -> str:
        """An index: platform ("linux_amd64", "linux_arm_v7") to manifest digest."""
        entries = []
        for name, target in platforms.items():
            place = dict(zip(("os", "architecture", "variant"), name.split("_"), strict=False))
            entries.append(self.entry(target, platform=place))
        return self.put(tag, INDEX, {"schemaVersion": 2, "mediaType": INDEX, "manifests": entries})

    def entry(self, target: str, **words: object) -> dict[str, object]:
        """The descriptor of a stored manifest."""
        kind, text = self.manifests[target]
        return {"mediaType": kind, "digest": target, "size": len(text), **words}

    def count(self, method: str, part: str = "") -> int:
        """How many requests with ``method`` had ``part`` in their path."""
        return sum(m == method and part in path for m, path, _ in self.seen)


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 60
    disable_nagle_algorithm = True
    content: Content
    scheme = "http"

    def log_message(self, *_: object) -> None:
        pass

    def do_HEAD(self) -> None:
        self._handle()

    do_GET = do_POST = do_PATCH = do_PUT = do_DELETE = do_HEAD

    def _handle(self) -> None:
        content = self.content
        content.seen.append((self.command, self.path, self.headers.get("Authorization", "")))
        path = self.path.partition("?")[0]
        if content.faults.get(path):
            self._body()
            status, headers = content.faults[path].pop(0)
            self.answer(status, content.said, headers)
        elif path == "/token":
            self._give_token()
        elif not self._may():
            self._body()
            self._challenge()
        elif path == "/v2/":
            self.answer(200, b"{}", {})
        elif path.endswith("/tags/list"):
            data = json.dumps({"tags": [t for t in content.tags if ":" not in t]}).encode()
            self.answer(200 if content.tags else 404, data, {})
        elif "/manifests/" in path:
            self._manifest(path.rpartition("/")[2])
        elif "/uploads/" in path:
            self._upload(path.rpartition("/")[2])
        else:
            self._blob(path.rpartition("/")[2])

    def _body(self) -> bytes:
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    # --- who

    def _give_token(self) -> None:
        if self.command == "POST":
            self.content.forms.append(parse_qs(self._body().decode()))
        self.answer(200, json.dumps({"token": self.content.token}).encode(), {})

    def _may(self) -> bool:
        content, shown = self.content, self.headers.get("Authorization", "")
        if content.basic:
            import base64

            return shown == "Basic " + base64.b64encode(content.basic.encode()).decode()
        if content.token and shown != f"Bearer {content.token}":
            return False
        if content.token and content.uses:
            content.uses -= 1
            if not content.uses:
                content.token += "+"
        return True

    def _challenge(self) -> None:
        realm = self.content.realm or f"{self.scheme}://127.0.0.1:{self.content.port}/token"
        words = 'Basic realm="x"' if self.content.basic else f'Bearer realm="{realm}",service="test"'
        self.answer(401, b"", {"WWW-Authenticate": words})

    # --- what

    def _manifest(self, name: str) -> None:
        if self.command == "PUT":
            data, kind = self._body(), self.headers["Content-Type"]
            if kind in self.content.refused:
                self.answer(400, b'{"errors":[{"code":"MANIFEST_INVALID"}]}', {})
                return
            self.content.manifests[name] = self.content.manifests[digest(data)] = (kind, data)
            self.answer(201, b"", {"Docker-Content-Digest": digest(data)})
            return
        kind, data = self.content.manifests.get(name, ("", b""))
        headers = {"Content-Type": kind, "Docker-Content-Digest": digest(data)}
        self.answer(200 if data else 404, data, headers if data else {})

    def _blob(self, name: str) -> None:
        content = self.content
        if content.redirect:
            self.answer(307, b"", {"Location": f"{content.redirect}/v2/x/blobs/{name}"})
            return
        data = content.blobs.get(name)
        if data is None:
            self.answer(404, b"", {})
            return
        asked = self.headers.get("Range") if content.ranges else None
        start = int((asked or "bytes=0-")[6:].partition("-")[0])
        cut = content.breaks.get(name)
        headers = {"Content-Range": f"bytes {start}-{len(data) - 1}/{len(data)}"} if asked else {}
        self.answer(206 if asked else 200, data[start:], headers, cut=cut.pop(0) if cut else None)

    def _upload(self, name: str) -> None:
        content, place = self.content, self.path.partition("?")[0]
        query = parse_qs(urlsplit(self.path).query)
        if self.command == "POST":
            self._body()
            wanted = query.get("mount", [""])[0]
            if wanted and content.elsewhere.get(wanted) == query["from"][0]:
                content.blobs[wanted] = content.elsewhere[wanted].encode()
                self.answer(201, b"", {})
                return
            name = str(len(content.uploads))
            content.uploads[name] = bytearray()
            self.answer(202, b"", {"Location": f"{content.relocate}{place}{name}", "Range": "0-0"})
        elif name not in content.uploads:
            self._body()
            self.answer(404, b"", {})
        elif self.command == "PATCH":
            self._patch(name, place)
        elif self.command == "PUT":
            whole = bytes(content.uploads.pop(name)) + self._body()
            content.blobs[query["digest"][0]] = whole
            right = digest(whole) == query["digest"][0]
            self.answer(201 if right else 400, b"", {"Docker-Content-Digest": digest(whole)})
        else:
            if self.command == "DELETE":
                del content.uploads[name]
            have = len(content.uploads.get(name, b""))
            self.answer(204, b"", {"Location": place, "Range": f"0-{max(have - 1, 0)}"})

    def _patch(self, name: str, place: str) -> None:
        have = self.content.uploads[name]
        start = int(re.fullmatch(r"(\d+)-\d+", self.headers["Content-Range"])[1])  # type: ignore[index]
        if self.content.lost:
            self.content.lost -= 1
            del self.content.uploads[name]
            self._body()
            self.answer(404, b"", {})
        elif self.content.cuts:
            have += self.rfile.read(self.content.cuts.pop(0))
            self.close_connection = True
        elif start != len(have):
            self._body()
            self.answer(416, b"", {"Range": f"0-{max(len(have) - 1, 0)}"})
        else:
            have += self._body()
            self.answer(202, b"", {"Location": place, "Range": f"0-{len(have) - 1}"})

    def answer(self, status: int, data: bytes, headers: dict[str, str], cut: int | None = None) -> None:
        stall = self.content.stalls.get(self.path.partition("?")[0])
        if stall is not None and self.command == "GET":
            cut = stall
        self.send_response(status)
        for key, value in headers.items():
            self.send_header(key, value)
        if status != 204:
            self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data if cut is None else data[:cut])
        self.wfile.flush()
        if stall is not None and self.command == "GET":
            self.content.ended.wait()
        if cut is not None:
            self.close_connection = True


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that hangs up, or speaks plain HTTP to TLS, is no news."""


@contextmanager
def serving(content: Content, certificate: str = "", key: str = "") -> Iterator[Content]:
    """Serve ``content`` until the end of the block; over TLS when there is a certificate."""
    handler = type("Handler", (_Handler,), {"content": content, "scheme": "https" if certificate else "http"})
    server = _Server(("127.0.0.1", 0), handler)
    if certificate:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    content.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield content
    finally:
        content.ended.set()
        server.shutdown()
        server.server_close()
        thread.join()
