"""``RUN --mount``: from its words to mounts of the container that runs.

Comes in:  the flag's text; what secrets, contexts and stages there are.
Goes out:  Wanted values (pure); then runtime.spec.Mount values and environment variables.
Not here:  mounting (runtime.rootfs).
Source: Dockerfile reference, section RUN --mount.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from runtime.build.context import Item, Source
from runtime.build.copy import Layer, Wish, copy
from runtime.build.spec import Secret
from runtime.errors import BuildFailed
from runtime.image.dockerfile.errors import DockerfileInvalid
from runtime.image.store import Store
from runtime.image.view import View
from runtime.spec import Mount

_KEYS = {
    "bind": {"target", "source", "from", "rw"},
    "cache": {"id", "target", "ro", "sharing", "from", "source", "mode", "uid", "gid"},
    "tmpfs": {"target", "size"},
    "secret": {"id", "target", "required", "mode", "uid", "gid", "env"},
    "ssh": {"id", "target", "required", "mode", "uid", "gid"},
}
_ALIASES = {"dst": "target", "destination": "target", "src": "source", "readwrite": "rw", "readonly": "ro"}
_UNITS = {"": 1, "b": 1, "k": 1024, "kb": 1024, "m": 1024**2, "mb": 1024**2, "g": 1024**3, "gb": 1024**3}


@dataclass(frozen=True, slots=True)
class Wanted:
    """One ``--mount``; values by their long names, "true" for a bare key."""

    type: str
    values: Mapping[str, str]

    def get(self, key: str, default: str = "") -> str:
        """The value of ``key``."""
        return self.values.get(key, default)

    def on(self, key: str) -> bool:
        """Whether a switch is on."""
        return self.get(key).lower() in ("true", "1")


def read(text: str, expand: Callable[[str], str], line: int) -> Wanted:
    """Read one flag. Raises DockerfileInvalid."""
    values: dict[str, str] = {}
    for part in text.split(","):
        key, equals, value = part.partition("=")
        key = _ALIASES.get(key.lower(), key.lower())
        values[key] = expand(value) if equals else "true"
    kind = values.pop("type", "bind")
    if kind not in _KEYS:
        raise DockerfileInvalid(f"--mount has the unknown type '{kind}'", line=line)
    if "ro" in values and kind == "bind":
        values["rw"] = "false" if values.pop("ro") == "true" else "true"
    if unknown := sorted(set(values) - _KEYS[kind]):
        raise DockerfileInvalid(f"--mount=type={kind} has no key '{unknown[0]}'", line=line)
    if kind in ("bind", "cache", "tmpfs") and not values.get("target"):
        raise DockerfileInvalid(f"--mount=type={kind} needs a target", line=line)
    if values.get("sharing", "shared") not in ("shared", "private", "locked"):
        raise DockerfileInvalid("sharing is shared, private or locked", line=line)
    return Wanted(kind, values)


@dataclass(slots=True)
class Mounter:
    """Turns what is wanted into mounts. work: a directory that is deleted after the RUN; held: locks until
    then."""

    store: Store
    source: Callable[[str], Source]
    secrets: Mapping[str, Secret]
    ssh: str
    absolute: Callable[[str], str]
    work: Path
    held: ExitStack

    def mount(self, wanted: Wanted) -> tuple[list[Mount], dict[str, str]]:
        """Mounts and variables for one flag. Raises BuildFailed."""
        if wanted.type == "bind":
            return [self._bind(wanted)], {}
        if wanted.type == "cache":
            return [self._cache(wanted)], {}
        if wanted.type == "tmpfs":
            size = f"size={size_of(wanted.get('size'))}," if wanted.get("size") else ""
            return [
                Mount(type="tmpfs", target=self.absolute(wanted.get("target")), options=f"{size}mode=1777")
            ], {}
        return self._secret(wanted) if wanted.type == "secret" else self._ssh(wanted)

    def _bind(self, wanted: Wanted) -> Mount:
        source = self.source(wanted.get("from"))
        item = source.find(wanted.get("source", "/"))
        if item is None:
            raise BuildFailed(f"--mount: '{wanted.get('source', '/')}' not found")
        target, rw = self.absolute(wanted.get("target")), wanted.on("rw")
        host = item.host if not rw and not source.owners else self._materialise(source, item)
        return Mount(type="bind", source=str(host), target=target, read_only=not rw)

    def _materialise(self, source: Source, item: Item) -> Path:
        """A copy of ``item``: so that writes are lost, and a stage's merged layers are one directory."""
        home = self.work / f"bind-{len(list(self.work.iterdir()))}"
        wish = Wish(owner=None if source.owners else (0, 0))
        name = "/copy" if item.is_dir() else f"/{item.host.name}"
        copy(Layer(home, View([])), source, [item], name, wish, several=False)
        return home / name.lstrip("/")

    def _cache(self, wanted: Wanted) -> Mount:
        target = self.absolute(wanted.get("target"))
        name = wanted.get("id") or target
        home = self.store.root / "cache" / hashlib.sha256(name.encode()).hexdigest()[:32]
        sharing = wanted.get("sharing", "shared")
        if sharing == "private":
            home = self.work / f"cache-{home.name}"
        if sharing == "locked":
            self.held.enter_context(self.store.locked(f"cache {name}"))
        if not home.exists():
            self._new_cache(home, wanted)
        return Mount(type="bind", source=str(home), target=target, read_only=wanted.on("ro"))

    def _new_cache(self, home: Path, wanted: Wanted) -> None:
        home.parent.mkdir(mode=0o711, exist_ok=True)
        if wanted.get("from"):
            source = self.source(wanted.get("from"))
            item = source.find(wanted.get("source", "/"))
            if item is not None:
                self._materialise(source, item).rename(home)
                return
        home.mkdir(exist_ok=True)
        os.chown(home, int(wanted.get("uid", "0")), int(wanted.get("gid", "0")))
        home.chmod(int(wanted.get("mode", "0755"), 8))

    def _secret(self, wanted: Wanted) -> tuple[list[Mount], dict[str, str]]:
        target = wanted.get("target")
        name = wanted.get("id") or target.rpartition("/")[2]
        secret = self.secrets.get(name)
        if secret is None:
            if wanted.on("required"):
                raise BuildFailed(
                    f"the secret '{name}' is required and not given", hint="name it under build: secrets:"
                )
            return [], {}
        data = secret.value if secret.value is not None else _read(secret.file, name)
        variables = {wanted.get("env"): data.decode("utf-8", "surrogateescape")} if wanted.get("env") else {}
        if variables and not target:
            return [], variables
        path = (
            self.work
            / f"secret-{hashlib.sha256(name.encode()).hexdigest()[:16]}-{len(list(self.work.iterdir()))}"
        )
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(fd, "wb") as out:
            out.write(data)
        os.chown(path, int(wanted.get("uid", "0")), int(wanted.get("gid", "0")))
        path.chmod(int(wanted.get("mode", "0400"), 8))
        where = self.absolute(target or f"/run/secrets/{name}")
        return [Mount(type="bind", source=str(path), target=where, read_only=True)], variables

    def _ssh(self, wanted: Wanted) -> tuple[list[Mount], dict[str, str]]:
        if not self.ssh or not Path(self.ssh).exists() or not stat.S_ISSOCK(Path(self.ssh).stat().st_mode):
            if wanted.on("required"):
                raise BuildFailed(
                    "this RUN requires an ssh agent and none is given", hint="set 'ssh: default' under build:"
                )
            return [], {}
        target = self.absolute(wanted.get("target") or "/run/buildkit/ssh_agent.0")
        return [Mount(type="bind", source=self.ssh, target=target)], {"SSH_AUTH_SOCK": target}


def _read(file: str, name: str) -> bytes:
    try:
        return Path(file).read_bytes()
    except OSError as error:
        raise BuildFailed(f"the secret '{name}' cannot be read: {error}") from error


def size_of(text: str) -> int:
    """Bytes of a size such as 64m. Raises BuildFailed."""
    digits = text.rstrip("bkmgBKMG")
    unit = text[len(digits) :].lower()
    if not digits.isdigit() or unit not in _UNITS:
        raise BuildFailed(f"'{text}' is not a size such as 64m")
    return int(digits) * _UNITS[unit]


def parts_of_key(wanted: Sequence[Wanted]) -> list[object]:
    """What of the mounts decides the result: all words but those of secrets and agents."""
    return [[w.type, sorted(w.values.items())] for w in wanted if w.type not in ("secret", "ssh")]
