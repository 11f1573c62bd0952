"""Whose certificates a registry may show, and which one we show: the system's authorities and private ones.

Comes in:  the name of a registry, the environment, a PEM file of our settings.
Goes out:  an SSLContext.
Not here:  connections (transport).
Source: docker, "Verify repository client with certificates"; containers-certs.d(5).
"""

from __future__ import annotations

import os
import ssl
from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path

from runtime.image.errors import RegistryTLS

_BUNDLES = ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "PYCOMPOSE_EXTRA_CA")


def directories(registry: str, environment: Mapping[str, str]) -> tuple[Path, ...]:
    """Where certificates for ``registry`` may lie: ``*.crt`` authorities, ``*.cert`` and ``*.key`` ours."""
    home = Path(environment.get("XDG_CONFIG_HOME") or f"{environment.get('HOME', '')}/.config")
    roots = (Path("/etc/docker"), Path("/etc/containers"), home / "docker", home / "containers")
    return tuple(root / "certs.d" / registry for root in roots)


def context(
    registry: str, environment: Mapping[str, str], *, authority: str = "", verified: bool = True
) -> ssl.SSLContext:
    """How to speak TLS with ``registry`` ("host" or "host:port").

    authority: one more PEM file, "" for none. verified: False accepts any certificate.
    Raises RegistryTLS naming a file that cannot be used.
    """
    named = [environment.get(name, "") for name in _BUNDLES]
    bundles = [path for path in named if path and Path(path).is_file()]
    homes = [home for home in directories(registry, environment) if home.is_dir()]
    bundles += [str(path) for home in homes for path in sorted(home.glob("*.crt"))]
    pairs = [pair for home in homes for pair in _pairs(home)]
    paths = (*bundles, *((authority,) if authority else ()))
    stamps = tuple(_stamp(path) for path in (*paths, *(path for pair in pairs for path in pair)))
    return _context(paths, tuple(pairs), verified, stamps)


def _stamp(path: str) -> int:
    try:
        return os.stat(path).st_mtime_ns
    except OSError:
        return 0


def _pairs(home: Path) -> Iterator[tuple[str, str]]:
    for path in sorted(home.glob("*.cert")):
        yield str(path), str(path.with_suffix(".key"))


@lru_cache(maxsize=16)
def _context(
    bundles: tuple[str, ...], pairs: tuple[tuple[str, str], ...], verified: bool, _stamps: tuple[int, ...]
) -> ssl.SSLContext:
    made = ssl.create_default_context()
    # Python 3.13 refuses authorities that lack an extension of RFC 5280; docker and Python 3.12 take them.
    made.verify_flags &= ~ssl.VERIFY_X509_STRICT
    if not verified:
        made.check_hostname = False
        made.verify_mode = ssl.CERT_NONE
    for path in bundles:
        try:
            made.load_verify_locations(path)
        except OSError as error:
            raise _unusable(path, error) from error
    for certificate, key in pairs:
        try:
            made.load_cert_chain(certificate, key)
        except OSError as error:
            raise _unusable(certificate, error) from error
    return made


def _unusable(path: str, error: OSError) -> RegistryTLS:
    return RegistryTLS(
        f"the certificate file {path} cannot be used: {error.strerror or error}",
        hint="it has to be PEM; a *.cert needs its *.key beside it",
    )
