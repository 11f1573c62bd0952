"""Which files make up a project: discovery, ``COMPOSE_*`` variables, ``.env``, name and directory.

Comes in:  a LoadRequest and a Reader.
Goes out:  a Source: Compose files, project directory, environment, the name as far as flags give it.
Not here:  what stands in the Compose files (``layers``).
Source: Compose Specification "Compose file"; docker compose, "Pre-defined environment variables".
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path

from compose.errors import UsageError, Where
from compose.load import dotenv
from compose.load.cast import boolean
from compose.load.request import LoadRequest, Reader
from schemas.frozen import dataclass

__all__ = ["LoadRequest", "Reader", "Source", "discover", "normal_name", "shown"]

NAMES = ("compose.yaml", "compose.yml", "docker-compose.yml", "docker-compose.yaml")
_OVERRIDES = (
    "compose.override.yml", "compose.override.yaml", "docker-compose.override.yml",
    "docker-compose.override.yaml",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """The outcome of discovery.

    files:       absolute paths or "-", the base first.
    directory:   the project directory, absolute.
    environment: the caller's, completed by the env files; read by interpolation.
    env_files:   absolute paths of the env files that were read.
    name:        by flag or COMPOSE_PROJECT_NAME, else "".
    where:       the place of every variable that an env file gave.
    """

    files: tuple[str, ...]
    directory: str
    environment: Mapping[str, str]
    env_files: tuple[str, ...]
    name: str
    profiles: tuple[str, ...]
    warnings: tuple[str, ...]
    where: Mapping[str, Where]


def discover(request: LoadRequest, reader: Reader) -> Source:
    """Find the files of the project as docker compose does.

    Raises UsageError when there is none, FileInvalid for a broken env file.
    """
    environment = dict(request.environment)
    environment.setdefault("PWD", request.cwd)
    files = tuple(_absolute(request.cwd, file) for file in request.files)
    named = request.env_files or _split(environment.get("COMPOSE_ENV_FILES", ""), ",")
    env_files = [_absolute(request.cwd, file) for file in named]
    warnings: list[str] = []
    where: dict[str, Where] = {}
    first = _directory(request, files)
    # twice: a COMPOSE_ variable in .env may say that .env is not to be read
    early, places = dict(environment), dict[str, Where]()
    complete(early, env_files or _default_env(first, environment, reader), reader, request.cwd, places)
    steering = {name: value for name, value in early.items() if name.startswith("COMPOSE_")}
    where |= {name: at for name, at in places.items() if name in steering}
    environment |= steering
    complete(environment, env_files or _default_env(first, environment, reader), reader, request.cwd, where)
    if not files:
        separator = environment.get("COMPOSE_PATH_SEPARATOR") or os.pathsep
        listed = _split(environment.get("COMPOSE_FILE", ""), separator)
        files = tuple(_absolute(request.cwd, file) for file in listed)
    if not files:
        files = _search((request.project_directory and first) or request.cwd, reader, warnings)
    directory = _directory(request, files)
    used = env_files or _default_env(directory, environment, reader)
    complete(environment, used, reader, request.cwd, where)
    return Source(
        files=files,
        directory=directory,
        environment=environment,
        env_files=tuple(used),
        name=_given_name(request, environment),
        profiles=request.profiles or _profiles(environment.get("COMPOSE_PROFILES", "")),
        warnings=tuple(warnings),
        where=where,
    )


def shown(path: str, cwd: str) -> str:
    """``path`` as a person in ``cwd`` would write it."""
    if path == "-":
        return "<stdin>"
    relative = os.path.relpath(path, cwd)
    return path if relative.startswith("../../..") else relative


def _absolute(cwd: str, path: str) -> str:
    return path if path == "-" else os.path.normpath(Path(cwd, path))


def _split(text: str, separator: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(separator) if part.strip())


def _profiles(text: str) -> tuple[str, ...]:
    """Names between commas; without any, the empty name is active, as it is for docker compose."""
    return tuple(part.strip() for part in text.split(","))


def _directory(request: LoadRequest, files: tuple[str, ...]) -> str:
    if request.project_directory:
        return _absolute(request.cwd, request.project_directory)
    return next((str(Path(file).parent) for file in files if file != "-"), request.cwd)


def _search(start: str, reader: Reader, warnings: list[str]) -> tuple[str, ...]:
    """The default file of ``start`` or the nearest parent that has one, with its override file."""
    for folder in (Path(start), *Path(start).parents):
        found = [name for name in NAMES if reader.exists(str(folder / name))]
        if not found:
            continue
        if len(found) > 1:
            warnings.append(f"found several Compose files, {', '.join(found)}: using {folder / found[0]}")
        extra = [name for name in _OVERRIDES if reader.exists(str(folder / name))]
        if len(extra) > 1:
            warnings.append(f"found several override files, {', '.join(extra)}: using {folder / extra[0]}")
        return tuple(str(folder / name) for name in (found[0], *extra[:1]))
    raise UsageError(
        "no Compose file found here or in any parent directory",
        hint=f"one of {', '.join(NAMES)} is looked for; name another with -f",
    )


def _default_env(directory: str, environment: Mapping[str, str], reader: Reader) -> list[str]:
    """``.env`` of ``directory`` when it is there and not switched off."""
    switch = environment.get("COMPOSE_DISABLE_ENV_FILE", "")
    try:
        if switch and boolean({"1": "true", "t": "true", "0": "no", "f": "no"}.get(switch, switch)):
            return []
    except ValueError:
        raise UsageError(f"COMPOSE_DISABLE_ENV_FILE is '{switch}', not a boolean") from None
    path = str(Path(directory, ".env"))
    return [path] if reader.exists(path) and not Path(path).is_dir() else []


def complete(
    environment: dict[str, str], paths: list[str], reader: Reader, cwd: str, where: dict[str, Where]
) -> None:
    """Complete ``environment`` from env files; a later file wins over an earlier, the caller over both.

    where: filled with the place of every variable that is new.
    """
    found: dict[str, tuple[str, Where]] = {}
    for path in paths:
        name, lines = shown(path, cwd), dict[str, int]()
        known = {one: value for one, (value, _) in found.items()}
        values = dotenv.parse(reader.text(path, name), name, {**known, **environment}, lines)
        found |= {one: (v, Where(name, lines[one])) for one, v in values.items() if v is not None}
    for one, (value, at) in found.items():
        if one not in environment:
            environment[one], where[one] = value, at


def _given_name(request: LoadRequest, environment: Mapping[str, str]) -> str:
    """The name by flag or variable; it has to be legal as it stands."""
    name = request.project_name or environment.get("COMPOSE_PROJECT_NAME", "")
    if name and normal_name(name) != name:
        raise UsageError(
            f"'{name}' is not a project name",
            hint="use lower case letters, digits, '-' and '_', a letter or digit first: "
            f"'{normal_name(name) or 'app'}'",
        )
    return name


def normal_name(text: str) -> str:
    """``text`` in lower case without the characters a project name cannot have."""
    return re.sub(r"[^a-z0-9_-]", "", text.lower()).lstrip("_-")
