"""A client of OCI and Docker registries: manifests, tags and blobs, with the tokens they want.

Comes in:  a Reference, one Endpoint of it.
Goes out:  manifest bytes with their digest verified; blobs as verified streams that outlive connections.
Not here:  HTTP itself (transport), tokens (access), uploads (upload), what becomes of it (pull, push).
Source: OCI distribution-spec v1.1.
"""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import re
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from types import TracebackType
from typing import TypeVar

from runtime.errors import ImageNotFound, RegistryError
from runtime.image import credentials, refusal, settings
from runtime.image.access import Access, login_hint
from runtime.image.errors import (
    DigestMismatch,
    InvalidImage,
    RegistryBroken,
    RegistryUnreachable,
)
from runtime.image.manifest import INDEXES, MANIFESTS, Descriptor
from runtime.image.reference import HUB, Reference
from runtime.image.transport import Response, Transport

ACCEPT = ", ".join((*INDEXES, *MANIFESTS))
ATTEMPTS = 5
_MANIFEST_MAX, _SMALL = 8 << 20, 1 << 16
_BREAKS = 1000  # however often a download gets on
_GETS_ON = 1 << 16  # bytes that make up for a break
_WHILE, _TRICKLE = 30.0, 1 << 13  # fewer bytes than that in so many seconds are no progress
_CHUNK = 1 << 18
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_ALGORITHMS = ("sha256", "sha512")
_STARTS_AT = re.compile(r"bytes (\d+)-")
Result = TypeVar("Result")
Sleep = Callable[[float], None]


