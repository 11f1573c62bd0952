"""What of the caller's environment a RUN sees: proxies and certificate authorities, and nothing else.

Comes in:  environment variables, the ``trust`` word.
Goes out:  variables for RUN, the host path of a bundle of certificates.
Not here:  binding the bundle (run). None of it enters an image, its history or the cache key: ADR 0034.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from runtime.errors import BuildFailed

BUNDLE = "/run/pycompose/ca.crt"
HOST_BUNDLES = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/cert.pem",
)
NAMED_BY = ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "PIP_CERT", "CURL_CA_BUNDLE", "GIT_SSL_CAINFO")
TOLD_BY = (
    "SSL_CERT_FILE", "PIP_CERT", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "NODE_EXTRA_CA_CERTS",
    "GIT_SSL_CAINFO", "AWS_CA_BUNDLE",
)  # fmt: skip
_PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "FTP_PROXY", "NO_PROXY", "ALL_PROXY")
PREDEFINED = frozenset((*_PROXIES, *(name.lower() for name in _PROXIES)))


def proxies(environment: Mapping[str, str], args: Mapping[str, str]) -> dict[str, str]:
    """The proxy variables of the caller, in both cases; build arguments of these names win."""
    found: dict[str, str] = {}
    for name in _PROXIES:
        for spelling in (name, name.lower()):
            other = name.lower() if spelling == name else name
            value = args.get(spelling, args.get(other, environment.get(spelling, environment.get(other))))
            if value:
                found[spelling] = value
    return found


def bundle(
    trust: str,
    environment: Mapping[str, str],
    exists: Callable[[str], bool] = lambda path: Path(path).is_file(),
) -> str:
    """The host path of the certificates that RUN shall trust, "" for the image's own.

    trust: "auto" or "" takes a bundle the caller's environment names; PYCOMPOSE_EXTRA_CA is the same word
           from
    the environment. Raises BuildFailed for a path that is not there.
    """
    word = trust or environment.get("PYCOMPOSE_EXTRA_CA", "")
    if not word and environment.get("PYCOMPOSE_TRUST_HOST_CA", "").lower() in ("1", "true", "yes", "on"):
        word = "host"
    if word in ("none", "no"):
        return ""
    if word in ("", "auto"):
        named = (environment.get(name, "") for name in NAMED_BY)
        return next((path for path in named if path.startswith("/") and exists(path)), "")
    if word == "host":
        places = (environment.get("SSL_CERT_FILE", ""), *HOST_BUNDLES)
        return next((path for path in places if path and exists(path)), "")
    if not exists(word):
        raise BuildFailed(
            f"the certificates '{word}' to be trusted are not there", hint="see PYCOMPOSE_EXTRA_CA"
        )
    return word
