"""Who we are to a registry: Docker's config.json, containers' auth.json, and the helpers they name.

Comes in:  the environment, a registry's name, a repository.
Goes out:  a Login or None; a login kept or forgotten in Docker's config.json.
Not here:  sending it (access), asking for it (compose.cli.login).
Source: docker login, "Credential stores"; docker-credential-helpers, protocol; containers-auth.json(5).
"""

from __future__ import annotations

import base64
import binascii
import json
import os
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from runtime.errors import ImageError
from schemas.frozen import dataclass, field

HUB_KEY = "https://index.docker.io/v1/"
_HUB = (HUB_KEY, "index.docker.io", "docker.io", "registry-1.docker.io")
_TOKEN_USER = "<token>"


@dataclass(frozen=True, slots=True)
class Login:
    """User and password; or an identity token, with user "" or the account's name."""

    user: str
    password: str = field(repr=False)
    token: str = field(default="", repr=False)


def find(registry: str, environment: Mapping[str, str], *, repository: str = "") -> Login | None:
    """The login for ``registry`` from the first file that has one; unreadable files count as empty.

    repository: entries of auth.json may be for ``registry/some/path`` only; the longest that fits counts.
    """
    for config in _configs(environment):
        helper = config.get("credHelpers", {}).get(registry) or config.get("credsStore", "")
        for name in _names(registry, repository):
            auths = config.get("auths", {})
            entry = auths.get(name) or auths.get(name + "/")
            login = _entry(entry) or (_ask(helper, name, environment) if helper else None)
            if login is not None:
                return login
    return None


def _names(registry: str, repository: str) -> tuple[str, ...]:
    """The keys under which a login may stand, the narrowest first."""
    names = _HUB if registry in _HUB else (
        registry, f"https://{registry}", f"http://{registry}", f"https://{registry}/v1", f"https://{registry}/v2",
    )  # fmt: skip
    parts = repository.split("/") if repository else []
    narrow = ["/".join([registry, *parts[:n]]) for n in range(len(parts), 0, -1)]
    return (*narrow, *names)


def _configs(environment: Mapping[str, str]) -> Iterator[dict[str, Any]]:
    if text := environment.get("DOCKER_AUTH_CONFIG"):
        yield _table(text)
    for path in _files(environment):
        try:
            yield _table(path.read_text())
        except (OSError, UnicodeDecodeError):
            continue


def _files(environment: Mapping[str, str]) -> Iterator[Path]:
    home = environment.get("HOME", "")
    if named := environment.get("REGISTRY_AUTH_FILE"):
        yield Path(named)
    yield docker_config(environment)
    runtime = environment.get("XDG_RUNTIME_DIR")
    yield Path(runtime or f"/run/containers/{os.getuid()}") / (
        "containers/auth.json" if runtime else "auth.json"
    )
    yield Path(environment.get("XDG_CONFIG_HOME") or f"{home}/.config") / "containers/auth.json"
    yield Path(home) / ".dockercfg"


def docker_config(environment: Mapping[str, str]) -> Path:
    """Where Docker's config.json is for this user."""
    home = environment.get("HOME", "")
    return Path(environment.get("DOCKER_CONFIG") or f"{home}/.docker") / "config.json"


