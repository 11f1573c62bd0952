"""Resolved models of earlier loads, found again by everything that went into them, and sealed by it.

Comes in:  a LoadRequest; after a full load, its Entry.
Goes out:  the Entry of an earlier load whose files and variables are all as they were, or None.
Not here:  making one (``resolve``).

The file is named by the request (flags, directory). In clear it says which files and variables the model was
made of, and the project. The model itself may hold values of secrets: it is sealed with a key that comes from
the contents of those files and the values of those variables and is stored nowhere. Who lacks one of them
cannot read it, and a key that fits says that nothing has changed. The directory is volatile, 0700, and has at
most ``MOST`` files and ``LARGEST`` bytes; ``down`` removes what is the project's. See docs/adr/0106.
"""

from __future__ import annotations

import contextlib
import json
import os
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from compose.load.request import LoadRequest, Reader, digest
from schemas.frozen import dataclass

if TYPE_CHECKING:
    from hashlib import blake2b
else:
    try:  # hashlib would load OpenSSL as well: 3 ms of every command
        from _blake2 import blake2b
    except ImportError:
        from hashlib import blake2b

VERSION = 2
MOST, LARGEST = 64, 16 * 1024 * 1024
LONG = 16 * 1024  # bytes from which compressing costs less than sealing all of it
_SUFFIX = ".model"
# variables that steer discovery, whether a file mentions them or not
ALWAYS = (
    "COMPOSE_FILE", "COMPOSE_PATH_SEPARATOR", "COMPOSE_PROJECT_NAME", "COMPOSE_PROFILES",
    "COMPOSE_ENV_FILES", "COMPOSE_DISABLE_ENV_FILE", "HOME",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One resolved model and what it depends on; all of it JSON-able.

    order:     the start order, {} as long as nobody asked for it.
    files:     absolute path -> SHA-256, or None for a file that was missing.
    variables: name -> fingerprint of its value, or None when it was not set.
    """

    canonical: dict[str, Any]
    order: dict[str, Any]
    warnings: list[str]
    files: dict[str, str | None]
    variables: dict[str, str | None]


def directory(environment: Mapping[str, str]) -> Path:
    """Where models are cached: in PYCOMPOSE_RUN for root, else in what is the user's own."""
    if run := environment.get("PYCOMPOSE_RUN"):
        return Path(run, ".models")
    if os.geteuid() == 0:
        return Path("/run/pycompose/.models")
    if runtime := environment.get("XDG_RUNTIME_DIR"):
        return Path(runtime, "pycompose", "models")
    return _of_the_user(environment)


def _of_the_user(environment: Mapping[str, str]) -> Path:
    cache = environment.get("XDG_CACHE_HOME") or str(Path(environment.get("HOME") or "/", ".cache"))
    return Path(cache, "pycompose", "models")


def _former(environment: Mapping[str, str]) -> Path:
    """Where versions up to 0.1 kept models, in clear."""
    if data := environment.get("PYCOMPOSE_DATA"):
        return Path(data, "cache", "models")
    return Path("/var/lib/pycompose/cache/models") if os.geteuid() == 0 else _of_the_user(environment)


def fingerprint(value: str | None) -> str | None:
    """A hash of a variable's value; None stays None."""
    return None if value is None else digest(b"variable\0" + os.fsencode(value))


def find(store: Path, request: LoadRequest, reader: Reader) -> Entry | None:
    """The cached result of ``request`` if nothing it depends on has changed."""
    try:
        if not _ours(store):
            return None
        path = store / _name(request)
        head, _, body = path.read_bytes().partition(b"\n")
        told = json.loads(head)
        files = {one: _digest(one, known, reader) for one, known in told["files"].items()}
        variables = {name: fingerprint(request.environment.get(name)) for name in told["variables"]}
        content = json.loads(_open(body, _key(files, variables)))
        os.utime(path)
        return Entry(files=files, variables=variables, **content)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def keep(store: Path, request: LoadRequest, entry: Entry) -> None:
    """Write ``entry`` for the next time; a directory that cannot be written is no error."""
    fields = vars(entry)
    content = {key: fields[key] for key in ("canonical", "order", "warnings")}
    files = {path: content is not None for path, content in entry.files.items()}
    head = {"project": entry.canonical["name"], "files": files, "variables": list(entry.variables)}
    sealed = _seal(json.dumps(content).encode(), _key(entry.files, entry.variables))
    with contextlib.suppress(OSError):
        for folder in (store.parent, store):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not _ours(store):
            return
        path = store / _name(request)
        temporary = path.with_suffix(f".{os.getpid()}")
        try:
            flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW
            with open(os.open(temporary, flags, 0o600), "wb") as file:
                file.write(json.dumps(head).encode() + b"\n" + sealed)
            temporary.replace(path)
        except OSError:
            temporary.unlink(missing_ok=True)
            raise
        _bound(store)
        _clear(store, request.environment)


def forget(environment: Mapping[str, str], project: str) -> None:
    """Remove what is cached of ``project``, and what earlier versions left."""
    store = directory(environment)
    with contextlib.suppress(OSError):
        for path, _ in _stored(store):
            if path.name.endswith(_SUFFIX) and _project(path) == project:
                path.unlink(missing_ok=True)
    with contextlib.suppress(OSError):
        _clear(store, environment)


def _project(path: Path) -> str:
    try:
        with open(path, "rb") as file:
            return str(json.loads(file.readline())["project"])
    except (OSError, ValueError, KeyError, TypeError):
        return ""


def _stored(store: Path) -> Iterator[tuple[Path, os.stat_result]]:
    with os.scandir(store) as entries:
        for entry in entries:
            yield Path(entry.path), entry.stat(follow_symlinks=False)


def _bound(store: Path) -> None:
    """Remove the files that were not used for longest, and any that is none of this version's."""
    total = 0
    stored = sorted(_stored(store), key=lambda one: -one[1].st_mtime_ns)
    for number, (path, known) in enumerate(stored, 1):
        total += known.st_size
        if number > MOST or total > LARGEST or path.suffix == ".json":
            path.unlink(missing_ok=True)


def _clear(store: Path, environment: Mapping[str, str]) -> None:
    """Remove the models that earlier versions kept in clear; a test's own ``store`` clears nothing else."""
    former = _former(environment)
    if store == directory(environment) and former != store and former.is_dir():
        import shutil

        shutil.rmtree(former, ignore_errors=True)


def _ours(store: Path) -> bool:
    """Whether nobody else can write to ``store``: what lies there is believed."""
    known = os.stat(store, follow_symlinks=False)
    return stat.S_ISDIR(known.st_mode) and known.st_uid == os.geteuid() and not known.st_mode & 0o022


def _key(files: Mapping[str, str | None], variables: Mapping[str, str | None]) -> bytes:
    """A key that only those inputs give."""
    text = json.dumps([VERSION, sorted(files.items()), sorted(variables.items())])
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=32, person=b"model").digest()