class Registry:
    """One repository of one registry. Safe in several threads; a context manager that closes its connections.

    endpoint: who is asked, by default the registry that the reference names. scopes: what a token is asked
    for, by default to pull. environment: logins, proxies, settings. sleep: waits between attempts.
    Raises ImageError for settings that cannot be read; every method may raise RegistryDenied,
    RegistryRateLimited, RegistryUnreachable, RegistryTLS, RegistryBroken, RegistryError.
    """

    def __init__(
        self,
        reference: Reference,
        *,
        endpoint: settings.Endpoint | None = None,
        scopes: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
        sleep: Sleep = time.sleep,
    ) -> None:
        environment = os.environ if environment is None else environment
        known = settings.read(environment)
        self.reference = reference
        self._endpoint = endpoint or settings.home(reference, known)
        self._repository = self._endpoint.prefix + reference.repository
        self.transport = Transport(environment, known=known)
        self._sleep = sleep
        self._answered = False
        name = self._endpoint.host if self._endpoint.mirror else reference.registry
        self.host = "docker.io" if name == HUB else name
        self._root = f"{self.transport.scheme(self._endpoint)}://{self._endpoint.host}"
        self._access = Access(
            self.transport,
            self.host,
            credentials.find(name, environment, repository=self._repository),
            scopes or (f"repository:{self._repository}:pull",),
            secure=self._root.startswith("https:") and self._endpoint.verified,
        )

    def __enter__(self) -> Registry:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self.transport.close()

    def abort(self) -> None:
        """Break off every request that is going on: for another thread that wants to end."""
        self.transport.abort()

    # --- manifests

    def head(self, word: str) -> tuple[str, str]:
        """Digest and media type that a tag stands for now, "" where the registry does not say.

        Raises ImageNotFound with the nearest tags.
        """

        def use(response: Response) -> tuple[str, str]:
            if response.status in (405, 501):
                return "", ""
            self.check(response, f"manifest {word}")
            told = response.headers.get("docker-content-digest", "")
            return (told if _DIGEST.fullmatch(told) else ""), _media_type(response)

        return self._or_nearest(lambda: self.ask("HEAD", f"manifests/{word}", use, {"Accept": ACCEPT}))

    def manifest(self, word: str) -> tuple[bytes, str, str]:
        """Bytes, media type and digest of the manifest or index ``word`` (tag or digest), verified.

        Raises ImageNotFound, DigestMismatch.
        """

        def use(response: Response) -> tuple[bytes, str, str]:
            self.check(response, f"manifest {word}")
            data = response.read(_MANIFEST_MAX)
            return data, _media_type(response), response.headers.get("docker-content-digest", "")

        data, kind, told = self._or_nearest(
            lambda: self.ask("GET", f"manifests/{word}", use, {"Accept": ACCEPT})
        )
        for wanted in (word, told):
            algorithm = wanted.partition(":")[0]
            if algorithm not in _ALGORITHMS:
                continue
            found = f"{algorithm}:{hashlib.new(algorithm, data).hexdigest()}"
            if found != wanted:
                raise DigestMismatch(
                    f"the manifest of {self.reference.familiar()}", expected=wanted, actual=found
                )
        return data, kind, "sha256:" + hashlib.sha256(data).hexdigest()

    def tags(self) -> list[str]:
        """The tags of the repository, the first page of them."""

        def use(response: Response) -> list[str]:
            self.check(response, "the tags")
            value = json.loads(response.read(_MANIFEST_MAX) or b"{}")
            found = value.get("tags") if isinstance(value, dict) else None
            return [str(tag) for tag in found or ()]

        try:
            return self.ask("GET", "tags/list?n=1000", use, attempts=1)
        except ValueError:
            return []

    def _or_nearest(self, ask: Callable[[], Result]) -> Result:
        try:
            return ask()
        except ImageNotFound as error:
            if not self.reference.tag:
                raise
            tags, code = [], ""
            try:
                tags = self.tags()
            except ImageNotFound:
                code = "NAME_UNKNOWN"
            except RegistryError:
                raise error from None
            raise refusal.missing(self.host, self.reference, "manifest", code=code, tags=tags) from error

    # --- blobs

    def small_blob(self, descriptor: Descriptor) -> bytes:
        """A blob that fits into memory, verified. Raises ImageNotFound, DigestMismatch."""

        def use(response: Response) -> bytes:
            self.check(response, f"blob {descriptor.digest}")
            return response.read(_MANIFEST_MAX)

        data = self.ask("GET", f"blobs/{descriptor.digest}", use)
        actual = "sha256:" + hashlib.sha256(data).hexdigest()
        if actual != descriptor.digest:
            raise DigestMismatch("the image configuration", expected=descriptor.digest, actual=actual)
        return data

    def stream(self, descriptor: Descriptor) -> Generator[bytes, None, None]:
        """The bytes of a blob as they come, going on where a broken connection ended. To be closed.

        What was given before the end is not verified yet: nothing of it may be kept when this raises
        DigestMismatch, InvalidImage (another length), ImageNotFound.
        """
        state, have, stuck = hashlib.sha256(), 0, 0
        for _ in range(_BREAKS):
            before, wait = have, 0.5 * 2.0**stuck
            try:
                with closing(self._from(descriptor, have)) as chunks:
                    for chunk in chunks:
                        have += len(chunk)
                        state.update(chunk)
                        yield chunk
            except _Busy as busy:
                told = refusal.patience(busy.headers, stuck)
                if told is None or stuck >= ATTEMPTS - 1:
                    raise busy.error from None
                wait = told
            except (RegistryBroken, RegistryUnreachable) as error:
                if stuck >= ATTEMPTS - 1:
                    raise self._gone(error) from error
            if have >= descriptor.size:
                break
            stuck = 0 if have - before >= _GETS_ON else stuck + 1
            if stuck >= ATTEMPTS:
                break
            self._sleep(min(wait, refusal.LONGEST_WAIT))
        self._judge(descriptor, have, "sha256:" + state.hexdigest())

    def _judge(self, descriptor: Descriptor, have: int, actual: str) -> None:
        """Raise what is wrong with a blob that has come to its end."""
        if have < descriptor.size:
            raise RegistryBroken(
                f"{self.host} broke off or stalled after {have} of {descriptor.size} bytes of a layer of "
                f"'{self.reference.familiar()}'",
                hint="nothing of it was kept; try again",
            )
        if actual != descriptor.digest:
            raise DigestMismatch("a layer", expected=descriptor.digest, actual=actual)

    def _from(self, descriptor: Descriptor, have: int) -> Generator[bytes, None, None]:
        """What one connection gives from byte ``have`` on. Raises InvalidImage for more than was promised."""
        with self._opened(descriptor, have) as (body, skip):
            for chunk in _chunks(body):
                fresh = chunk[skip:]
                skip = max(skip - len(chunk), 0)
                have += len(fresh)
                if have > descriptor.size:
                    raise self._wrong_length(descriptor, "more")
                if fresh:
                    yield fresh

    @contextmanager
    def _opened(self, descriptor: Descriptor, have: int) -> Iterator[tuple[http.client.HTTPResponse, int]]:
        """The body of a blob from byte ``have`` on, and how many bytes it repeats."""
        with self._answer(
            "GET", f"blobs/{descriptor.digest}", {"Range": f"bytes={have}-"} if have else {}
        ) as response:
            self.check(response, f"layer {descriptor.digest}")
            begun = _STARTS_AT.match(response.headers.get("content-range", ""))
            start = (int(begun[1]) if begun else have) if response.status == 206 else 0
            if start > have:
                raise RegistryError(f"{self.host} left out {start - have} bytes of a layer")
            length = response.headers.get("content-length", "")
            if length.isdigit() and int(length) != descriptor.size - start:
                raise self._wrong_length(descriptor, str(int(length) + start))
            yield response.body, have - start

    def _wrong_length(self, descriptor: Descriptor, found: str) -> InvalidImage:
        return InvalidImage(
            f"a layer of '{self.reference.familiar()}' has {found} bytes, not the {descriptor.size} promised",
            hint=f"{self.host} or the manifest lies; nothing of it was kept",
        )

    # --- asking

    def ask(
        self,
        method: str,
        place: str,
        use: Callable[[Response], Result],
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
        *,
        patience: float = 0.0,
        attempts: int = ATTEMPTS,
    ) -> Result:
        """One request, with a token if one is wanted, repeated while the registry is busy or breaks off.

        place: below the repository, or a whole URL. use: makes the result out of the answer; what it raises
        is raised, but RegistryBroken counts as one more failed attempt. patience: see transport. attempts:
        not for 429, where nothing was taken in.
        """
        attempt = 0
        while True:
            attempt += 1
            try:
                with self._answer(method, place, headers or {}, body, patience) as response:
                    return use(response)
            except _Busy as busy:
                wait = refusal.patience(busy.headers, attempt - 1)
                if wait is None or attempt >= (ATTEMPTS if busy.early else attempts):
                    raise busy.error from None
            except (RegistryBroken, RegistryUnreachable) as error:
                if isinstance(error, RegistryUnreachable) and not self._answered:
                    raise
                if attempt >= attempts:
                    raise self._gone(error) from error
                wait = refusal.patience({}, attempt - 1) or 0.0
            self._sleep(wait)

    def _gone(self, error: RegistryError) -> RegistryError:
        """A registry that answered once is not one that nobody knows."""
        if isinstance(error, RegistryUnreachable):
            return RegistryBroken(f"{error.message}, though it did before", hint=error.hint)
        return error

    @contextmanager
    def _answer(
        self,
        method: str,
        place: str,
        headers: Mapping[str, str],
        body: bytes | None = None,
        patience: float = 0.0,
    ) -> Iterator[Response]:
        """One answer; a 401 is met once. Raises _Busy for 429 and 5xx."""
        url = place if "://" in place else f"{self._root}/v2/{self._repository}/{place}"
        ours = url.startswith(f"{self._root}/")
        for again in (False, True):
            header = self._access.header if ours else ""
            words = {**headers, **({"Authorization": header} if header else {})}
            with self.transport.request(
                method, url, words, body, patience=patience, verified=self._endpoint.verified
            ) as response:
                self._answered = True
                challenge = response.headers.get("www-authenticate", "")
                if response.status != 401 or not challenge or again or not ours or _moved(url, response.url):
                    if _is_busy(response.status):
                        raise _Busy(response, self._refusal(response, "it"))
                    yield response
                    return
            self._access.renew(challenge, header)

    def check(self, response: Response, what: str) -> None:
        """Raise the error for an answer that is none of 200, 206. what: "manifest 1.0", "blob sha256:..."."""
        if response.status not in (200, 206):
            raise self._refusal(response, what)

    def _refusal(self, response: Response, what: str) -> RegistryError | ImageNotFound:
        body = b""
        with suppress(RegistryError):
            body = response.read(_SMALL)
        return refusal.refusal(
            response.status,
            response.headers,
            body,
            host=self.host,
            name=self.reference,
            what=what,
            anonymous=self._access.anonymous,
            hint=login_hint(self.host),
        )


class _Busy(Exception):
    """429 or 5xx: worth another attempt, with the error to raise when there is none."""

    def __init__(self, response: Response, error: RegistryError | ImageNotFound) -> None:
        super().__init__()
        self.headers, self.error = response.headers, error
        self.early = response.status == 429


def _is_busy(status: int) -> bool:
    return status == 429 or (status >= 500 and status != 501)


def _moved(asked: str, answered: str) -> bool:
    return asked.split("/")[:3] != answered.split("/")[:3]


def _media_type(response: Response) -> str:
    return response.headers.get("content-type", "").partition(";")[0].strip()


def _chunks(body: http.client.HTTPResponse) -> Iterator[bytes]:
    """What comes until the end, a break, or a stall: nothing at all, or hardly anything for a while."""
    begun, came = time.monotonic(), 0
    while True:
        try:
            chunk = body.read1(_CHUNK)
        except (http.client.HTTPException, OSError):
            return
        if not chunk:
            return
        yield chunk
        came += len(chunk)
        now = time.monotonic()
        if now - begun > _WHILE:
            if came < _TRICKLE:
                return
            begun, came = now, 0
