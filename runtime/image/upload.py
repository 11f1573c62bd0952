"""Blobs and manifests on their way into a registry: only what is missing, in chunks that may break.

Comes in:  a Registry, chunks of bytes that can be asked for again.
Goes out:  the digest and the size of what the registry has now.
Not here:  compressing (push), requests and tokens (registry).
Source: OCI distribution-spec v1.1, section Push.
"""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Callable, Iterable, Iterator
from urllib.parse import quote, urljoin, urlsplit

from runtime.errors import RegistryError
from runtime.image.errors import DigestMismatch, RegistryBroken
from runtime.image.registry import ATTEMPTS, Registry, Sleep
from runtime.image.transport import Response

PIECE = 8 << 20
_WHOLE = 3  # attempts from the beginning
_PATIENCE = 300.0  # a registry may have to move gigabytes when an upload ends
_RANGE = re.compile(r"(?:bytes=)?0-(\d+)")
_OCTETS = {"Content-Type": "application/octet-stream"}

Chunks = Callable[[], Iterator[bytes]]


def has(registry: Registry, digest: str) -> bool:
    """Whether the repository has the blob."""

    def use(response: Response) -> bool:
        if response.status not in (404, 405):
            registry.check(response, f"blob {digest}")
        return response.status == 200

    return registry.ask("HEAD", f"blobs/{digest}", use)


def mount(registry: Registry, digest: str, origin: str) -> bool:
    """Let the repository have a blob that the repository ``origin`` of the same registry has.

    False when that does not go: no such blob, no rights, no such feature.
    """

    def use(response: Response) -> str:
        if response.status == 201:
            return ""
        return _location(registry, response) if response.status == 202 else "none"

    place = f"blobs/uploads/?mount={quote(digest)}&from={quote(origin, safe='/')}"
    location = registry.ask("POST", place, use, {"Content-Length": "0"}, b"")
    if location not in ("", "none"):
        registry.ask("DELETE", location, lambda response: response.status, attempts=1)
    return not location


def upload(
    registry: Registry, chunks: Chunks, *, sleep: Sleep = time.sleep, piece: int = PIECE
) -> tuple[str, int]:
    """Send a blob; gives its digest and size.

    chunks: gives the bytes from the beginning, the same each time. piece: bytes sent at a time; a blob that
    fits into one is sent whole. A broken connection costs the rest of one piece, a lost session all of it.
    Raises what Registry.ask raises, DigestMismatch when the registry has understood something else.
    """
    for attempt in range(_WHOLE):
        try:
            session = _Upload(registry, sleep, piece)
            return session.send(chunks())
        except _Lost:
            sleep(0.5 * 2.0**attempt)
    raise RegistryBroken(
        f"{registry.host} loses uploads to '{registry.reference.familiar()}' again and again"
    )


class _Lost(Exception):
    """The registry does not know the upload any more, or less of it than it said."""


