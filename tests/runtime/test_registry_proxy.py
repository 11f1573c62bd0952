"""Registries behind a proxy: a tunnel for TLS, whole URLs for plain HTTP, a login where it wants one."""

from __future__ import annotations

import base64
import contextlib
import http.server
import socket
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from image_registry import Content, serving
from real_registry import Authority

from runtime.errors import RegistryError
from runtime.image.errors import RegistryUnreachable
from runtime.image.pull import pull
from runtime.image.store import Store

NAME = "registry.example"


@dataclass
class Proxy:
    """Leads every host to the port ``target`` here. asked: what for. login: "user:password" wanted."""

    target: int
    login: str = ""
    port: int = 0
    asked: list[str] = field(default_factory=list)


@contextlib.contextmanager
def proxying(proxy: Proxy) -> Iterator[str]:
    class Handler(http.server.BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

        def do_CONNECT(self) -> None:
            if not self._may():
                return
            with socket.create_connection(("127.0.0.1", proxy.target)) as there:
                self.send_response(200)
                self.end_headers()
                back = threading.Thread(target=_copy, args=(there, self.connection))
                back.start()
                _copy(self.connection, there)
                back.join()
            self.close_connection = True

        def do_GET(self) -> None:
            if not self._may():
                return
            parts = urlsplit(self.path)
            with socket.create_connection(("127.0.0.1", proxy.target)) as there:
                lines = [f"{self.command} {parts.path} HTTP/1.0", f"Host: {parts.netloc}"]
                there.sendall("\r\n".join([*lines, "", ""]).encode())
                _copy(there, self.connection)
            self.close_connection = True

        do_HEAD = do_GET

        def _may(self) -> bool:
            proxy.asked.append(f"{self.command} {self.path}")
            word = "Basic " + base64.b64encode(proxy.login.encode()).decode()
            if proxy.login and self.headers.get("Proxy-Authorization") != word:
                self.send_error(407)
                return False
            return True

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    proxy.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"http://{proxy.login + '@' if proxy.login else ''}127.0.0.1:{proxy.port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _copy(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
    with contextlib.suppress(OSError):
        target.shutdown(socket.SHUT_WR)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "images")


def test_tls_goes_through_a_tunnel(store: Store, tmp_path: Path) -> None:
    authority = Authority(tmp_path / "ca")
    certificate, key = authority.issue("registry", f"DNS:{NAME}")
    with serving(Content(), str(certificate), str(key)) as content:
        content.add("1", {"a": b"1"})
        proxy = Proxy(content.port, login="me:secret")
        with proxying(proxy) as url:
            environment = {"HTTPS_PROXY": url, "SSL_CERT_FILE": str(authority.file)}
            pull(store, f"{NAME}/x:1", environment=environment)
            assert set(proxy.asked) == {f"CONNECT {NAME}:443"}
            denied = environment | {"HTTPS_PROXY": f"http://127.0.0.1:{proxy.port}"}
            with pytest.raises(RegistryUnreachable, match="the proxy does not lead to"):
                pull(store, f"{NAME}/y:1", environment=denied)


def test_plain_http_is_asked_for_by_whole_urls(store: Store) -> None:
    with serving(Content()) as content:
        content.add("1", {"a": b"1"})
        proxy = Proxy(content.port, login="me:secret")
        with proxying(proxy) as url:
            environment = {"HTTP_PROXY": url, "PYCOMPOSE_INSECURE_REGISTRIES": f"{NAME}:81"}
            pull(store, f"{NAME}:81/x:1", environment=environment)
            pull(store, f"{NAME}:81/y:1", environment=environment | {"HTTPS_PROXY": url})
    assert f"GET http://{NAME}:81/v2/x/manifests/" in " ".join(proxy.asked)


def test_a_host_of_no_proxy_is_asked_straight(store: Store) -> None:
    with serving(Content()) as content:
        content.add("1", {"a": b"1"})
        environment = {"HTTP_PROXY": "http://127.0.0.1:1", "HTTPS_PROXY": "http://127.0.0.1:1"}
        pull(store, f"127.0.0.1:{content.port}/x:1", environment=environment)


def test_a_redirect_from_https_to_http_is_refused(store: Store, tmp_path: Path) -> None:
    authority = Authority(tmp_path / "ca")
    certificate, key = authority.issue("registry", "IP:127.0.0.1")
    with serving(Content()) as plain, serving(Content(), str(certificate), str(key)) as content:
        plain.add("1", {"a": b"1"})
        content.add("1", {"a": b"1"})
        content.redirect = f"http://127.0.0.1:{plain.port}"
        environment = {"SSL_CERT_FILE": str(authority.file)}
        with pytest.raises(RegistryError, match="from https to http, which is refused"):
            pull(store, f"127.0.0.1:{content.port}/x:1", environment=environment)
        content.redirect, content.token = "", "sesame"
        content.realm = f"http://127.0.0.1:{plain.port}/token"
        with pytest.raises(RegistryError, match="token server 'http:"):
            pull(store, f"127.0.0.1:{content.port}/x:1", environment=environment)
        assert not plain.seen
