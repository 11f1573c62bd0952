"""Bring packages from the archive, taken apart, in the order in which they are wanted.

Comes in:  the packages of every layer of an image, lowest layer first.
Goes out:  Deb values; downloading and decompressing of later packages go on while earlier ones are unpacked.
Not here:  unpacking (unpack).
Eight downloads and two decompressions at a time; at most AHEAD bytes lie decompressed and waiting.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor

from runtime.image.assemble.deb import Deb, read
from runtime.image.assemble.fetch import Fetcher, Wanted
from runtime.image.assemble.packages import Package

AHEAD = 192 << 20
Moved = Callable[[Package, int], None]


class Supply:
    """``moved`` is told, from several threads, how many bytes of a package arrived."""

    def __init__(self, fetcher: Fetcher, moved: Moved) -> None:
        self._fetcher = fetcher
        self._moved = moved
        self._downloads = ThreadPoolExecutor(8, thread_name_prefix="download")
        self._readers = ThreadPoolExecutor(2, thread_name_prefix="decompress")
        self._data: dict[str, Future[bytes]] = {}
        self._debs: dict[str, Future[Deb]] = {}
        self._waiting: list[Package] = []
        self._ahead = 0
        self._lock = threading.Lock()

    def order(self, packages: Iterable[Package]) -> None:
        """Start to bring ``packages``; what was ordered before comes first."""
        for package in packages:
            self._data[package.name] = self._downloads.submit(self._fetch, package)
            self._waiting.append(package)
        self._advance()

    def take(self, package: Package) -> Deb:
        """Wait for one package and hand it out, once. Raises what fetching it raised."""
        with self._lock:
            if package.name not in self._debs:
                self._read(package)
        deb = self._debs[package.name].result()
        with self._lock:
            del self._debs[package.name]
            self._ahead -= package.installed
        self._advance()
        return deb

    def close(self) -> None:
        """Stop; what has not begun is dropped."""
        self._downloads.shutdown(cancel_futures=True)
        self._readers.shutdown(cancel_futures=True)

    def _fetch(self, package: Package) -> bytes:
        wanted = Wanted(url=package.url, sha256=package.sha256, size=package.size)
        return self._fetcher.file(wanted, lambda count: self._moved(package, count))

    def _advance(self) -> None:
        with self._lock:
            while self._waiting and self._ahead < AHEAD:
                self._read(self._waiting[0])

    def _read(self, package: Package) -> None:
        self._waiting.remove(package)
        self._ahead += package.installed
        data = self._data.pop(package.name)
        self._debs[package.name] = self._readers.submit(lambda: read(data.result()))
