"""Reading the corpus: one directory per case, its files as a user would write them.

``request.json`` holds what the command line and the environment say; ``expected.json`` the model,
``expected.txt`` the errors. ``$DIR`` stands for the directory of the case.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from compose.errors import ComposeError, Several
from compose.load.project import Loaded, LoadRequest, load

ROOT = Path(__file__).parent.parent / "corpus"


def cases(kind: str) -> list[str]:
    """Names of all cases of ``valid`` or ``invalid``."""
    return sorted(path.name for path in (ROOT / kind).iterdir())


def settings(folder: Path) -> dict[str, Any]:
    """What stands in ``request.json``."""
    path = folder / "request.json"
    read: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    return read


def environment(folder: Path) -> dict[str, str]:
    """The caller's environment of a case."""
    return {"HOME": "/home/user", "PATH": "/bin", **settings(folder).get("env", {})}


def request(folder: Path) -> LoadRequest:
    """The LoadRequest of a case."""
    given = settings(folder)
    return LoadRequest(
        files=tuple(given.get("files", ())),
        env_files=tuple(given.get("env_files", ())),
        profiles=tuple(given.get("profiles", ())),
        project_name=given.get("project_name", ""),
        project_directory=given.get("project_directory", ""),
        environment=environment(folder),
        cwd=str(folder),
    )


def load_case(folder: Path, store: Path) -> Loaded:
    """Load one case with its own cache."""
    return load(request(folder), store=store)


def located(text: str, folder: Path) -> str:
    """``$DIR`` and ``$PARENT`` replaced by the real directories."""
    return text.replace("$DIR", str(folder)).replace("$PARENT", str(folder.parent))


def told(error: ComposeError) -> str:
    """Every error as a person reads it."""
    lines: list[str] = []
    for one in error.errors if isinstance(error, Several) else (error,):
        lines.append(f"error: {one.message}")
        lines += [f"  at {one.where}"] if one.where else []
        lines += [f"  path {one.path}"] if one.path else []
        lines += [f"hint: {one.hint}"] if one.hint else []
    return "\n".join(lines) + "\n"
