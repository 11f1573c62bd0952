"""``COMPOSE_*`` variables of the env file count as if the shell had set them, for every flag they stand for.

Comes in:  the global flags and the environment.
Goes out:  the variables to add, which the shell did not set.
Not here:  variables in Compose files (``load.files`` reads the env files once more, for all names).
Source: docker compose, "Pre-defined environment variables".
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

TRUE = ("1", "t", "T", "true", "TRUE", "True")


def truth(variable: str) -> bool:
    """Whether a variable of the caller is true, by the spellings of Go's strconv.ParseBool."""
    return os.environ.get(variable, "") in TRUE


def from_env_files(shared: Mapping[str, Any], environment: Mapping[str, str], cwd: str) -> dict[str, str]:
    """``COMPOSE_*`` of ``--env-file``, of COMPOSE_ENV_FILES, else of ``.env``; the last file wins.

    shared: the global flags by name. An unreadable file gives nothing here: the loader tells about it.
    """
    found: dict[str, str] = {}
    for path in _paths(shared, environment, cwd):
        try:
            text = Path(path).read_text(encoding="utf-8-sig") if Path(path).is_file() else ""
        except (OSError, UnicodeError):
            continue
        if "COMPOSE_" in text:
            found |= _read(text, path, {**found, **environment})
    return {name: value for name, value in found.items() if name not in environment}


def _paths(shared: Mapping[str, Any], environment: Mapping[str, str], cwd: str) -> list[Path]:
    named = list(shared.get("env_file") or ())
    listed = environment.get("COMPOSE_ENV_FILES", "")
    named = named or [part.strip() for part in listed.split(",") if part.strip()]
    if not named and environment.get("COMPOSE_DISABLE_ENV_FILE", "").lower() in (
        "1",
        "true",
        "yes",
        "on",
        "t",
        "y",
    ):
        return []
    return [Path(cwd, name) for name in named] or [Path(cwd, shared.get("project_directory") or "", ".env")]


def _read(text: str, path: Path, environment: Mapping[str, str]) -> dict[str, str]:
    from compose.errors import ComposeError
    from compose.load import dotenv

    try:
        values = dotenv.parse(text, str(path), environment)
    except ComposeError:
        return {}
    return {
        name: value for name, value in values.items() if value is not None and name.startswith("COMPOSE_")
    }


def adopt(shared: Mapping[str, Any]) -> None:
    """Add them to the environment of this process."""
    os.environ.update(from_env_files(shared, os.environ, os.getcwd()))
