"""The corpus in tests/dockerfiles: each case a Dockerfile, its context, and the image or the error it gives.

A case is one text archive (the format of Go's txtar): ``-- name --`` begins a file of the context; three are
special: ``Dockerfile``, ``options`` (JSON) and ``expected`` (JSON).

options:  args, target, labels, secrets, contexts (name to a directory of the case), modes, links, archives,
          directories, no_trailing_newline (files whose last line end is cut off), dockerfile (its name).
expected: ``error`` (a part of the message), or ``files`` and ``config``. files: what differs from the base
          image, path to [type and mode, "uid:gid", content, target or ""], None for what is gone.
Source of the expectations: a real BuildKit, asked by dockerfile_reference.
"""

from __future__ import annotations

import io
import json
import re
import stat
import tarfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from runtime.image.manifest import ImageConfig
from runtime.image.view import Found, View
from tests.support.busybox import busybox_tree

ROOT = Path(__file__).parent.parent / "dockerfiles"
SPECIAL = ("options", "expected")
PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
Tree = dict[str, list[str]]


def cases() -> list[str]:
    """Every case as group/name."""
    return sorted(str(path.relative_to(ROOT))[:-4] for path in ROOT.glob("*/*.txt"))


def read(name: str) -> dict[str, str]:
    """The files of a case by name; the text before the first is "" (what the case shows)."""
    parts = re.split(r"(?m)^-- (.+) --\n", (ROOT / f"{name}.txt").read_bytes().decode())
    return {"": parts[0], **dict(zip(parts[1::2], parts[2::2], strict=True))}


def options(case: Mapping[str, str]) -> dict[str, Any]:
    """The options of a case."""
    found: dict[str, Any] = json.loads(case.get("options", "{}"))
    return found


def expected(case: Mapping[str, str]) -> dict[str, Any]:
    """What must come out."""
    found: dict[str, Any] = json.loads(case["expected"])
    return found


def lay_out(case: Mapping[str, str], place: Path) -> None:
    """Write the context of a case; every mode is given, the umask does not count."""
    given = options(case)
    for name, text in case.items():
        if name and name not in SPECIAL:
            path = place / name
            path.parent.mkdir(parents=True, exist_ok=True)
            cut = name in given.get("no_trailing_newline", ())
            path.write_bytes(text.removesuffix("\n").encode() if cut else text.encode())
    for name in given.get("directories", ()):
        (place / name).mkdir(parents=True, exist_ok=True)
    for name, target in given.get("links", {}).items():
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).symlink_to(target)
    for path in [place, *place.rglob("*")]:
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() else 0o644)
    for name, members in given.get("archives", {}).items():
        _archive(place / name, members)
    for name, mode in given.get("modes", {}).items():
        (place / name).chmod(int(mode, 8))


def _archive(path: Path, members: Mapping[str, list[Any]]) -> None:
    """A tar, compressed as its name says: name to [mode or "link", uid, gid, content or target]."""
    mode = {"gz": "w:gz", "tgz": "w:gz", "bz2": "w:bz2", "txz": "w:xz", "tar": "w"}[path.name.split(".")[-1]]
    with tarfile.open(path, mode) as tar:
        for name, (kind, uid, gid, *content) in members.items():
            member = tarfile.TarInfo(name.rstrip("/"))
            member.uid, member.gid = uid, gid
            data = "".join(content).encode()
            if kind == "link":
                member.type, member.linkname, data = tarfile.SYMTYPE, content[0], b""
            else:
                member.type = tarfile.DIRTYPE if name.endswith("/") else tarfile.REGTYPE
                member.mode, member.size = int(kind, 8), len(data)
            tar.addfile(member, io.BytesIO(data))


def tree(layers: Iterable[Path]) -> Tree:
    """Everything in an image."""
    view = View(list(layers))
    root = view.find("/")
    assert root is not None
    return dict(_below(view, root))


def _below(view: View, directory: Found) -> Iterable[tuple[str, list[str]]]:
    for _, found in view.entries(directory):
        yield found.path, _entry(found)
        if found.is_dir():
            yield from _below(view, found)


def _entry(found: Found) -> list[str]:
    mode, owner = found.info.st_mode, f"{found.info.st_uid}:{found.info.st_gid}"
    if stat.S_ISLNK(mode):
        return ["link", owner, str(found.host.readlink())]
    if stat.S_ISREG(mode):
        return [f"file {stat.S_IMODE(mode):04o}", owner, _content(found.host.read_bytes())]
    kind = "directory" if stat.S_ISDIR(mode) else "other"
    return [f"{kind} {stat.S_IMODE(mode):04o}", owner, ""]


