"""Files behind http and https URLs: asked for again only when the server has another one.

Comes in:  a URL, perhaps the digest it must have.
Goes out:  what it is (name, digest, time), and the file when it is needed.
Not here:  repositories (git), proxies and certificates (image.transport).
Source: RFC 9110, sections 8.8 and 13 (validators, conditional requests).
"""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from runtime.build.halt import Halt
from runtime.build.notes import Notes
from runtime.errors import BuildFailed, RegistryError
from schemas.frozen import dataclass

if TYPE_CHECKING:
    from runtime.image.transport import Response, Transport

_CHUNK = 1 << 18
UNNAMED = "__unnamed__"


@dataclass(frozen=True, slots=True)
class Answer:
    """digest: hexadecimal sha256. when: Last-Modified in seconds since the epoch, 0 when not told."""

    digest: str
    when: int


def is_url(text: str) -> bool:
    """Whether ``text`` is fetched by http or https."""
    return text.startswith(("http://", "https://"))


def file_name(url: str) -> str:
    """The name a file gets: the last part of the path."""
    name = unquote(urlsplit(url).path.rpartition("/")[2])
    return name if name and "/" not in name and name not in (".", "..") else UNNAMED


class Downloads:
    """Of one build; room: where files are put. Safe in threads that fetch different URLs."""

    def __init__(self, notes: Notes, halt: Halt, room: Path) -> None:
        self._notes, self._halt, self._room = notes, halt, room
        self._have: dict[str, tuple[Answer, Path]] = {}
        self._open: Transport | None = None

    @property
    def _transport(self) -> Transport:
        """The connections; what speaks HTTP is loaded when it is needed."""
        from runtime.image.transport import Transport

        if self._open is None:
            self._open = Transport(os.environ)
        return self._open

    def close(self) -> None:
        """Let connections go."""
        if self._open is not None:
            self._open.close()

    def look(self, url: str) -> Answer:
        """What is there now; it is downloaded unless the server says that it is what it was the last time.

        Raises RegistryError (unreachable, TLS), BuildFailed for a status other than 200.
        """
        known: dict[str, Any] = json.loads(self._notes.answer(url) or "{}")
        headers = {"If-None-Match": known.get("etag", ""), "If-Modified-Since": known.get("modified", "")}
        with self._transport.request(
            "GET", url, {name: value for name, value in headers.items() if value}
        ) as response:
            if response.status == 304 and known:
                return Answer(known["digest"], _seconds(known.get("modified", "")))
            return self._take(url, response)

    def file(self, url: str, checksum: str = "") -> Path:
        """The file itself, mode 0600, its time Last-Modified. checksum: "sha256:..." it must have."""
        if url not in self._have:
            with self._transport.request("GET", url, {}) as response:
                self._take(url, response)
        answer, path = self._have[url]
        check(url, answer, checksum)
        return path

    def _take(self, url: str, response: Response) -> Answer:
        if response.status != 200:
            raise BuildFailed(f"{url} answered with {response.status}", hint="is the address right?")
        path = self._room / f"download-{hashlib.sha256(url.encode()).hexdigest()[:16]}"
        digest = self._save(url, response, path)
        modified = response.headers.get("last-modified", "")
        answer = Answer(digest, _seconds(modified))
        path.chmod(0o600)
        os.utime(path, (answer.when, answer.when))
        said = {"digest": digest, "etag": response.headers.get("etag", ""), "modified": modified}
        if said["etag"] or modified:
            self._notes.put_answer(url, json.dumps(said))
        self._have[url] = (answer, path)
        return answer

    def _save(self, url: str, response: Response, path: Path) -> str:
        state, size = hashlib.sha256(), 0
        with path.open("wb") as out:
            while chunk := response.body.read(_CHUNK):
                self._halt.check()
                out.write(chunk)
                state.update(chunk)
                size += len(chunk)
        told = response.headers.get("content-length", "")
        if told.isdigit() and int(told) != size:
            raise RegistryError(f"{url} broke off after {size} of {told} bytes")
        return state.hexdigest()


def check(url: str, answer: Answer, checksum: str) -> None:
    """Raise BuildFailed when ``checksum`` is given and is another one."""
    if checksum and checksum != f"sha256:{answer.digest}":
        raise BuildFailed(f"{url} has the digest sha256:{answer.digest}, not {checksum}")


def _seconds(text: str) -> int:
    from email.utils import parsedate_to_datetime

    try:
        return int(parsedate_to_datetime(text).timestamp()) if text else 0
    except (ValueError, TypeError, OverflowError):
        return 0