def _seal(data: bytes, key: bytes) -> bytes:
    """A nonce, a keyed digest, and ``data``, compressed if it is long, under a stream that the key gives."""
    if len(data) >= LONG:
        import zlib

        data = b"z" + zlib.compress(data, 1)
    nonce = os.urandom(16)
    sealed = _mixed(data, nonce, key)
    return nonce + blake2b(nonce + sealed, key=key, digest_size=16).digest() + sealed


def _open(data: bytes, key: bytes) -> bytes:
    """What was sealed with ``key``. Raises ValueError for another key."""
    nonce, tag, sealed = data[:16], data[16:32], data[32:]
    if blake2b(nonce + sealed, key=key, digest_size=16).digest() != tag:
        raise ValueError("another key")
    plain = _mixed(sealed, nonce, key)
    if plain[:1] != b"z":
        return plain
    import zlib

    return zlib.decompress(plain[1:])


def _mixed(data: bytes, nonce: bytes, key: bytes) -> bytes:
    """``data`` and the stream of keyed digests of the nonce and a counter, bit by bit."""
    blocks = range(0, len(data), 64)
    stream = b"".join([blake2b(nonce + i.to_bytes(8, "little"), key=key).digest() for i in blocks])
    mixed = int.from_bytes(data, "little") ^ int.from_bytes(stream[: len(data)], "little")
    return mixed.to_bytes(len(data), "little")


def _name(request: LoadRequest) -> str:
    parts = [
        VERSION, _edition(), request.files, request.project_name, request.project_directory,
        request.env_files, request.profiles, request.cwd, sorted(request.services), request.omit,
        request.separator, request.all_resources,
    ]  # fmt: skip
    return digest(json.dumps(parts).encode("utf-8", "surrogatepass")) + _SUFFIX


def _edition() -> int:
    """When the youngest source of the loader was installed: other code, other models."""
    with os.scandir(Path(__file__).parent) as sources:
        return max((one.stat().st_mtime_ns for one in sources if one.name.endswith(".py")), default=0)


def _digest(path: str, known: bool, reader: Reader) -> str | None:
    """The digest of a file, None for one that was missing and still is. Raises OSError, ValueError."""
    if path == "-":
        return digest(reader.read("-", "<stdin>"))
    if known:
        return digest(Path(path).read_bytes())
    if reader.exists(path):
        raise ValueError(f"{path} is new")
    return None
