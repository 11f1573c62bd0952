"""What this machine's owner says about registries: mirrors, insecure ones, authorities of their certificates.

Comes in:  the environment; TOML files of the system and of the user.
Goes out:  Settings, and from them the Endpoints at which a reference is to be asked for, in order.
Not here:  asking (registry), logins (credentials).

    [registry."docker.io"]
    mirrors = ["mirror.example.com", "http://10.0.0.5:5000/hub"]

    [registry."registry.example.com:5000"]
    insecure = true             # plain HTTP, or a certificate that nobody vouches for
    ca = "/etc/ssl/example.crt"
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from runtime.errors import ImageError
from runtime.image.reference import HUB, Reference
from schemas.frozen import dataclass, field

_HUB_HOST = "registry-1.docker.io"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """By name of registry. mirrors: asked first, in order. insecure: TLS is not insisted on. authorities: PEM
    files."""

    mirrors: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    insecure: frozenset[str] = frozenset()
    authorities: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """Where a repository is asked for.

    host:     name and port that are spoken to; logins and certificates are looked up by it.
    scheme:   "https", "http", or "" to find out: TLS when it is spoken there, else plain HTTP.
    prefix:   path in front of the repository, "" or "hub/".
    verified: whether the certificate has to be trusted. mirror: whether it stands in for another registry.
    """

    host: str
    scheme: str = "https"
    prefix: str = ""
    verified: bool = True
    mirror: bool = False


def files(environment: Mapping[str, str]) -> tuple[Path, ...]:
    """The files that are read, the later one over the earlier: PYCOMPOSE_CONFIG alone, or system and user."""
    if named := environment.get("PYCOMPOSE_CONFIG"):
        return (Path(named),)
    home = environment.get("XDG_CONFIG_HOME") or f"{environment.get('HOME', '')}/.config"
    return (Path("/etc/pycompose/config.toml"), Path(home) / "pycompose" / "config.toml")


def read(environment: Mapping[str, str]) -> Settings:
    """Read the files, and PYCOMPOSE_INSECURE_REGISTRIES (names separated by commas).

    Raises ImageError naming the file and what is wrong in it.
    """
    mirrors: dict[str, tuple[str, ...]] = {}
    authorities: dict[str, str] = {}
    insecure = set(environment.get("PYCOMPOSE_INSECURE_REGISTRIES", "").replace(",", " ").split())
    for path in files(environment):
        for name, entry in _registries(path).items():
            if "mirrors" in entry:
                mirrors[name] = tuple(entry["mirrors"])
            if "ca" in entry:
                authorities[name] = str(path.parent / Path(entry["ca"]).expanduser())
            if "insecure" in entry:
                (insecure.add if entry["insecure"] else insecure.discard)(name)
    return Settings(mirrors=mirrors, insecure=frozenset(insecure), authorities=authorities)


def _registries(path: Path) -> dict[str, dict[str, Any]]:
    try:
        text = path.read_text()
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except (OSError, UnicodeDecodeError) as error:
        raise ImageError(f"{path} cannot be read: {error}") from error
    import tomllib  # only where there is something to be read

    try:
        tree = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ImageError(f"{path} is not TOML: {error}") from error
    found = tree.get("registry", {})
    for name, entry in found.items() if isinstance(found, dict) else [("", found)]:
        if why := _wrong(entry):
            raise ImageError(
                f"{path}: registry '{name}' {why}", hint="see docs/images.md, section Registries"
            )
    return dict(found)


def _wrong(entry: Any) -> str:
    """What is not as it has to be, or ""."""
    if not isinstance(entry, dict):
        return "is not a table"
    kinds = {"mirrors": list, "insecure": bool, "ca": str}
    for key, value in entry.items():
        if key not in kinds:
            return f"has the unknown key '{key}'"
        if not isinstance(value, kinds[key]):
            return f"has a '{key}' that is no {kinds[key].__name__}"
    mirrors = entry.get("mirrors", [])
    return "" if all(isinstance(text, str) and text for text in mirrors) else "has a mirror that is no text"


def is_loopback(host: str) -> bool:
    """Whether ``host[:port]`` is this machine."""
    name = host.rsplit(":", 1)[0] if not host.endswith("]") else host
    return name in ("localhost", "[::1]") or name.startswith("127.")


def endpoints(reference: Reference, settings: Settings) -> tuple[Endpoint, ...]:
    """Where to pull ``reference`` from: its mirrors, then its registry. Pure.

    This machine may speak plain HTTP, but where it speaks TLS its certificate counts; at an insecure registry
    neither does.
    """
    mirrors = [_mirror(text, settings) for text in settings.mirrors.get(reference.registry, ())]
    return (*mirrors, home(reference, settings))


def home(reference: Reference, settings: Settings) -> Endpoint:
    """The registry that ``reference`` names: where it is pushed to. Pure."""
    host = _HUB_HOST if reference.registry == HUB else reference.registry
    return _endpoint(host, reference.registry in settings.insecure or host in settings.insecure)


def _endpoint(host: str, insecure: bool) -> Endpoint:
    if insecure:
        return Endpoint(host=host, scheme="", verified=False)
    return Endpoint(host=host, scheme="" if is_loopback(host) else "https")


def _mirror(text: str, settings: Settings) -> Endpoint:
    parts = urlsplit(text if "://" in text else f"//{text}")
    if parts.scheme not in ("", "http", "https") or not parts.hostname:
        raise ImageError(
            f"'{text}' is not a mirror", hint="write HOST[:PORT][/PATH], with or without https://"
        )
    found = _endpoint(parts.netloc, parts.netloc in settings.insecure)
    path = parts.path.removeprefix("/").removesuffix("/").removeprefix("v2").strip("/")
    return Endpoint(
        host=found.host,
        scheme=parts.scheme or found.scheme,
        prefix=f"{path}/" if path else "",
        verified=found.verified,
        mirror=True,
    )
