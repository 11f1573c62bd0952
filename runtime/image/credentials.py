"""Who we are to a registry: the ``auths`` of Docker's config.json and of containers' auth.json, and their
helpers.

Comes in:  the environment, a registry's name. Goes out:  a Login or None.
Not here:  sending it (registry). Source: docker login, section Credential stores; containers-auth.json(5).
"""

from __future__ import annotations

import base64
import binascii
import json
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from schemas.frozen import dataclass, field

_HUB = ("https://index.docker.io/v1/", "index.docker.io", "docker.io", "registry-1.docker.io")


@dataclass(frozen=True, slots=True)
class Login:
    """User and password; or an identity token, with user "" or "<token>"."""

    user: str
    password: str = field(repr=False)
    token: str = field(default="", repr=False)


def find(registry: str, environment: Mapping[str, str]) -> Login | None:
    """The login for ``registry`` from the first file that has one; unreadable files count as empty."""
    names = (
        _HUB
        if registry == "docker.io"
        else (registry, f"https://{registry}", f"https://{registry}/v1/", f"https://{registry}/v2/")
    )
    for path in _files(environment):
        config = _read(path)
        helper = config.get("credHelpers", {}).get(registry) or config.get("credsStore", "")
        for name in names:
            entry = config.get("auths", {}).get(name) or config.get("auths", {}).get(name + "/")
            login = _entry(entry) or (_ask(helper, name, environment) if helper else None)
            if login is not None:
                return login
    return None


def _files(environment: Mapping[str, str]) -> Iterator[Path]:
    home = environment.get("HOME", "")
    yield Path(environment.get("DOCKER_CONFIG") or f"{home}/.docker") / "config.json"
    if named := environment.get("REGISTRY_AUTH_FILE"):
        yield Path(named)
    if runtime := environment.get("XDG_RUNTIME_DIR"):
        yield Path(runtime) / "containers/auth.json"
    yield Path(environment.get("XDG_CONFIG_HOME") or f"{home}/.config") / "containers/auth.json"


def _read(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}


def _entry(entry: Any) -> Login | None:
    if not isinstance(entry, dict):
        return None
    if entry.get("identitytoken"):
        return Login("", "", str(entry["identitytoken"]))
    if entry.get("auth"):
        try:
            user, _, password = base64.b64decode(entry["auth"]).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError):
            return None
        return Login(user, password.rstrip("\0"))
    return Login(str(entry["username"]), str(entry.get("password", ""))) if entry.get("username") else None


def _ask(helper: str, server: str, environment: Mapping[str, str]) -> Login | None:
    """docker-credential-<helper> get: the server on stdin, JSON on stdout."""
    try:
        done = subprocess.run(
            [f"docker-credential-{helper}", "get"], input=server, capture_output=True, text=True, timeout=20,
            env=dict(environment), check=True,
        )  # fmt: skip
        answer = json.loads(done.stdout)
    except (OSError, subprocess.SubprocessError, ValueError):
        return None
    if answer.get("Username") == "<token>":
        return Login("", "", str(answer.get("Secret", "")))
    return Login(str(answer.get("Username", "")), str(answer.get("Secret", "")))
