"""Read the indexes of a Debian archive: signature, then digest, then text.

Comes in:  Sources (where), the keys that we ship, a cache directory.
Goes out:  Packages of the release, for one architecture.
Not here:  unpacking (deb), choosing (resolve).
The chain: a shipped key signs InRelease, InRelease names Packages.xz by SHA-256, Packages names each .deb.
Source: wiki.debian.org/DebianRepository/Format (InRelease, by-hash, Valid-Until).
"""

from __future__ import annotations

import hashlib
import lzma
import re
from collections.abc import Callable, Mapping
from concurrent.futures import Executor
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from importlib import resources
from pathlib import Path
from urllib.parse import urlsplit

from runtime.image.assemble.errors import ArchiveStale, DigestWrong, MirrorUnreachable, SignatureWrong
from runtime.image.assemble.fetch import Fetcher, NotThere, Wanted, keep, shown, verified
from runtime.image.assemble.openpgp import Key, read_keys, verify
from runtime.image.assemble.packages import Packages, Suite, fields
from runtime.image.assemble.sources import CHECK_DATES, Sources
from runtime.image.assemble.sources import Suite as Place
from schemas.frozen import dataclass

KEYS = "runtime.image.assemble"


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """One verified InRelease. files: path to (sha256, size). by_hash: Acquire-By-Hash."""

    files: Mapping[str, tuple[str, int]]
    by_hash: bool


def shipped_keys() -> dict[str, Key]:
    """The archive keys of Debian 12 and 13 that come with this package."""
    rings = [item.read_bytes() for item in resources.files(KEYS).joinpath("keys").iterdir() if item.is_file()]
    return read_keys(rings)


def trusted_keys(keyring: str) -> dict[str, Key]:
    """The shipped keys, and those of the user's own ``keyring`` (a binary file) when one is named."""
    keys = shipped_keys()
    if keyring:
        try:
            keys.update(read_keys([Path(keyring).read_bytes()]))
        except OSError as error:
            raise SignatureWrong(f"the keyring {keyring} cannot be read: {error.strerror}") from error
    return keys


def read(
    sources: Sources,
    architecture: str,
    fetcher: Fetcher,
    pool: Executor,
    note: Callable[[str], None],
) -> Packages:
    """Fetch and check the indexes of every suite, all at once; a suite that is not needed may be missing.

    Where the archive cannot be reached, the indexes that it gave last time count, as far as they are kept.
    note: told one sentence about a suite that was left out, or about that.
    Raises MirrorUnreachable, SignatureWrong, ArchiveStale, DigestWrong.
    """
    keys = trusted_keys(sources.keyring)
    futures = [
        (place, pool.submit(_suite, place, sources, architecture, fetcher, keys, note))
        for place in sources.suites
    ]
    suites = []
    for place, future in futures:
        try:
            suites.append(future.result())
        except MirrorUnreachable as error:
            if place.needed:
                raise
            note(f"without {place.name}: {error}")
    return Packages(suites)


def _suite(
    place: Place,
    sources: Sources,
    architecture: str,
    fetcher: Fetcher,
    keys: Mapping[str, Key],
    note: Callable[[str], None],
) -> Suite:
    root = f"{place.uri}/dists/{place.name}"
    host = urlsplit(place.uri).hostname or place.uri
    try:
        release = _release(root, place, sources, fetcher, keys, note)
        name = f"main/binary-{architecture}/Packages"
        return Suite(uri=place.uri, data=_packages(root, name, release, fetcher))
    except NotThere as error:
        raise MirrorUnreachable(host, sources.origin, f"it has no {error}") from None
    except SignatureWrong as error:
        raise SignatureWrong(
            f"{shown(root)}/InRelease cannot be trusted: {error.message}",
            hint=f"{host} comes from {sources.origin}; the network or that mirror may be tampered with",
        ) from None


def _release(
    root: str,
    place: Place,
    sources: Sources,
    fetcher: Fetcher,
    keys: Mapping[str, Key],
    note: Callable[[str], None],
) -> Release:
    """The verified InRelease; the one kept from last time, whatever its age, when the mirror does not
    answer."""
    kept = fetcher.cache.parent / "release" / hashlib.sha256(root.encode()).hexdigest()
    try:
        document = fetcher.get(f"{root}/InRelease")
    except MirrorUnreachable as error:
        try:
            document, since = kept.read_bytes(), kept.stat().st_mtime
        except OSError:
            raise error from None
        if place.needed:
            when = datetime.fromtimestamp(since, UTC).strftime("%Y-%m-%d")
            note(f"{error.message}; taking its index of {place.name} as it was on {when}")
        return check(document, place.name, keys, check_dates=False)
    release = check(document, place.name, keys, check_dates=sources.check_dates)
    keep(kept, document)
    return release


def check(document: bytes, suite: str, keys: Mapping[str, Key], *, check_dates: bool) -> Release:
    """Verify an InRelease, of that suite and not expired. Raises SignatureWrong, ArchiveStale."""
    text, _ = verify(document, keys)
    data = fields(text.decode("utf-8", "replace"))
    if suite not in (data.get("Codename"), data.get("Suite")):
        raise SignatureWrong(f"it is of {data.get('Codename')}, not of {suite}")
    until = data.get("Valid-Until")
    if check_dates and until and parsedate_to_datetime(until) < datetime.now(UTC):
        raise ArchiveStale(
            f"the index of {suite} was valid until {until}",
            hint=f"the mirror is old, or this machine's clock is wrong; {CHECK_DATES}=no accepts it",
        )
    lines = re.findall(r"^ (\w{64}) +(\d+) (\S+)$", data.get("SHA256", ""), re.M)
    return Release(
        files={name: (digest, int(size)) for digest, size, name in lines},
        by_hash=data.get("Acquire-By-Hash") == "yes",
    )


def _packages(root: str, name: str, release: Release, fetcher: Fetcher) -> bytes:
    """A Packages file; kept decompressed when InRelease tells its digest, since it is checked whenever it is
    read."""
    if f"{name}.xz" not in release.files:
        raise NotThere(f"{root}/{name}.xz")
    digest, size = release.files[f"{name}.xz"]
    expected = release.files.get(name, ("", 0))[0]
    plain = fetcher.cache.parent / "index" / digest
    if expected and (known := verified(plain, expected)) is not None:
        return known
    folder = name.rpartition("/")[0]
    url = f"{root}/{folder}/by-hash/SHA256/{digest}" if release.by_hash else f"{root}/{name}.xz"
    data = lzma.decompress(fetcher.file(Wanted(url=url, sha256=digest, size=size)))
    if expected:
        if hashlib.sha256(data).hexdigest() != expected:
            raise DigestWrong(shown(url))
        keep(plain, data)
        (fetcher.cache / digest).unlink(missing_ok=True)
    return data
