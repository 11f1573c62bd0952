"""HTTP as a registry needs it: proxies, private certificate authorities, redirects, short patience for dead
hosts.

Comes in:  a method, a URL, headers.
Goes out:  a Response to be read in pieces.
Not here:  what is said (registry), retrying (registry).
"""

from __future__ import annotations

import errno
import http.client
import os
import socket
import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from urllib.parse import urljoin, urlsplit
from urllib.request import getproxies, proxy_bypass

from runtime.errors import RegistryError
from runtime.image.errors import RegistryTLS, RegistryUnreachable

CONNECT, PATIENCE = 3.0, 60.0
_REDIRECTS = 6
_BUNDLES = ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")


@dataclass(slots=True)
class Response:
    """An answer. headers: by lower-case name, as given last."""

    status: int
    headers: Mapping[str, str]
    body: http.client.HTTPResponse
    url: str

    def read(self, limit: int) -> bytes:
        """The whole body. Raises RegistryError when it is longer than ``limit`` bytes or breaks off."""
        try:
            data = self.body.read(limit + 1)
        except (http.client.HTTPException, OSError) as error:
            raise RegistryError(f"{_host(self.url)} broke off: {error}") from error
        if len(data) > limit:
            raise RegistryError(f"{_host(self.url)} answered with more than {limit >> 10} KiB")
        return data


def is_local(registry: str) -> bool:
    """Whether plain HTTP is spoken to it: this machine, or one that PYCOMPOSE_INSECURE_REGISTRIES names."""
    host = registry.rsplit(":", 1)[0] if not registry.endswith("]") else registry
    named = os.environ.get("PYCOMPOSE_INSECURE_REGISTRIES", "").replace(",", " ").split()
    return host in ("localhost", "[::1]") or host.startswith("127.") or registry in named


@contextmanager
def request(
    method: str, url: str, headers: Mapping[str, str], body: bytes | None = None
) -> Iterator[Response]:
    """One request; GET and HEAD follow redirects, and the Authorization header stays with the first host.

    Raises RegistryUnreachable when nobody answers, RegistryTLS, RegistryError.
    """
    words, first = dict(headers), urlsplit(url)
    for _ in range(_REDIRECTS):
        with _once(method, url, words, body) as response:
            target = response.headers.get("location", "")
            if response.status not in (301, 302, 303, 307, 308) or not target:
                yield response
                return
            url = urljoin(url, target)
            there = urlsplit(url)
            if there.scheme not in ("http", "https"):
                raise RegistryError(f"{first.netloc} redirects to {there.scheme}:, which is refused")
            if (there.scheme, there.netloc) != (first.scheme, first.netloc):
                words.pop("Authorization", None)
            if first.scheme == "https" and there.scheme == "http":
                raise RegistryError(f"{first.netloc} redirects from https to http, which is refused")
    raise RegistryError(f"{first.netloc} redirects in a circle")


@contextmanager
def _once(method: str, url: str, headers: Mapping[str, str], body: bytes | None) -> Iterator[Response]:
    parts = urlsplit(url)
    connection, target = _connection(url)
    try:
        try:
            connection.connect()
            connection.sock.settimeout(PATIENCE)
            connection.request(method, target, body=body, headers={"User-Agent": "pycompose", **headers})
            answer = connection.getresponse()
        except (OSError, http.client.HTTPException) as error:
            raise _failure(parts.netloc, error) from error
        found = {name.lower(): value for name, value in answer.getheaders()}
        yield Response(answer.status, found, answer, url)
    finally:
        connection.close()


def _connection(url: str) -> tuple[http.client.HTTPConnection, str]:
    """A connection, by a proxy where one is set, and what to ask for on it."""
    parts = urlsplit(url)
    secure, host = parts.scheme == "https", parts.hostname or ""
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    proxy = "" if proxy_bypass(host) else getproxies().get(parts.scheme, "")
    if not proxy:
        if secure:
            return http.client.HTTPSConnection(
                host, parts.port, timeout=CONNECT, context=_context(parts.netloc)
            ), target
        return http.client.HTTPConnection(host, parts.port, timeout=CONNECT), target
    way = urlsplit(proxy if "//" in proxy else f"http://{proxy}")
    if not secure:
        return http.client.HTTPConnection(way.hostname or "", way.port or 80, timeout=CONNECT), url
    tunnel = http.client.HTTPSConnection(
        way.hostname or "", way.port or 80, timeout=CONNECT, context=_context(parts.netloc)
    )
    tunnel.set_tunnel(host, parts.port or 443)
    return tunnel, target


@lru_cache(maxsize=16)
def _context(registry: str) -> ssl.SSLContext:
    """The system's authorities, those the environment names, those of /etc/docker/certs.d/<registry>."""
    context = ssl.create_default_context()
    named = [os.environ.get(name, "") for name in (*_BUNDLES, "PYCOMPOSE_EXTRA_CA")]
    home = Path("/etc/docker/certs.d") / registry
    for path in (*filter(None, named), *sorted(str(path) for path in home.glob("*.crt"))):
        if Path(path).is_file():
            context.load_verify_locations(path)
    return context


def _failure(host: str, error: Exception) -> RegistryError:
    if isinstance(error, ssl.SSLCertVerificationError):
        return RegistryTLS(
            f"the certificate of {host} is not trusted: {error.verify_message}",
            hint="name the authority's file in SSL_CERT_FILE or PYCOMPOSE_EXTRA_CA",
        )
    if isinstance(error, ssl.SSLError):
        return RegistryTLS(f"{host} does not speak TLS as expected: {error.reason or error}")
    if isinstance(error, socket.gaierror):
        return RegistryUnreachable(f"{host} cannot be found: {error.strerror}", hint="is there a network?")
    if isinstance(error, TimeoutError):
        return RegistryUnreachable(
            f"{host} does not answer", hint="is there a network, or a proxy to be set?"
        )
    if isinstance(error, OSError) and error.errno in _DEAD:
        return RegistryUnreachable(f"{host} cannot be reached: {error.strerror}")
    if isinstance(error, OSError) and str(error).startswith("Tunnel connection failed"):
        return RegistryUnreachable(f"the proxy does not lead to {host}: {str(error).partition(': ')[2]}")
    return RegistryError(f"{host} broke off: {error or type(error).__name__}")


_DEAD = (errno.ECONNREFUSED, errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ETIMEDOUT, errno.ENETDOWN)


def _host(url: str) -> str:
    return urlsplit(url).netloc
