"""HTTP as a registry needs it: proxies, private certificate authorities, redirects, short patience for dead
hosts, connections that serve again.

Comes in:  a method, a URL, headers, perhaps a body.
Goes out:  a Response to be read in pieces.
Not here:  what is said and said again (registry), which certificates count (trust), which proxy (proxy).
"""

from __future__ import annotations

import base64
import errno
import http.client
import socket
import ssl
import weakref
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from urllib.parse import SplitResult, unquote, urljoin, urlsplit

from runtime.errors import RegistryError
from runtime.image import settings, trust
from runtime.image.errors import RegistryBroken, RegistryTLS, RegistryUnreachable
from runtime.image.proxy import proxy

CONNECT, PATIENCE = 3.0, 15.0
_REDIRECTS = 6
_SMALL = 1 << 16
_MOVED = (301, 302, 303, 307, 308)
_DEAD = (errno.ECONNREFUSED, errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ETIMEDOUT, errno.ENETDOWN)

Idle = dict[tuple[str, str], list[http.client.HTTPConnection]]


@dataclass(slots=True)
class Response:
    """An answer. headers: by lower-case name, as given last."""

    status: int
    headers: Mapping[str, str]
    body: http.client.HTTPResponse
    url: str

    def read(self, limit: int) -> bytes:
        """The whole body. Raises RegistryBroken when it breaks off, RegistryError when it is longer than
        ``limit`` bytes."""
        try:
            data = self.body.read(limit + 1)
            short = self.body.length or 0
        except (http.client.HTTPException, OSError) as error:
            raise RegistryBroken(f"{_host(self.url)} broke off: {_words(error)}") from error
        if len(data) > limit:
            raise RegistryError(f"{_host(self.url)} answered with more than {limit >> 10} KiB")
        if short:
            raise RegistryBroken(f"{_host(self.url)} broke off {short} bytes before the end of its answer")
        return data


