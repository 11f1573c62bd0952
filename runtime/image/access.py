"""What a registry wants to see before it answers: Basic, or Bearer tokens of its token server.

Comes in:  a challenge (WWW-Authenticate), a Login or none.
Goes out:  the Authorization header, renewed when it is refused.
Not here:  where logins lie (credentials), what is asked for (registry).
Source: RFC 7235; Distribution, "Token Authentication Specification" and "OAuth2 Token Authentication".
"""

from __future__ import annotations

import base64
import json
import re
import threading
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlencode, urlsplit

from runtime.errors import RegistryError
from runtime.image.credentials import Login
from runtime.image.errors import RegistryBroken, RegistryDenied, RegistryRateLimited
from runtime.image.refusal import again_at
from runtime.image.transport import Response, Transport

_TOKEN_MAX = 1 << 20
_CLIENT = "pycompose"
_CHALLENGE = re.compile(r"(?:^|,)\s*(basic|bearer)\b", re.IGNORECASE)
_PARAMETER = re.compile(r'(\w+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,]+))')


class Access:
    """The Authorization header for one registry. Safe in several threads.

    host: who is asked. scopes: what for, as ``repository:NAME:pull``. secure: whether the registry
    speaks TLS; then a token server that does not is refused.
    """

    def __init__(
        self, transport: Transport, host: str, login: Login | None, scopes: Sequence[str], *, secure: bool
    ) -> None:
        self._transport, self._host, self._login = transport, host, login
        self._scopes, self._secure = tuple(scopes), secure
        self._lock = threading.Lock()
        self.header = ""
        self.refresh_token = ""

    @property
    def anonymous(self) -> bool:
        """Whether nobody is logged in."""
        return self._login is None

    def renew(self, challenge: str, refused: str) -> str:
        """The header that meets ``challenge``; ``refused`` is the one that was answered with it.

        Raises RegistryDenied, RegistryError, and what the token server's transport raises.
        """
        with self._lock:
            if self.header == refused:  # else another thread has renewed it
                self.header = self._answer(challenge)
            return self.header

    def _answer(self, challenge: str) -> str:
        scheme, values = read_challenge(challenge)
        if scheme == "basic":
            if self._login is None:
                raise self._denied("it wants a login")
            return _basic(self._login)
        if scheme != "bearer" or not values.get("realm"):
            word = challenge.partition(" ")[0]
            raise RegistryError(f"{self._host} wants authentication by '{word}', which is not known here")
        return "Bearer " + self._token(values)

    def _token(self, values: Mapping[str, str]) -> str:
        realm = values["realm"]
        scheme = urlsplit(realm).scheme
        if scheme not in ("http", "https") or (self._secure and scheme == "http"):
            raise RegistryError(f"{self._host} names the token server '{realm}', which is refused")
        query = [("service", values.get("service", ""))]
        query += [("scope", scope) for scope in self._wanted(values.get("scope", ""))]
        query = [pair for pair in query if pair[1]]
        if self._login is not None and self._login.token:
            token = self._exchange(realm, query, self._login)
            if token:
                return token
        headers = {}
        if self._login is not None:
            headers["Authorization"] = _basic(self._login)
            query += [("account", self._login.user), ("client_id", _CLIENT), ("offline_token", "true")]
        joint = "&" if "?" in realm else "?"
        with self._transport.request("GET", realm + joint + urlencode(query), headers) as response:
            return self._read(response)

    def _exchange(self, realm: str, query: Sequence[tuple[str, str]], login: Login) -> str:
        """A token for an identity token; "" where the server knows the older way only."""
        scopes = " ".join(value for name, value in query if name == "scope")
        form = {name: value for name, value in query if name != "scope"} | {
            **({"scope": scopes} if scopes else {}),
            "grant_type": "refresh_token",
            "client_id": _CLIENT,
            "refresh_token": login.token,
        }
        kind = {"Content-Type": "application/x-www-form-urlencoded"}
        with self._transport.request("POST", realm, kind, urlencode(form).encode()) as response:
            if response.status in (404, 405) and login.user:
                return ""
            return self._read(response)

    def _wanted(self, asked: str) -> list[str]:
        """Our scopes, and those of the challenge about something else."""
        ours = {scope.rpartition(":")[0] for scope in self._scopes}
        return [*self._scopes, *[s for s in asked.split() if s.rpartition(":")[0] not in ours]]

    def _read(self, response: Response) -> str:
        data = response.read(_TOKEN_MAX)
        if response.status in (400, 401, 403):
            raise self._denied("the login was refused" if self._login else "it wants a login")
        if response.status == 429:
            raise RegistryRateLimited(
                f"the token server of {self._host} refuses more requests for now{again_at(response.headers)}",
                hint="log in, or wait",
            )
        if response.status >= 500:
            raise RegistryBroken(f"the token server of {self._host} answered with {response.status}")
        answer = _table(data) if response.status == 200 else {}
        token = answer.get("token") or answer.get("access_token")
        if not isinstance(token, str):
            raise RegistryError(
                f"the token server of {self._host} answered with {response.status} and no token"
            )
        self.refresh_token = str(answer.get("refresh_token") or "")
        return token

    def _denied(self, why: str) -> RegistryDenied:
        return RegistryDenied(f"{self._host} denies access: {why}", hint=login_hint(self._host))


def login_hint(host: str) -> str:
    """The command that would help."""
    return "try 'pycompose login'" if host.endswith("docker.io") else f"try 'pycompose login {host}'"


def read_challenge(text: str) -> tuple[str, dict[str, str]]:
    """Scheme ("basic", "bearer" or "") and parameters of the first challenge that we can meet; Bearer is
    preferred. Pure."""
    found = {match[1].lower(): match for match in reversed(list(_CHALLENGE.finditer(text)))}
    match = found.get("bearer") or found.get("basic")
    if match is None:
        return "", {}
    others = [other.start() for other in found.values() if other.start() > match.start()]
    own = text[match.end() : min(others, default=len(text))]
    values = {name.lower(): _plain(quoted) or plain for name, quoted, plain in _PARAMETER.findall(own)}
    return match[1].lower(), values


def _plain(quoted: str) -> str:
    return re.sub(r"\\(.)", r"\1", quoted)


def _table(data: bytes) -> dict[str, Any]:
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def _basic(login: Login) -> str:
    return "Basic " + base64.b64encode(f"{login.user}:{login.password}".encode()).decode()
