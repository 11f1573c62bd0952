"""``RUN --mount``: from its words to mounts of the container that runs.

Comes in:  the flag's text; what secrets, contexts and stages there are.
Goes out:  Wanted values (pure); then runtime.spec.Mount values and environment variables.
Not here:  mounting (runtime.rootfs).
Source: Dockerfile reference, section RUN --mount.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from runtime.build import memory
from runtime.build.agents import Agents, relay
from runtime.build.context import Item, Source
from runtime.build.copy import Layer, Wish, copy
from runtime.build.spec import Secret
from runtime.errors import BuildFailed
from runtime.image.cachemounts import note_use
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
        if key == "from" and "$" in value:
            raise DockerfileInvalid(
                "'from' doesn't support variable expansion",
                line=line,
                hint="define a stage 'FROM $ARG AS name' with a global ARG and mount from that",
            )
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
    for key, form in (("uid", r"\d+"), ("gid", r"\d+"), ("mode", r"0?[0-7]{1,4}")):
        if key in values and not re.fullmatch(form, values[key]):
            raise DockerfileInvalid(f"--mount={key}={values[key]} is not a number", line=line)
    return Wanted(kind, values)


class Passing:
    """Where what only one RUN sees is put: on disk, or in memory for what must never be written to one.

    wanted: the directory in memory to take if it is one.
    """

    def __init__(self, work: Path, wanted: str, held: ExitStack) -> None:
        self.disk, self._wanted, self._held = work / "mounts", wanted, held
        self.disk.mkdir(mode=0o711)
        self._memory: Path | None = None
        self._count = 0
        self._secrets: list[Path] = []

    def name(self, kind: str) -> str:
        """A file name of its own."""
        self._count += 1
        return f"{kind}-{self._count}"

    def memory(self) -> Path:
        """A directory in memory, removed after the RUN."""
        if self._memory is None:
            self._memory = memory.directory(self._wanted, self._held)
        return self._memory

    def secret(self, data: bytes, *, uid: int, gid: int, mode: int) -> Path:
        """A file with ``data``, in memory."""
        path = self.memory() / self.name("secret")
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(fd, "wb") as out:
            out.write(data)
        os.chown(path, uid, gid)
        path.chmod(mode)
        self._secrets.append(path)
        return path

    def forget(self) -> None:
        """Unlink the secrets: once they are mounted only the container has them, whatever becomes of us."""
        for path in self._secrets:
            path.unlink(missing_ok=True)
        self._secrets.clear()


@dataclass(slots=True)
class Mounter:
    """Turns what is wanted into mounts. held: locks and relays until the RUN has ended."""

    store: Store
    source: Callable[[str], Source]
    secrets: Mapping[str, Secret]
    agents: Agents
    absolute: Callable[[str], str]
    passing: Passing
    held: ExitStack
    _agents: int = 0

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
        direct = not rw and (source.plain or not item.is_dir())
        host = Path(item.host) if direct else self._materialise(source, item, link=not rw)
        return Mount(type="bind", source=str(host), target=target, read_only=not rw)

    def _materialise(self, source: Source, item: Item, *, link: bool = False) -> Path:
        """A copy of ``item``: so that writes are lost, that what is ignored is not there, and that a stage's
        merged layers are one directory. link: files of the store need not be copied, nobody can write."""
        home = self.passing.disk / self.passing.name("bind")
        wish = Wish(owner=None if source.owners else (0, 0), link=link and source.owners)
        name = "/copy" if item.is_dir() else f"/{os.path.basename(item.host)}"  # noqa: PTH119 - a text
        copy(Layer(home, View([])), source, [item], name, wish)
        return home / name.lstrip("/")

    # --- caches

    def _cache(self, wanted: Wanted) -> Mount:
        target = self.absolute(wanted.get("target"))
        name = wanted.get("id") or target
        first = self.store.root / "cache" / hashlib.sha256(name.encode()).hexdigest()[:32]
        home = self._place(first, wanted)
        note_use(home)
        return Mount(type="bind", source=str(home), target=target, read_only=wanted.on("ro"))

    def _place(self, first: Path, wanted: Wanted) -> Path:
        """The directory of a cache. locked: one RUN at a time; private: another one for whom it is in use."""
        first.parent.mkdir(mode=0o711, exist_ok=True)
        sharing, number = wanted.get("sharing", "shared"), 1
        while True:
            home = first if number == 1 else first.with_name(f"{first.name}-{number}")
            with self.store.locked(f"cache {home.name}"):
                if not home.exists():
                    self._new_cache(home, wanted)
            if sharing == "shared" or self._hold(home, wait=sharing == "locked"):
                return home
            number += 1

    def _hold(self, home: Path, *, wait: bool) -> bool:
        """Lock a cache until the RUN has ended; False when another has it and we do not wait."""
        fd = os.open(home, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            os.close(fd)
            return False
        self.held.callback(os.close, fd)
        return True

    def _new_cache(self, home: Path, wanted: Wanted) -> None:
        if wanted.get("from"):
            source = self.source(wanted.get("from"))
            item = source.find(wanted.get("source", "/"))
            if item is not None:
                self._materialise(source, item).rename(home)
                return
        made = self.passing.disk / self.passing.name("cache")
        made.mkdir()
        os.chown(made, int(wanted.get("uid", "0")), int(wanted.get("gid", "0")))
        made.chmod(int(wanted.get("mode", "0755"), 8))
        made.rename(home)

    # --- secrets and agents

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
        path = self.passing.secret(
            data,
            uid=int(wanted.get("uid") or secret.uid or 0),
            gid=int(wanted.get("gid") or secret.gid or 0),
            mode=int(wanted.get("mode"), 8) if wanted.get("mode") else secret.mode or 0o400,
        )
        where = self.absolute(target or f"/run/secrets/{name}")
        return [Mount(type="bind", source=str(path), target=where, read_only=True)], variables

    def _ssh(self, wanted: Wanted) -> tuple[list[Mount], dict[str, str]]:
        name = wanted.get("id") or "default"
        agent = self.agents.socket(name)
        if not agent:
            if wanted.on("required"):
                raise BuildFailed(
                    f"this RUN requires the ssh agent '{name}' and none is given",
                    hint="write 'ssh: [default]' under 'build:' with an agent running, or --ssh",
                )
            return [], {}
        target = self.absolute(wanted.get("target") or f"/run/buildkit/ssh_agent.{self._agents}")
        self._agents += 1
        path = self.passing.memory() / self.passing.name("agent")
        owner = {"uid": int(wanted.get("uid", "0")), "gid": int(wanted.get("gid", "0"))}
        self.held.enter_context(relay(agent, path, mode=int(wanted.get("mode", "0600"), 8), **owner))
        return [Mount(type="bind", source=str(path), target=target)], {"SSH_AUTH_SOCK": target}


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