class Transport:
    """The HTTP connections of one task. Safe in several threads; ``close`` it, or let it go.

    environment: proxies, bundles of authorities, homes. patience: seconds without a byte, after which a host
    counts as stalled.
    """

    def __init__(
        self,
        environment: Mapping[str, str],
        *,
        known: settings.Settings | None = None,
        patience: float = 0.0,
    ) -> None:
        self._environment = environment
        self._settings = known or settings.Settings()
        self._patience = patience or _seconds(environment.get("PYCOMPOSE_REGISTRY_TIMEOUT", "")) or PATIENCE
        self._idle: Idle = defaultdict(list)
        self._busy: set[http.client.HTTPConnection] = set()
        self._end = weakref.finalize(self, _close, self._idle)

    def close(self) -> None:
        """Close the connections that wait for another request."""
        self._end()

    def abort(self) -> None:
        """Shut down the connections in use: whoever reads from them in another thread is told so at once."""
        for connection in tuple(self._busy):
            if (sock := connection.sock) is not None:
                with suppress(OSError):
                    sock.shutdown(socket.SHUT_RDWR)

    def scheme(self, endpoint: settings.Endpoint) -> str:
        """ "https" where TLS is spoken, else "http": for endpoints that leave it open.

        Raises RegistryUnreachable, RegistryTLS.
        """
        if endpoint.scheme:
            return endpoint.scheme
        url = f"https://{endpoint.host}/"
        connection, *_ = self._connection(url, verified=endpoint.verified)
        try:
            connection.connect()
            return "https"
        except ssl.SSLError as error:
            if isinstance(error, ssl.SSLCertVerificationError) or "ALERT" in str(error.reason):
                raise _failure(endpoint.host, error) from error
            return "http"
        except (ConnectionResetError, BrokenPipeError, TimeoutError, EOFError):
            return "http"
        except OSError as error:
            if self._way(urlsplit(f"http://{endpoint.host}")) != self._way(urlsplit(url)):
                return "http"  # another way leads there
            raise _failure(endpoint.host, error) from error
        finally:
            connection.close()

    @contextmanager
    def request(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        body: bytes | None = None,
        *,
        patience: float = 0.0,
        verified: bool = True,
    ) -> Iterator[Response]:
        """One request; GET and HEAD follow redirects, and the Authorization header stays with the first host.

        patience: seconds to wait for the answer, where that takes longer than usual.
        Raises RegistryUnreachable when nobody answers, RegistryTLS, RegistryBroken, RegistryError.
        """
        words, first = dict(headers), urlsplit(url)
        for _ in range(_REDIRECTS):
            with self._once(method, url, words, body, patience, verified) as response:
                target = response.headers.get("location", "")
                if method not in ("GET", "HEAD") or response.status not in _MOVED or not target:
                    yield response
                    return
                url = urljoin(url, target)
                if _leads_away(first.netloc, first.scheme, url):
                    words.pop("Authorization", None)
        raise RegistryError(f"{first.netloc} redirects in a circle")

    @contextmanager
    def _once(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        body: bytes | None,
        patience: float,
        verified: bool,
    ) -> Iterator[Response]:
        parts = urlsplit(url)
        words = {"User-Agent": "pycompose", **headers}
        connection, answer = self._ask(method, url, words, body, patience or self._patience, verified)
        kept = False
        try:
            found = {name.lower(): value for name, value in answer.getheaders()}
            yield Response(answer.status, found, answer, url)
            _drain(answer)
            if answer.isclosed() and connection.sock is not None and self._end.alive:
                self._idle[parts.scheme, parts.netloc].append(connection)
                kept = True
        finally:
            self._busy.discard(connection)
            answer.close()
            if not kept:
                connection.close()

    def _ask(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        body: bytes | None,
        patience: float,
        verified: bool,
    ) -> tuple[http.client.HTTPConnection, http.client.HTTPResponse]:
        """The answer and its connection: one that waited, or a new one when the host has closed that.

        A PATCH is not said twice: its caller asks first how much of it has arrived.
        """
        parts = urlsplit(url)
        waiting = self._idle[parts.scheme, parts.netloc]
        while True:
            used = bool(waiting)
            connection, target, extra = self._connection(url, verified=verified)
            if used:
                try:
                    connection = waiting.pop()
                except IndexError:  # another thread was quicker
                    used = False
            self._busy.add(connection)
            try:
                if connection.sock is None:
                    connection.connect()
                connection.sock.settimeout(patience)
                with suppress(
                    BrokenPipeError, ConnectionResetError
                ):  # it may have answered before it hung up
                    connection.request(method, target, body=body, headers={**headers, **extra})
                return connection, connection.getresponse()
            except (OSError, http.client.HTTPException) as error:
                self._busy.discard(connection)
                connection.close()
                if not used or method == "PATCH" or isinstance(error, TimeoutError):
                    raise _failure(parts.netloc, error) from error
            except BaseException:
                self._busy.discard(connection)
                connection.close()
                raise

    def _way(self, parts: SplitResult) -> str:
        """The proxy that leads to a URL, or ""."""
        port = parts.port or (443 if parts.scheme == "https" else 80)
        return proxy(parts.scheme, parts.hostname or "", port, self._environment)

    def _connection(
        self, url: str, *, verified: bool
    ) -> tuple[http.client.HTTPConnection, str, dict[str, str]]:
        """A connection, by a proxy where one is set, what to ask for on it, headers for the proxy."""
        parts = urlsplit(url)
        secure, host = parts.scheme == "https", parts.hostname or ""
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        port = parts.port or (443 if secure else 80)
        way = urlsplit(self._way(parts))
        if way.scheme not in ("", "http"):
            raise RegistryUnreachable(
                f"a proxy by {way.scheme}: leads to {parts.netloc}, which is not supported",
                hint="use a proxy that is spoken to by http:",
            )
        if not secure:
            if not way.scheme:
                return http.client.HTTPConnection(host, port, timeout=CONNECT), target, {}
            plain = http.client.HTTPConnection(way.hostname or "", way.port or 80, timeout=CONNECT)
            return plain, url, _proxy_login(way.netloc)
        context = trust.context(
            parts.netloc,
            self._environment,
            authority=self._settings.authorities.get(parts.netloc, ""),
            verified=verified,
        )
        if not way.scheme:
            return http.client.HTTPSConnection(host, port, timeout=CONNECT, context=context), target, {}
        tunnel = http.client.HTTPSConnection(
            way.hostname or "", way.port or 80, timeout=CONNECT, context=context
        )
        tunnel.set_tunnel(host, port, headers=_proxy_login(way.netloc))
        return tunnel, target, {}