def tar_tree(archive: Path) -> Tree:
    """Everything in a tar of a root file system, as ``tree`` gives it; hard links are files of their own."""
    with tarfile.open(archive, errors="surrogateescape") as tar:
        members = ((member.name.removeprefix("./").strip("/"), member) for member in tar)
        return {f"/{name}": _member(tar, member) for name, member in members if name not in ("", ".")}


def _member(tar: tarfile.TarFile, member: tarfile.TarInfo) -> list[str]:
    owner = f"{member.uid}:{member.gid}"
    if member.issym():
        return ["link", owner, member.linkname]
    if member.isdir():
        return [f"directory {member.mode & 0o7777:04o}", owner, ""]
    data = tar.extractfile(member)
    if data is None:
        return [f"other {member.mode & 0o7777:04o}", owner, ""]
    return [f"file {member.mode & 0o7777:04o}", owner, _content(data.read())]


def _content(data: bytes) -> str:
    return data.decode("utf-8", "backslashreplace") if len(data) < 4096 else f"{len(data)} bytes"


def make_base(root: Path, program: str) -> None:
    """Fill ``root`` with what the image busybox of the corpus holds; what every RUN mounts on is there."""
    busybox_tree(root, program)
    for name in ("dev", "proc", "sys"):
        (root / name).mkdir()


def changes(busybox: Tree, made: Tree) -> dict[str, list[str] | None]:
    """What ``made`` has otherwise than the image busybox, or than nothing when it is not made from that."""
    base = busybox if "/bin/busybox" in made else {}
    found: dict[str, list[str] | None] = {path: None for path in base if path not in made}
    found.update((path, entry) for path, entry in made.items() if base.get(path) != entry)
    return dict(sorted(found.items()))


def settings(config: ImageConfig) -> dict[str, Any]:
    """What of a configuration is not as in the base image, in the words of ``docker inspect``."""
    health = config.healthcheck
    found = {
        "Env": [item for item in config.env if item != PATH],
        "Cmd": list(config.cmd),
        "Entrypoint": list(config.entrypoint),
        "User": config.user,
        "WorkingDir": config.working_dir,
        "Volumes": sorted(config.volumes),
        "ExposedPorts": sorted(config.exposed_ports),
        "Labels": dict(sorted(config.labels.items())),
        "StopSignal": config.stop_signal,
        "Healthcheck": health and _health(list(health.test), health.interval, health.timeout,
                                          health.start_period, health.start_interval, health.retries),
        "Shell": list(config.shell),
        "OnBuild": list(config.on_build),
        "Author": config.author,
    }  # fmt: skip
    return _telling(found)


def docker_settings(inspected: Mapping[str, Any]) -> dict[str, Any]:
    """The same of what ``docker image inspect`` gives."""
    config = inspected["Config"]
    health = config.get("Healthcheck") or None
    found = {key: config.get(key) for key in ("Cmd", "Entrypoint", "User", "StopSignal", "Shell", "OnBuild")}
    found["Env"] = [item for item in config.get("Env") or () if item != PATH]
    found["WorkingDir"] = config.get("WorkingDir", "").rstrip("/")
    found["Volumes"] = sorted(config.get("Volumes") or ())
    found["ExposedPorts"] = sorted(config.get("ExposedPorts") or ())
    found["Labels"] = dict(sorted((config.get("Labels") or {}).items()))
    found["Author"] = inspected.get("Author", "")
    names = ("Interval", "Timeout", "StartPeriod", "StartInterval")
    times = [(health or {}).get(name, 0) / 1e9 for name in names]
    found["Healthcheck"] = health and _health(health["Test"], *times, health.get("Retries", 0))
    return _telling(found)


def _health(test: list[str], *numbers: float) -> dict[str, Any]:
    names = ("interval", "timeout", "start_period", "start_interval", "retries")
    return {"test": test, **{name: number for name, number in zip(names, numbers, strict=True) if number}}


def _telling(found: dict[str, Any]) -> dict[str, Any]:
    if found["WorkingDir"] == "/":
        found["WorkingDir"] = ""
    return {key: value for key, value in sorted(found.items()) if value and (key, value) != ("Cmd", ["sh"])}
