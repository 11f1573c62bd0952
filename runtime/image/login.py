"""Try a login at its registry before it is kept.

Comes in:  a registry's name, a Login.
Goes out:  the Login to be kept: the same, or the identity token that the token server gave for it.
Not here:  asking a person for it (compose.cli.login), keeping it (credentials).
Source: docker login; OCI distribution-spec v1.1, end-1.
"""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlsplit

from runtime.errors import RegistryError
from runtime.image import settings
from runtime.image.access import Access
from runtime.image.credentials import Login
from runtime.image.errors import RegistryBroken, RegistryDenied, RegistryRateLimited
from runtime.image.reference import HUB, Reference
from runtime.image.refusal import again_at
from runtime.image.transport import Transport

_HUB_NAMES = ("", "docker.io", "index.docker.io", "registry-1.docker.io", "hub.docker.com")


def host_of(server: str) -> str:
    """The registry that a word of the command line means: a host, a URL, "" for Docker Hub."""
    parts = urlsplit(server if "://" in server else f"//{server}")
    return HUB if parts.netloc in _HUB_NAMES else parts.netloc


def verify(registry: str, login: Login, environment: Mapping[str, str]) -> Login:
    """Log in at ``registry``.

    Raises RegistryDenied for a wrong login, RegistryUnreachable, RegistryTLS, RegistryRateLimited,
    RegistryError for a host that is no registry.
    """
    known = settings.read(environment)
    endpoint = settings.home(Reference(registry, "x"), known)
    transport = Transport(environment, known=known)
    try:
        root = f"{transport.scheme(endpoint)}://{endpoint.host}"
        secure = root.startswith("https:") and endpoint.verified
        access = Access(transport, registry, login, (), secure=secure)
        status, challenge, wait = _ask(transport, f"{root}/v2/", "", verified=endpoint.verified)
        if status == 401:
            header = access.renew(challenge, "")
            status, _, wait = _ask(transport, f"{root}/v2/", header, verified=endpoint.verified)
        _judge(registry, status, wait)
    finally:
        transport.close()
    return Login(login.user, "", access.refresh_token) if access.refresh_token else login


def _ask(transport: Transport, url: str, header: str, *, verified: bool) -> tuple[int, str, str]:
    """Status, challenge, and when to ask again."""
    headers = {"Authorization": header} if header else {}
    with transport.request("GET", url, headers, verified=verified) as response:
        challenge = response.headers.get("www-authenticate", "")
        return response.status, challenge, again_at(response.headers)


def _judge(registry: str, status: int, wait: str) -> None:
    if status == 200:
        return
    if status in (401, 403):
        raise RegistryDenied(f"{registry} refuses this login", hint="check user name and password")
    if status == 429:
        raise RegistryRateLimited(f"{registry} refuses more requests for now{wait}")
    if status >= 500:
        raise RegistryBroken(f"{registry} answered with {status}")
    raise RegistryError(f"{registry} is no registry: it answered with {status}", hint="check the address")