class _Upload:
    """One session."""

    def __init__(self, registry: Registry, sleep: Sleep, piece: int) -> None:
        self._registry, self._sleep = registry, sleep
        self._location, least = self._begin()
        self._piece = max(piece, least)

    def _begin(self) -> tuple[str, int]:
        def use(response: Response) -> tuple[str, int]:
            if response.status != 202:
                self._registry.check(response, "an upload")
            least = response.headers.get("oci-chunk-min-length", "")
            return _location(self._registry, response), int(least) if least.isdigit() else 0

        return self._registry.ask("POST", "blobs/uploads/", use, {"Content-Length": "0"}, b"")

    def send(self, chunks: Iterable[bytes]) -> tuple[str, int]:
        state, size = hashlib.sha256(), 0
        pieces = _pieces(chunks, self._piece)
        last = next(pieces, b"")
        for following in pieces:
            state.update(last)
            self._patch(last, size)
            size += len(last)
            last = following
        state.update(last)
        digest = "sha256:" + state.hexdigest()
        if size:
            self._patch(last, size)
            self._end(digest, b"")
        else:
            self._end(digest, last)
        return digest, size + len(last)

    def _patch(self, data: bytes, start: int) -> None:
        """Send one piece, as much of it as did not arrive before."""
        view, arrived, stuck = memoryview(data), 0, 0
        while arrived < len(data):
            before = arrived
            try:
                arrived = self._send_from(view[arrived:], start + arrived) - start
            except RegistryBroken:
                if stuck >= ATTEMPTS - 1:
                    raise
                self._sleep(0.5 * 2.0**stuck)
                arrived = self._asked_for() - start
            if not 0 <= arrived <= len(data):
                raise _Lost
            stuck = stuck + 1 if arrived <= before else 0
            if stuck >= ATTEMPTS:
                raise RegistryBroken(f"{self._registry.host} takes in nothing of an upload")

    def _send_from(self, data: memoryview, start: int) -> int:
        """One PATCH; gives how far the registry says it has come."""
        end = start + len(data)

        def use(response: Response) -> int:
            if response.status == 416:
                return -1
            if response.status == 404:
                raise _Lost
            if response.status not in (201, 202, 204):
                self._registry.check(response, "an upload")
            self._location = _location(self._registry, response, self._location)
            return _arrived(response, end)

        headers = {**_OCTETS, "Content-Range": f"{start}-{end - 1}"}
        found = self._registry.ask(
            "PATCH", self._location, use, headers, bytes(data), patience=_PATIENCE, attempts=1
        )
        return self._asked_for() if found < 0 else found

    def _asked_for(self) -> int:
        """How many bytes the registry has."""

        def use(response: Response) -> int:
            if response.status == 404:
                raise _Lost
            if response.status not in (202, 204):
                self._registry.check(response, "an upload")
            self._location = _location(self._registry, response, self._location)
            return _arrived(response, 0)

        return self._registry.ask("GET", self._location, use)

    def _end(self, digest: str, data: bytes) -> None:
        """The last word: the digest of it all, with all of it when it is small."""

        def use(response: Response) -> str:
            if response.status == 404:
                raise _Lost
            if response.status not in (201, 202, 204):
                self._registry.check(response, "an upload")
            return response.headers.get("docker-content-digest", digest)

        joint = "&" if urlsplit(self._location).query else "?"
        place = f"{self._location}{joint}digest={quote(digest)}"
        headers = {**_OCTETS, "Content-Length": str(len(data))}
        try:
            actual = self._registry.ask("PUT", place, use, headers, data, patience=_PATIENCE, attempts=1)
        except RegistryBroken:
            if not has(self._registry, digest):  # else only the answer was lost
                raise _Lost from None
            return
        if actual != digest:
            raise DigestMismatch("an uploaded blob", expected=digest, actual=actual)


def put_manifest(registry: Registry, word: str, data: bytes, media_type: str) -> str:
    """Store a manifest under a tag or its digest; gives the digest. Raises MediaTypeRefused."""
    digest = "sha256:" + hashlib.sha256(data).hexdigest()

    def use(response: Response) -> str:
        if response.status in (400, 406, 415) and b"MANIFEST_UNVERIFIED" not in (
            body := response.read(1 << 16)
        ):
            raise MediaTypeRefused(
                f"{registry.host} refuses the manifest of '{registry.reference.familiar()}': "
                f"{body[:200].decode(errors='replace')}"
            )
        if response.status not in (200, 201, 202):
            registry.check(response, f"manifest {word}")
        return response.headers.get("docker-content-digest", digest)

    headers = {"Content-Type": media_type}
    actual = registry.ask("PUT", f"manifests/{quote(word)}", use, headers, data, patience=_PATIENCE)
    if actual != digest:
        raise DigestMismatch("the stored manifest", expected=digest, actual=actual)
    return digest


class MediaTypeRefused(RegistryError):
    """The registry knows no manifest of this kind."""


def _arrived(response: Response, otherwise: int) -> int:
    """Bytes that came so far; "0-0" stands for none, and for one."""
    found = _RANGE.fullmatch(response.headers.get("range", ""))
    if found is None:
        return otherwise
    return int(found[1]) + 1 if int(found[1]) else otherwise and 1


def _location(registry: Registry, response: Response, otherwise: str = "") -> str:
    """Where the session goes on. Raises RegistryError for a place that must not be followed."""
    target = response.headers.get("location", "")
    if not target and otherwise:
        return otherwise
    if not target:
        raise RegistryError(f"{registry.host} does not say where to upload to")
    url, asked = urljoin(response.url, target), urlsplit(response.url).scheme
    scheme = urlsplit(url).scheme
    if scheme not in ("http", "https") or (asked == "https" and scheme == "http"):
        raise RegistryError(
            f"{registry.host} wants uploads to go to {scheme}:, which is refused",
            hint="a proxy in front of it may lack 'X-Forwarded-Proto'" if scheme == "http" else "",
        )
    return url


def _pieces(chunks: Iterable[bytes], size: int) -> Iterator[bytes]:
    """The same bytes in pieces of ``size``; the last one is smaller."""
    gathered, count = [], 0
    for chunk in chunks:
        gathered.append(chunk)
        count += len(chunk)
        if count >= size:
            whole = b"".join(gathered)
            for at in range(0, count - size + 1, size):
                yield whole[at : at + size]
            rest = whole[count - count % size :]
            gathered, count = [rest] if rest else [], len(rest)
    if gathered:
        yield b"".join(gathered)
