"""Fetch files of a package archive over HTTP, several at a time, each checked against its digest.

Comes in:  URLs, with the size and SHA-256 that a signed index promises.
Goes out:  bytes, kept in a directory by digest.
Not here:  what to fetch (archive, assembly).
Each thread keeps its connections open; a dropped connection, 429 and 5xx are tried again.
Source: RFC 9110, RFC 9112 section 3.2.2 (absolute form for proxies), apt-transport-http(1).
"""

from __future__ import annotations

import base64
import hashlib
import http.client
import os
import ssl
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from urllib.parse import SplitResult, urljoin, urlsplit, urlunsplit

from runtime.image.assemble.errors import DigestWrong, MirrorUnreachable
from schemas.frozen import dataclass

CONNECT_TIMEOUT = 5.0
READ_TIMEOUT = 30.0
ATTEMPTS = 4
CHUNK = 1 << 18
AGENT = "pycompose (Debian APT-HTTP compatible)"
Moved = Callable[[int], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """A file by its digest. sha256: 64 hex digits; size: bytes."""

    url: str
    sha256: str
    size: int


class NotThere(Exception):
    """The server answered that it has no such file (404, 410, 403)."""


class Fetcher:
    """Connections to one archive. Used from several threads at once.

    cache: directory of files by digest. origin: where the mirror's name comes from, for errors.
    """

    def __init__(self, cache: Path, *, proxy: str, origin: str) -> None:
        self.cache = cache
        self.origin = origin
        self._proxy = urlsplit(proxy) if proxy else None
        self._local = threading.local()
        self._open: list[http.client.HTTPConnection] = []

    def close(self) -> None:
        """Close every connection of every thread; the threads must be done."""
        for connection in self._open:
            connection.close()
        self._open.clear()

    def file(self, wanted: Wanted, moved: Moved = lambda count: None) -> bytes:
        """Give the content of a file, from the cache or the archive. Checked either way.

        moved: called with the number of bytes as they arrive. Raises DigestWrong, MirrorUnreachable.
        """
        path = self.cache / wanted.sha256
        known = verified(path, wanted.sha256)
        if known is not None:
            moved(len(known))
            return known
        data = self.get(wanted.url, moved, limit=wanted.size)
        if len(data) != wanted.size or hashlib.sha256(data).hexdigest() != wanted.sha256:
            raise DigestWrong(shown(wanted.url))
        keep(path, data)
        return data

    def get(self, url: str, moved: Moved = lambda count: None, *, limit: int = 1 << 26) -> bytes:
        """GET ``url``, at most ``limit`` bytes. Raises NotThere, MirrorUnreachable."""
        parts = urlsplit(url)
        host = parts.hostname or url
        for attempt in range(ATTEMPTS):
            if attempt:
                time.sleep(0.2 * 3 ** (attempt - 1))
            try:
                return self._once(url, moved, limit)
            except _TryAgain as error:
                reason = str(error)
            except TimeoutError:
                reason = "it does not answer in time"
                break  # a silent host stays silent: the wait was long enough
            except ssl.SSLError as error:
                reason = f"its TLS certificate was not accepted ({error.reason or error})"
                break
            except (OSError, http.client.HTTPException) as error:
                reason = _words(error)
            self._drop(parts)
        raise MirrorUnreachable(host, self.origin, reason)

    def _once(self, url: str, moved: Moved, limit: int) -> bytes:
        for _ in range(6):
            parts = urlsplit(url)
            connection = self._connection(parts)
            connection.request("GET", self._target(parts), headers=self._headers(parts))
            response = connection.getresponse()
            if response.status in (301, 302, 303, 307, 308):
                response.read()
                url = urljoin(url, response.headers.get("Location", ""))
                if urlsplit(url).scheme not in ("http", "https"):
                    raise NotThere(shown(url))
                continue
            if response.status == 200:
                return _body(response, moved, limit)
            response.read()
            if response.status in (403, 404, 410):
                raise NotThere(shown(url))
            raise _TryAgain(f"it answers {response.status} {response.reason} for {parts.path}")
        raise _TryAgain("it redirects in circles")

    def _connection(self, parts: SplitResult) -> http.client.HTTPConnection:
        """This thread's connection for ``parts``, made when there is none."""
        pool: dict[tuple[str, str], http.client.HTTPConnection] = self._local.__dict__.setdefault("pool", {})
        key = (parts.scheme, parts.netloc)
        if key not in pool:
            pool[key] = self._connect(parts)
            self._open.append(pool[key])
        return pool[key]

    def _connect(self, parts: SplitResult) -> http.client.HTTPConnection:
        near = self._proxy or parts
        tls = parts.scheme == "https"
        port = near.port or (443 if near.scheme == "https" else 80)
        host = near.hostname or ""
        connection: http.client.HTTPConnection
        if tls:
            context = ssl.create_default_context()
            connection = http.client.HTTPSConnection(host, port, timeout=CONNECT_TIMEOUT, context=context)
        else:
            connection = http.client.HTTPConnection(host, port, timeout=CONNECT_TIMEOUT)
        if self._proxy and tls:
            headers = {"Proxy-Authorization": _basic(self._proxy)} if self._proxy.username else {}
            connection.set_tunnel(parts.hostname or "", parts.port or 443, headers)
        connection.connect()
        connection.sock.settimeout(READ_TIMEOUT)
        return connection

    def _target(self, parts: SplitResult) -> str:
        query = f"?{parts.query}" if parts.query else ""
        if self._proxy and parts.scheme == "http":
            return f"http://{parts.netloc.rpartition('@')[2]}{parts.path}{query}"
        return parts.path + query

    def _headers(self, parts: SplitResult) -> dict[str, str]:
        headers = {"User-Agent": AGENT, "Host": parts.netloc.rpartition("@")[2]}
        if parts.username:
            headers["Authorization"] = _basic(parts)
        if self._proxy and self._proxy.username and parts.scheme == "http":
            headers["Proxy-Authorization"] = _basic(self._proxy)
        return headers

    def _drop(self, parts: SplitResult) -> None:
        connection = self._local.__dict__.get("pool", {}).pop((parts.scheme, parts.netloc), None)
        if connection:
            connection.close()


class _TryAgain(Exception):
    """An answer that may be better next time."""


def shown(url: str) -> str:
    """A URL as it may be printed: without ``user:password@``."""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


def verified(path: Path, sha256: str) -> bytes | None:
    """The content of a kept file, and a note that it was used; None when it is not there or not what it
    was."""
    try:
        data = path.read_bytes()
        if hashlib.sha256(data).hexdigest() != sha256:
            return None
        os.utime(path)
    except OSError:
        return None
    return data


def trim(cache: Path, budget: int) -> int:
    """Delete what was not used for the longest time until ``cache`` has at most ``budget`` bytes; gives what
    went.

    cache: the directory above ``pool`` and ``index``. Parts that a killed process left go after an hour.
    """
    found = []
    for path in (*(cache / "pool").glob("*"), *(cache / "index").glob("*")):
        with suppress(FileNotFoundError):
            info = path.stat()
            stale = path.name.startswith(".") and info.st_mtime < time.time() - 3600
            found.append((0.0 if stale else info.st_mtime, info.st_size, path))
    total, gone = sum(size for _, size, _ in found), 0
    for used, size, path in sorted(found):
        if used and total - gone <= budget:
            break
        path.unlink(missing_ok=True)
        gone += size
    return gone


def keep(path: Path, data: bytes) -> None:
    """Write ``path`` so that it is there whole or not at all. Not synced: its digest is checked when read."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}")
    try:
        part.write_bytes(data)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def _body(response: http.client.HTTPResponse, moved: Moved, limit: int) -> bytes:
    chunks: list[bytes] = []
    total = 0
    while chunk := response.read(CHUNK):
        total += len(chunk)
        moved(len(chunk))
        chunks.append(chunk)
        if total > limit:
            response.close()
            break
    if response.length:
        raise _TryAgain("the connection broke off")
    return b"".join(chunks)


def _basic(parts: SplitResult) -> str:
    pair = f"{parts.username or ''}:{parts.password or ''}"
    return "Basic " + base64.b64encode(pair.encode()).decode()


def _words(error: BaseException) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror[:1].lower() + error.strerror[1:]
    return str(error) or type(error).__name__
