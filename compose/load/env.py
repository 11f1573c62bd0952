"""``env_file`` and ``label_file`` of services, read and laid under ``environment`` and ``labels``.

Comes in:  the active services of the merged tree, paths absolute.
Goes out:  the same services with final ``environment`` and ``labels``; the file attributes are gone.
Source: Compose Specification, services: env_file, label_file.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from compose.errors import FileInvalid, Where
from compose.load import dotenv
from compose.load.files import shown
from compose.load.forms import Base
from compose.load.notes import Notes
from compose.load.request import Reader
from compose.load.tree import Map, Seq

_TARGETS = {"env_file": "environment", "label_file": "labels"}


def merge_env_files(
    services: Map, environment: Mapping[str, str], reader: Reader, cwd: str, notes: Notes, base: Base
) -> None:
    """Fill ``environment`` and ``labels`` of every service from its files, paths from ``base``."""
    for name, service in services.items():
        for key, target in _TARGETS.items():
            if key == "env_file" and "env-files" in notes.omit:
                continue
            entries = service.pop(key, None)
            if entries:
                entries = Seq((_absolute(one, base), at) for one, at in entries.placed())
                where = service.at.get(key)
                own = {k: str(v) for k, v in (service.get(target) or {}).items() if v is not None}
                # what a line may refer to; label files know each other only
                known = {**own, **environment} if key == "env_file" else {}
                values = _read_all(entries, (name, key), where, known, reader, cwd, notes)
                service.put(target, _under(values, service.get(target)), service.at.get(target) or where)


def _absolute(entry: Any, base: Base) -> Any:
    if isinstance(entry, Map) and "path" in entry:
        entry["path"] = base.path(entry["path"])
        return entry
    return base.path(entry) if isinstance(entry, str) else entry


def _under(values: dict[str, str | None], own: Any) -> Map:
    result = Map()
    result.update(values)
    for key, value in (own or Map()).items():
        result.move(own, key, value)
    return result


def _read_all(
    entries: Any,
    names: tuple[str, str],
    where: Where | None,
    environment: Mapping[str, str],
    reader: Reader,
    cwd: str,
    notes: Notes,
) -> dict[str, str | None]:
    """Values of all files of one service; a later file wins and may refer to earlier ones."""
    service, key = names
    values: dict[str, str | None] = {}
    for index, entry in enumerate(entries):
        place = (entries.at[index] if hasattr(entries, "at") else None) or where
        details = entry if isinstance(entry, Map) else {"path": entry, "required": True}
        if not isinstance(details.get("path"), str):
            continue  # told when the file was held against the schema
        if not reader.exists(details["path"]):
            if details.get("required", True):
                file = shown(details["path"], cwd)
                notes.problems.add(
                    f"the file '{file}' does not exist",
                    ("services", service, key, index),
                    place,
                    hint="create it, or write 'required: false'" if key == "env_file" else "",
                )
            continue
        try:
            lines: dict[str, int] = {}
            found = _read(details, values, environment, reader, cwd, lines)
            found = {name: value for name, value in found.items() if value is not None}
            values |= found
            target, file = _TARGETS[key], shown(details["path"], cwd)
            notes.from_files += [
                (("services", service, target, name), Where(file, lines.get(name, 0)), value)
                for name, value in found.items()
            ]
        except FileInvalid as error:
            notes.problems.errors.append(error)
    return values


def _read(
    details: Mapping[str, Any],
    earlier: Mapping[str, str | None],
    environment: Mapping[str, str],
    reader: Reader,
    cwd: str,
    lines: dict[str, int],
) -> dict[str, str | None]:
    name = shown(details["path"], cwd)
    text = reader.text(details["path"], name)
    if (wanted := details.get("format") or "") == "raw":
        return dotenv.raw(text, name, environment)
    if wanted:
        raise FileInvalid(f"env file '{name}' has the unknown format '{wanted}'", hint="write 'raw'")
    known = {key: value for key, value in earlier.items() if value is not None}
    return dotenv.parse(text, name, environment, lines, earlier=known)
