"""Find the Debian archive that this host is configured for.

Comes in:  the codename of a Debian release, the host's /etc (apt's files), the environment.
Goes out:  Sources: where main, -updates and -security of it are, the proxy, whether dates are checked.
Not here:  fetching (fetch), trust (openpgp): ``signed-by`` is ignored, only keys that we ship count.
Source: sources.list(5), apt.conf(5), apt-transport-mirror(1).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from urllib.parse import urlsplit

from schemas.frozen import dataclass

DEFAULT = "http://deb.debian.org/debian"
DEFAULT_SECURITY = "http://deb.debian.org/debian-security"
OVERRIDE = "PYCOMPOSE_DEBIAN_MIRROR"
KEYRING = "PYCOMPOSE_DEBIAN_KEYRING"  # one more file of public keys, for a mirror that signs for itself
CHECK_DATES = "PYCOMPOSE_CHECK_VALID_UNTIL"  # "no": accept an index that has expired
CODENAMES = ("bullseye", "bookworm", "trixie", "forky", "sid", "oldstable", "stable", "testing", "unstable")


@dataclass(frozen=True, slots=True, kw_only=True)
class Suite:
    """One suite of an archive: ``{uri}/dists/{name}/InRelease``.

    needed: without it nothing is made; else it is left out, with a note, where it cannot be read.
    """

    uri: str
    name: str
    needed: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """suites: main first. origin: the file or variable that names the mirror. proxy: URL, or "" for none.

    keyring: a file of keys that are trusted beside the shipped ones, or "".
    """

    suites: tuple[Suite, ...]
    origin: str
    proxy: str = ""
    check_dates: bool = True
    keyring: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One configured (uri, suite) with the component main, and the file that has it."""

    uri: str
    suite: str
    origin: str


def sources(codename: str, environment: Mapping[str, str], etc: Path = Path("/etc")) -> Sources:
    """Say where the packages of release ``codename`` are to be fetched from.

    First PYCOMPOSE_DEBIAN_MIRROR (main, optionally a blank and security); then, on a Debian host, what apt
    is configured for, of that release or else the same mirror's other release; then the public mirror.
    """
    settings = configuration(etc)
    main, security, origin = _override(environment) or _configured(codename, etc) or _public()
    return Sources(
        suites=(
            Suite(uri=main, name=codename),
            Suite(uri=main, name=f"{codename}-updates", needed=False),
            Suite(uri=security, name=f"{codename}-security", needed=False),
        ),
        origin=origin,
        proxy=_proxy(settings, environment, main),
        check_dates=_check_dates(settings, environment),
        keyring=environment.get(KEYRING, ""),
    )


def _override(environment: Mapping[str, str]) -> tuple[str, str, str] | None:
    words = environment.get(OVERRIDE, "").split()
    if not words:
        return None
    main = words[0].rstrip("/")
    return main, words[1].rstrip("/") if len(words) > 1 else f"{main}-security", OVERRIDE


def _public() -> tuple[str, str, str]:
    return DEFAULT, DEFAULT_SECURITY, "the public default"


def _configured(codename: str, etc: Path) -> tuple[str, str, str] | None:
    if not is_debian(etc):
        return None
    found = list(entries(etc))
    main = _pick(found, codename, "")
    if main is None:
        return None
    security = _pick(found, codename, "-security")
    return main.uri, security.uri if security else DEFAULT_SECURITY, main.origin


def _pick(found: list[Entry], codename: str, suffix: str) -> Entry | None:
    """The entry of that very release, else one of another release on the same kind of archive."""
    exact = [entry for entry in found if entry.suite == codename + suffix]
    others = [entry for entry in found if entry.suite in {name + suffix for name in CODENAMES}]
    # third parties also call a suite "bookworm" and a component "main": the archive's path tells them apart
    ranked = sorted(exact, key=lambda entry: "debian" not in urlsplit(entry.uri).path) + others
    return ranked[0] if ranked else None


def is_debian(etc: Path) -> bool:
    """Is the host Debian itself, by os-release(5)? Derivatives have archives of their own."""
    try:
        return bool(re.search(r'^ID="?debian"?$', (etc / "os-release").read_text(), re.M))
    except OSError:
        return False


def entries(etc: Path) -> Iterator[Entry]:
    """Every configured binary source with the component main, one-line files first."""
    lists = [etc / "apt/sources.list", *sorted((etc / "apt/sources.list.d").glob("*.list"))]
    for path in lists:
        yield from one_line(_read(path), str(path))
    for path in sorted((etc / "apt/sources.list.d").glob("*.sources")):
        yield from deb822(_read(path), str(path))