def _proxy_login(netloc: str) -> dict[str, str]:
    login, at, _ = netloc.rpartition("@")
    return (
        {"Proxy-Authorization": "Basic " + base64.b64encode(unquote(login).encode()).decode()} if at else {}
    )


def _leads_away(host: str, scheme: str, url: str) -> bool:
    """Whether a redirect goes to another host. Raises RegistryError where it must not be followed."""
    there = urlsplit(url)
    if there.scheme not in ("http", "https"):
        raise RegistryError(f"{host} redirects to {there.scheme}:, which is refused")
    if scheme == "https" and there.scheme == "http":
        raise RegistryError(f"{host} redirects from https to http, which is refused")
    return (there.scheme, there.netloc) != (scheme, host)


def _drain(answer: http.client.HTTPResponse) -> None:
    """Read what little is left of an answer, so that its connection can serve again."""
    if not answer.isclosed() and answer.length is not None and answer.length <= _SMALL:
        try:
            answer.read()
        except (http.client.HTTPException, OSError):
            answer.close()


def _close(idle: Idle) -> None:
    for connections in idle.values():
        while connections:
            connections.pop().close()


def _seconds(text: str) -> float:
    try:
        return max(float(text), 0.0)
    except ValueError:
        return 0.0


def _untrusted(host: str, error: ssl.SSLCertVerificationError) -> RegistryTLS:
    """The certificate is for another name (62, 64), out of its time (9, 10), or by an authority we lack.

    Source: openssl-verification-options(1), x509_vfy.h.
    """
    why = (error.verify_message or str(error)).rstrip(".")
    if error.verify_code in (62, 64):
        hint = f"it was made for another name; is '{host}' the right address?"
    elif error.verify_code in (9, 10):
        hint = "check the clock of this machine, and tell whoever runs the registry"
    else:
        hint = (
            f"put the authority's certificate into /etc/docker/certs.d/{host}/ca.crt, "
            "or name its file in SSL_CERT_FILE"
        )
    return RegistryTLS(f"the certificate of {host} is not trusted: {why}", hint=hint)


def _failure(host: str, error: Exception) -> RegistryError:
    if isinstance(error, ssl.SSLCertVerificationError):
        return _untrusted(host, error)
    if isinstance(error, ssl.SSLError):
        plain = error.reason in ("WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "HTTP_REQUEST")
        hint = f"if it speaks plain HTTP, name it in PYCOMPOSE_INSECURE_REGISTRIES: {host}" if plain else ""
        return RegistryTLS(f"{host} does not speak TLS as expected: {error.reason or error}", hint=hint)
    if isinstance(error, socket.gaierror):
        return RegistryUnreachable(
            f"the registry {host} cannot be found: {error.strerror}",
            hint="is its name right, and is there a network?",
        )
    if isinstance(error, TimeoutError):
        return RegistryUnreachable(
            f"the registry {host} does not answer", hint="is there a network, or a proxy to be set?"
        )
    if isinstance(error, OSError) and error.errno in _DEAD:
        return RegistryUnreachable(
            f"the registry {host} cannot be reached: {error.strerror}",
            hint="does it run there, and is its port right?",
        )
    if isinstance(error, OSError) and str(error).startswith("Tunnel connection failed"):
        return RegistryUnreachable(f"the proxy does not lead to {host}: {str(error).partition(': ')[2]}")
    return RegistryBroken(f"{host} broke off: {_words(error)}")


def _words(error: Exception) -> str:
    return "it stalls" if isinstance(error, TimeoutError) else str(error) or type(error).__name__


def _host(url: str) -> str:
    return urlsplit(url).netloc
