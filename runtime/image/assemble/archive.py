"""Read the indexes of a Debian archive: signature, then digest, then text.

Comes in:  Sources (where), the keys that we ship, a cache directory.
Goes out:  Packages of the release, for one architecture.
Not here:  unpacking (deb), choosing (resolve).
The chain: a shipped key signs InRelease, InRelease names Packages.xz by SHA-256, Packages names each .deb.
Source: wiki.debian.org/DebianRepository/Format (InRelease, by-hash, Valid-Until).
"""

from __future__ import annotations

import lzma
import re
from collections.abc import Callable, Mapping
from concurrent.futures import Executor
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from importlib import resources
from pathlib import Path
from urllib.parse import urlsplit

from runtime.image.assemble.errors import ArchiveStale, MirrorUnreachable, SignatureWrong
from runtime.image.assemble.fetch import Fetcher, NotThere, Wanted, keep, shown
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

    note: told one sentence about a suite that was left out.
    Raises MirrorUnreachable, SignatureWrong, ArchiveStale, DigestWrong.
    """
    keys = trusted_keys(sources.keyring)
    futures = [
        (place, pool.submit(_suite, place, sources, architecture, fetcher, keys)) for place in sources.suites
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
    place: Place, sources: Sources, architecture: str, fetcher: Fetcher, keys: Mapping[str, Key]
) -> Suite:
    root = f"{place.uri}/dists/{place.name}"
    host = urlsplit(place.uri).hostname or place.uri
    try:
        document = fetcher.get(f"{root}/InRelease")
        release = check(document, place.name, keys, check_dates=sources.check_dates)
        name = f"main/binary-{architecture}/Packages"
        return Suite(uri=place.uri, data=_packages(root, name, release, fetcher))
    except NotThere as error:
        raise MirrorUnreachable(host, sources.origin, f"it has no {error}") from None
    except SignatureWrong as error:
        raise SignatureWrong(
            f"{shown(root)}/InRelease cannot be trusted: {error.message}",
            hint=f"{host} comes from {sources.origin}; the network or that mirror may be tampered with",
        ) from None


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
    """A Packages file; kept decompressed under the digest of the compressed one."""
    if f"{name}.xz" not in release.files:
        raise NotThere(f"{root}/{name}.xz")
    digest, size = release.files[f"{name}.xz"]
    plain = fetcher.cache.parent / "index" / digest
    if plain.exists():
        return plain.read_bytes()
    folder = name.rpartition("/")[0]
    url = f"{root}/{folder}/by-hash/SHA256/{digest}" if release.by_hash else f"{root}/{name}.xz"
    data = lzma.decompress(fetcher.file(Wanted(url=url, sha256=digest, size=size)))
    keep(plain, data)
    (fetcher.cache / digest).unlink(missing_ok=True)
    return data
