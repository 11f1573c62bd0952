"""A client of OCI and Docker registries: manifests and blobs, with the tokens they want.

Comes in:  a Reference.
Goes out:  manifest bytes with their digest verified; blobs, downloaded with resume into a file, verified.
Not here:  HTTP itself (transport), what becomes of it (pull).
Source: OCI distribution-spec v1.1; Docker Registry token authentication; RFC 7235.
"""

from __future__ import annotations

import base64
import hashlib
import http.client
import json
import os
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlencode, urlsplit

from runtime.errors import ImageNotFound, RegistryError
from runtime.image import credentials
from runtime.image.errors import (
    DigestMismatch,
    RegistryDenied,
    RegistryRateLimited,
    RegistryTLS,
    RegistryUnreachable,
)
from runtime.image.manifest import INDEXES, MANIFESTS, Descriptor
from runtime.image.reference import HUB, Reference
from runtime.image.transport import Response, is_local, request

ACCEPT = ", ".join((*INDEXES, *MANIFESTS))
_MANIFEST_MAX, _TOKEN_MAX = 8 << 20, 1 << 20
_ATTEMPTS, _LONGEST_WAIT = 5, 30.0
_CHUNK = 1 << 18
_PARAMETER = re.compile(r'(\w+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,]+))')


class Registry:
    """One repository of one registry. Safe in several threads.

    sleep: waits between attempts. environment: where logins are looked up.
    """

    def __init__(
        self,
        reference: Reference,
        *,
        environment: Mapping[str, str] | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._reference = reference
        host = "registry-1.docker.io" if reference.registry == HUB else reference.registry
        self._host = host
        self._base = f"{'http' if is_local(host) else 'https'}://{host}/v2/{reference.repository}"
        self._environment = os.environ if environment is None else environment
        self._login = credentials.find(reference.registry, self._environment)
        self._authorization = ""
        self._lock = threading.Lock()
        self._sleep = sleep

    def head(self, word: str) -> str:
        """The digest that a tag stands for now, "" when the registry does not say. Raises like
        ``manifest``."""
        with self._ask("HEAD", f"manifests/{word}", {"Accept": ACCEPT}) as response:
            self._check(response, f"manifest {word}")
            return response.headers.get("docker-content-digest", "")

    def manifest(self, word: str) -> tuple[bytes, str, str]:
        """Bytes, media type and digest of the manifest or index ``word`` (tag or digest), verified.

        Raises ImageNotFound, RegistryDenied, RegistryRateLimited, RegistryUnreachable, RegistryTLS,
        RegistryError,
        DigestMismatch.
        """
        with self._ask("GET", f"manifests/{word}", {"Accept": ACCEPT}) as response:
            self._check(response, f"manifest {word}")
            data = response.read(_MANIFEST_MAX)
        actual = "sha256:" + hashlib.sha256(data).hexdigest()
        if word.startswith("sha256:") and word != actual:
            raise DigestMismatch(
                f"the manifest of {self._reference.familiar()}", expected=word, actual=actual
            )
        return data, response.headers.get("content-type", "").partition(";")[0].strip(), actual

    def small_blob(self, descriptor: Descriptor) -> bytes:
        """A blob that fits into memory, verified."""
        with self._ask("GET", f"blobs/{descriptor.digest}", {}) as response:
            self._check(response, f"blob {descriptor.digest}")
            data = response.read(_MANIFEST_MAX)
        actual = "sha256:" + hashlib.sha256(data).hexdigest()
        if actual != descriptor.digest:
            raise DigestMismatch("the image configuration", expected=descriptor.digest, actual=actual)
        return data

    def download(self, descriptor: Descriptor, target: Path, progress: Callable[[int], None]) -> None:
        """Fetch a blob into the new file ``target``, going on where a broken connection ended; verified.

        progress: gets the bytes there so far. Raises like ``manifest``.
        """
        state, have = hashlib.sha256(), 0
        with target.open("wb") as out:
            for attempt in range(_ATTEMPTS):
                headers = {"Range": f"bytes={have}-"} if have else {}
                with self._ask("GET", f"blobs/{descriptor.digest}", headers) as response:
                    self._check(response, f"layer {descriptor.digest}")
                    if have and response.status != 206:
                        state, have = hashlib.sha256(), 0
                        out.seek(0)
                        out.truncate()
                    for chunk in _chunks(response.body, descriptor.size - have):
                        out.write(chunk)
                        state.update(chunk)
                        have += len(chunk)
                        progress(have)
                if have >= descriptor.size:
                    break
                self._sleep(min(0.5 * 2**attempt, _LONGEST_WAIT))
        actual = "sha256:" + state.hexdigest()
        if have < descriptor.size:
            raise RegistryError(f"{self._host} broke off after {have} of {descriptor.size} bytes of a layer")
        if actual != descriptor.digest:
            raise DigestMismatch("a layer", expected=descriptor.digest, actual=actual)

    # --- asking

    @contextmanager
    def _ask(self, method: str, path: str, headers: Mapping[str, str]) -> Iterator[Response]:
        """One request, with a token if one is wanted, repeated while the registry is busy or breaks off."""
        for attempt in range(_ATTEMPTS):
            last = attempt == _ATTEMPTS - 1
            try:
                with self._authorized(method, f"{self._base}/{path}", headers) as response:
                    if last or (response.status != 429 and response.status < 500):
                        yield response
                        return
                    wait = _patience(response.headers.get("retry-after", ""), attempt)
            except (RegistryUnreachable, RegistryTLS, RegistryDenied, ImageNotFound):
                raise
            except RegistryError:
                if last:
                    raise
                wait = _patience("", attempt)
            self._sleep(wait)

    @contextmanager
    def _authorized(self, method: str, url: str, headers: Mapping[str, str]) -> Iterator[Response]:
        words = {**headers, **({"Authorization": self._authorization} if self._authorization else {})}
        with request(method, url, words) as response:
            challenge = response.headers.get("www-authenticate", "")
            if response.status != 401 or not challenge:
                yield response
                return
        with self._lock:
            if self._authorization == words.get("Authorization", ""):
                self._authorization = self._answer(challenge)
        with request(method, url, {**headers, "Authorization": self._authorization}) as response:
            yield response

    def _answer(self, challenge: str) -> str:
        """The Authorization header that meets a challenge. Raises RegistryDenied."""
        scheme, _, rest = challenge.partition(" ")
        values = {name.lower(): quoted or plain for name, quoted, plain in _PARAMETER.findall(rest)}
        if scheme.lower() == "basic":
            if self._login is None:
                raise self._denied("it wants a login")
            return _basic(self._login)
        if scheme.lower() != "bearer" or not values.get("realm"):
            raise RegistryError(f"{self._host} wants authentication by '{scheme}', which is not known here")
        return "Bearer " + self._token(values)

    def _token(self, values: Mapping[str, str]) -> str:
        realm = values["realm"]
        if urlsplit(realm).scheme not in ("http", "https"):
            raise RegistryError(f"{self._host} names the token server '{realm}', which is refused")
        scope = values.get("scope") or f"repository:{self._reference.repository}:pull"
        query = {"service": values.get("service", ""), "scope": scope}
        if self._login is not None and self._login.token:
            form = {
                **query,
                "grant_type": "refresh_token",
                "client_id": "pycompose",
                "refresh_token": self._login.token,
            }
            kind = {"Content-Type": "application/x-www-form-urlencoded"}
            with request("POST", realm, kind, urlencode(form).encode()) as response:
                return self._read_token(response)
        headers = {"Authorization": _basic(self._login)} if self._login else {}
        joint = "&" if "?" in realm else "?"
        with request(
            "GET", realm + joint + urlencode({k: v for k, v in query.items() if v}), headers
        ) as response:
            return self._read_token(response)

    def _read_token(self, response: Response) -> str:
        data = response.read(_TOKEN_MAX)
        if response.status in (401, 403):
            raise self._denied("the login was refused")
        try:
            answer = json.loads(data) if response.status == 200 else {}
        except ValueError:
            answer = {}
        token = answer.get("token") or answer.get("access_token") if isinstance(answer, dict) else None
        if not isinstance(token, str):
            raise RegistryError(
                f"the token server of {self._host} answered with {response.status} and no token"
            )
        return token

    # --- answers

    def _check(self, response: Response, what: str) -> None:
        if response.status in (200, 206):
            return
        name = self._reference.familiar()
        if response.status == 404:
            raise ImageNotFound(f"{self._host} has no image '{name}'", hint="check name and tag")
        if response.status in (401, 403):
            raise self._denied(
                "no such image, or it wants a login" if self._login is None else "the login was refused"
            )
        if response.status == 429:
            raise RegistryRateLimited(f"{self._host} refuses more requests for now", hint="log in, or wait")
        raise RegistryError(f"{self._host} answered with {response.status} when asked for {what} of '{name}'")

    def _denied(self, why: str) -> RegistryDenied:
        return RegistryDenied(
            f"{self._host} denies access to '{self._reference.familiar()}': {why}",
            hint="logins are read from ~/.docker/config.json",
        )


def _chunks(body: http.client.HTTPResponse, limit: int) -> Iterator[bytes]:
    """What comes until the end or a break; never more than ``limit`` bytes and one chunk."""
    while limit >= 0:
        try:
            chunk = body.read(_CHUNK)
        except (http.client.HTTPException, OSError):
            return
        if not chunk:
            return
        limit -= len(chunk)
        yield chunk


def _basic(login: credentials.Login) -> str:
    return "Basic " + base64.b64encode(f"{login.user}:{login.password}".encode()).decode()


def _patience(retry_after: str, attempt: int) -> float:
    if retry_after.isdigit():
        return min(float(retry_after), _LONGEST_WAIT)
    return min(0.5 * 2.0**attempt, _LONGEST_WAIT)