def _table(text: str) -> dict[str, Any]:
    """A configuration whose parts are what they have to be; anything else counts as absent."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    if not isinstance(value, dict):
        return {}
    if "auths" not in value and any(isinstance(v, dict) and "auth" in v for v in value.values()):
        return {"auths": value}  # ~/.dockercfg
    tables = {key: value[key] for key in ("auths", "credHelpers") if isinstance(value.get(key), dict)}
    store = value.get("credsStore")
    return {**tables, **({"credsStore": store} if isinstance(store, str) else {})}


def _entry(entry: Any) -> Login | None:
    if not isinstance(entry, dict):
        return None
    user, password = str(entry.get("username") or ""), str(entry.get("password") or "")
    if entry.get("auth"):
        try:
            user, _, password = base64.b64decode(entry["auth"]).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError, TypeError):
            return None
    if entry.get("identitytoken"):
        return Login("" if user == _TOKEN_USER else user, "", str(entry["identitytoken"]))
    return Login(user, password.rstrip("\0")) if user else None


# --- helpers


def _ask(helper: str, server: str, environment: Mapping[str, str]) -> Login | None:
    """docker-credential-<helper> get: the server on stdin, JSON on stdout; one that fails has nothing."""
    try:
        answer = json.loads(_run(helper, "get", server, environment))
    except (ImageError, ValueError):
        return None
    if not isinstance(answer, dict):
        return None
    user, secret = str(answer.get("Username") or ""), str(answer.get("Secret") or "")
    return Login("", "", secret) if user == _TOKEN_USER else Login(user, secret) if user else None


def _run(helper: str, verb: str, text: str, environment: Mapping[str, str]) -> str:
    program = f"docker-credential-{helper}"
    try:
        done = subprocess.run(
            [program, verb], input=text, capture_output=True, text=True, timeout=20, env=dict(environment),
            check=True,
        )  # fmt: skip
    except subprocess.CalledProcessError as error:
        said = (error.stdout or error.stderr or "").strip()
        raise ImageError(f"the credential helper '{program}' failed: {said or error.returncode}") from error
    except (OSError, subprocess.SubprocessError) as error:
        raise ImageError(f"the credential helper '{program}' cannot be run: {error}") from error
    return done.stdout


# --- keeping


def key_of(registry: str) -> str:
    """The key that Docker keeps a login for ``registry`` under."""
    return HUB_KEY if registry in _HUB else registry


def keep(registry: str, login: Login, environment: Mapping[str, str]) -> str:
    """Keep a login as docker does: with its credential helper, else in config.json, readable for us alone.

    Everything else in that file stays as it is. Gives the file the secret stands in unencrypted, "" where a
    helper has it. Raises ImageError.
    """
    path = docker_config(environment)
    config, key = _whole(path), key_of(registry)
    helper = _helper(config, registry)
    if helper:
        user, secret = (_TOKEN_USER, login.token) if login.token else (login.user, login.password)
        _run(helper, "store", json.dumps({"ServerURL": key, "Username": user, "Secret": secret}), environment)
        config.setdefault("auths", {})[key] = {}
    else:
        word = base64.b64encode(f"{login.user}:{login.password}".encode()).decode()
        entry = {"auth": word, "identitytoken": login.token} if login.token else {"auth": word}
        config.setdefault("auths", {})[key] = entry
    _write(path, config)
    return "" if helper else str(path)


def forget(registry: str, environment: Mapping[str, str]) -> bool:
    """Forget a login in Docker's config.json and its helper; False when there was none. Raises ImageError."""
    path = docker_config(environment)
    config = _whole(path)
    auths = config.get("auths", {})
    known = [name for name in _names(registry, "") if auths.pop(name, None) is not None]
    helper = _helper(config, registry)
    if helper and (known or _ask(helper, key_of(registry), environment)):
        _run(helper, "erase", key_of(registry), environment)
        known = known or [registry]
    if known:
        _write(path, config)
    return bool(known)


def _helper(config: Mapping[str, Any], registry: str) -> str:
    helpers = config.get("credHelpers")
    own = helpers.get(registry) or helpers.get(key_of(registry)) if isinstance(helpers, dict) else ""
    return str(own or config.get("credsStore") or "")


def _whole(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text() or "{}")
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise ImageError(f"{path} cannot be read: {error}", hint="nothing was changed") from error
    if not isinstance(value, dict) or not isinstance(value.get("auths", {}), dict):
        raise ImageError(f"{path} is not a configuration of docker's", hint="nothing was changed")
    return value


def _write(path: Path, config: Mapping[str, Any]) -> None:
    """Replace the file at once, mode 0600, or leave it as it was."""
    try:
        home = path.resolve().parent  # a link stays a link
        home.mkdir(parents=True, exist_ok=True, mode=0o700)
        fd, name = tempfile.mkstemp(prefix=".config-", dir=home)
        with open(fd, "w") as out:
            out.write(json.dumps(config, indent="\t", ensure_ascii=False) + "\n")
            out.flush()
            os.fsync(out.fileno())
        Path(name).rename(path.resolve())
    except OSError as error:
        raise ImageError(f"{path} cannot be written: {error.strerror or error}") from error