def one_line(text: str, origin: str) -> Iterator[Entry]:
    """Read ``deb [options] uri suite component...`` lines."""
    for line in text.splitlines():
        match = re.match(r"\s*deb\s+(?:\[[^\]]*\]\s+)?(\S+)\s+(\S+)((?:\s+[^#\s]+)*)", line)
        if match and "main" in match[3].split():
            yield from _entries([match[1]], [match[2]], origin)


def deb822(text: str, origin: str) -> Iterator[Entry]:
    """Read stanzas of ``Types: / URIs: / Suites: / Components:``."""
    plain = "\n".join(line for line in text.splitlines() if not line.startswith("#"))
    for stanza in re.split(r"\n\s*\n", plain):
        unfolded = re.sub(r"\n[ \t]+", " ", stanza)
        fields = {
            name.strip().lower(): value.split()
            for name, colon, value in (line.partition(":") for line in unfolded.splitlines())
            if colon
        }
        enabled = fields.get("enabled", ["yes"])[:1] != ["no"]
        if enabled and "deb" in fields.get("types", ()) and "main" in fields.get("components", ()):
            yield from _entries(fields.get("uris", []), fields.get("suites", []), origin)


def _entries(uris: list[str], suites: list[str], origin: str) -> Iterator[Entry]:
    for uri in uris:
        for real in _mirrors(uri):
            for suite in suites:
                yield Entry(uri=real.rstrip("/"), suite=suite.rstrip("/"), origin=origin)


def _mirrors(uri: str) -> list[str]:
    """Where a URI leads; a ``mirror+file:`` list is read, transports that we do not speak are dropped."""
    if uri.startswith("mirror+file:"):
        lines = _read(Path("/" + uri.partition(":")[2].lstrip("/"))).splitlines()
        words = [line.split()[0] for line in lines if line.strip() and not line.startswith("#")]
        return [word for word in words if word.startswith(("http://", "https://"))]
    return [uri] if uri.startswith(("http://", "https://")) else []


def configuration(etc: Path) -> dict[str, str]:
    """Read apt's configuration files in order, the later overriding; names in lower case."""
    values: dict[str, str] = {}
    directory = etc / "apt/apt.conf.d"
    names = [path for path in sorted(directory.glob("*")) if re.fullmatch(r"[\w-]+(\.conf)?", path.name)]
    for path in [*names, etc / "apt/apt.conf"]:
        values.update(settings(_read(path)))
    return values


def settings(text: str) -> dict[str, str]:
    """Flatten one apt.conf file: ``Acquire { http { Proxy "x"; } }`` gives ``acquire::http::proxy``."""
    token = re.compile(r'"([^"]*)"|//[^\n]*|/\*.*?\*/|#[^\n]*|([{};])|([^\s"{};]+)', re.S)
    values: dict[str, str] = {}
    scopes: list[str] = []
    words: list[str] = []
    for match in token.finditer(text):
        if match[1] is not None or match[3]:
            words.append(match[1] if match[1] is not None else match[3])
        elif match[2] == "{":
            scopes.append(words[0] if words else "")
            words = []
        elif match[2] == "}":
            scopes[-1:] = []
            words = []
        elif match[2] == ";":
            if len(words) == 2:
                values["::".join([*scopes, words[0]]).lower()] = words[1]
            words = []
    return values


def _proxy(settings: Mapping[str, str], environment: Mapping[str, str], uri: str) -> str:
    """The proxy for ``uri``: apt's for the host, for the scheme, then the environment; DIRECT is none."""
    parts = urlsplit(uri)
    host, scheme = parts.hostname or "", parts.scheme
    names = (f"acquire::{scheme}::proxy::{host}", f"acquire::{scheme}::proxy")
    found = next((settings[name] for name in names if settings.get(name)), "")
    if not found and not _bypassed(host, environment):
        found = environment.get(f"{scheme}_proxy", "")
    return "" if found.upper() in ("DIRECT", "FALSE") else found


def _bypassed(host: str, environment: Mapping[str, str]) -> bool:
    names = [name.strip().lstrip(".") for name in environment.get("no_proxy", "").split(",") if name.strip()]
    return any(name == "*" or host == name or host.endswith("." + name) for name in names)


def _check_dates(settings: Mapping[str, str], environment: Mapping[str, str]) -> bool:
    wish = environment.get(CHECK_DATES) or settings.get("acquire::check-valid-until", "true")
    return wish.lower() not in ("no", "false", "0", "off", "without", "disable")


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
