"""The whole road on one screen: discovery, layers, profiles, checks, canonical model, start order.

Comes in:  a LoadRequest and a Reader.
Goes out:  a cache Entry: JSON-able, everything a ``Loaded`` is made of.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from compose.errors import ComposeError, UsageError, Where
from compose.graph import CycleFound, find_cycle, is_acyclic, start_order
from compose.load import cache, files
from compose.load.bind import bind
from compose.load.canonical import EXTRA, canonical, implied
from compose.load.check import check
from compose.load.env import merge_env_files
from compose.load.forms import Base
from compose.load.ignored import ignored
from compose.load.interpolate import Scope
from compose.load.layers import Assembler
from compose.load.merge import clean
from compose.load.notes import Notes
from compose.load.problems import Problems, combined
from compose.load.profiles import activate
from compose.load.sources import explained
from compose.load.tree import Map, prune
from compose.load.validate import validate
from schemas.frozen import replace


def resolve(request: files.LoadRequest, reader: files.Reader) -> cache.Entry:
    """Load without a cache and without the start order. Raises ComposeError."""
    made, notes = model(request, reader)
    project = bind(made)
    if not is_acyclic(project):
        try:
            start_order(project)
        except CycleFound as error:
            raise CycleFound(error.cycle, where=notes.at.get(error.cycle[0])) from None
    return cache.Entry(
        canonical=made,
        order={},
        warnings=warnings(notes),
        files=dict(reader.seen),
        variables=_variables(request, notes, reader),
    )


def with_order(entry: cache.Entry) -> cache.Entry:
    """``entry`` with its start order, which is made when it is first asked for."""
    return replace(entry, order=start_order(bind(entry.canonical)).to_json())


def model(request: files.LoadRequest, reader: files.Reader) -> tuple[dict[str, Any], Notes]:
    """The canonical model, without the stages of ``request.omit``. Raises ComposeError."""
    source = files.discover(request, reader)
    environment = dict(source.environment)
    if source.name:
        environment["COMPOSE_PROJECT_NAME"] = source.name
    scope, notes = (
        Scope(environment, where=source.where),
        Notes(warnings=list(source.warnings), omit=request.omit),
    )
    problems = notes.problems
    notes.root = source.directory if "path-resolution" in request.omit else ""
    tree = Assembler(reader, scope, source.directory, request.cwd, notes).project(source.files)
    if notes.partial:
        _complete(tree, problems)
    name = name_of(source, tree, interpolated=tree.at.get("name") in scope.texts)
    services = tree.get("services")
    services = services if isinstance(services, Map) else Map()
    _known(services, request.services)
    active, disabled = activate(services, source.profiles, request.services)
    tree["services"], notes.at = active, active.at
    base = Base(source.directory, environment.get("HOME") or str(Path("~").expanduser()))
    merge_env_files(active, environment, reader, request.cwd, notes, base)
    if "consistency" not in request.omit:
        check(tree, {name: services[name].get("profiles") or () for name in disabled}, problems)
    _required(scope, source, request, problems)
    if problems.errors:
        _circle(active, problems)
        raise _told(problems, notes, request)
    notes.ignored = [f"{one.where}: {one.path}: {one.message}" for one in ignored(tree)]
    if "normalize" in request.omit:
        name = source.name or str(tree.get("name") or name)
    made = canonical(tree, name, (notes.root and ".") or source.directory, omit=request.omit)
    made[EXTRA] = _extra(source, notes, services, (tuple(active), disabled))
    made[EXTRA] |= {"separator": request.separator, "all_resources": request.all_resources}
    return made, notes


def name_of(source: files.Source, tree: Map, *, interpolated: bool = False) -> str:
    """The name of the project. Raises UsageError when nothing of it is left.

    interpolated: the text of ``name:`` held variables; then it has to leave a name.
    """
    if source.name:
        return source.name
    written = tree.get("name")
    if written == "" and interpolated:
        raise UsageError(
            "the project name is empty after replacing variables",
            hint="is the variable in 'name:' set?",
            where=tree.at.get("name"),
        )
    name = files.normal_name(str(written) if written else Path(source.directory).name)
    if not name:
        raise UsageError(
            "the project has no name",
            hint="give one with -p, COMPOSE_PROJECT_NAME or 'name:'",
            where=tree.at.get("name"),
        )
    return name


def _complete(tree: Map, problems: Problems) -> None:
    """Note what a merged tree still lacks."""
    for path, error in validate(tree)[1]:
        if not problems.spoils_in(*path):
            problems.note(error, path)
        prune(tree, path)
    tree.update(clean(tree))


def _circle(services: Map, problems: Problems) -> None:
    """Services that depend on each other in a circle are an error of their own."""
    waits = {name: dict.fromkeys(service.get("depends_on") or ()) for name, service in services.items()}
    for name, service in services.items():
        waits[name] |= {other: None for other, _ in implied(service)}
    if cycle := find_cycle(waits):
        problems.note(CycleFound(cycle, where=services.at.get(cycle[0])), ("services", cycle[0]))


def _told(problems: Problems, notes: Notes, request: files.LoadRequest) -> ComposeError:
    error = explained(combined(problems.errors), notes.scopes, request.environment)
    error.warnings = tuple(warnings(notes))
    return error


def _known(services: Map, named: tuple[str, ...]) -> None:
    for name in named:
        if name not in services:
            from difflib import get_close_matches

            close = get_close_matches(name, list(services), n=1)
            raise UsageError(f"no such service: {name}", hint=f"did you mean '{close[0]}'?" if close else "")


def _extra(
    source: files.Source, notes: Notes, services: Map, split: tuple[tuple[str, ...], tuple[str, ...]]
) -> dict[str, Any]:
    """What a Project needs beyond the model. split: names of the active services and of the others."""
    values: dict[str, dict[str, str | None]] = {}
    for (section, key), value in notes.values.items():
        values.setdefault(section, {})[key] = value
    return {
        "working_dir": source.directory,
        "files": list(source.files),
        "env_files": list(source.env_files),
        "profiles": list(source.profiles),
        "all_profiles": sorted({name for one in services.values() for name in one.get("profiles") or ()}),
        "order": list(split[0]),
        "disabled": list(split[1]),
        "values": values,
        "ignored": notes.ignored,
    }


def _required(scope: Scope, source: files.Source, request: files.LoadRequest, problems: Problems) -> None:
    """Note all required variables that nobody sets; the last error carries the way out."""
    if scope.required:
        error = combined(scope.required)
        last = getattr(error, "errors", (error,))[-1]
        last.hint = _env_example(source, request.cwd) or "set it in the shell or in .env"
        problems.errors.append(error)


def _env_example(source: files.Source, cwd: str) -> str:
    """The command that makes a ``.env`` of the ``.env.example`` beside the file, or ""."""
    target, example = Path(source.directory, ".env"), Path(source.directory, ".env.example")
    if source.env_files or target.exists() or not example.is_file():
        return ""
    return f"cp {os.path.relpath(example, cwd)} {os.path.relpath(target, cwd)}"


def warnings(notes: Notes) -> list[str]:
    """What the user should know, each once, in the order it was noticed."""
    unset: dict[str, Where | None] = {}
    for scope in notes.scopes:
        for name, where in scope.unset.items():
            unset.setdefault(name, where)
    lines = [f"{where}: variable '{name}' is not set, an empty text is used" for name, where in unset.items()]
    return list(dict.fromkeys([*notes.warnings, *lines, *notes.ignored]))


def _variables(request: files.LoadRequest, notes: Notes, reader: files.Reader) -> dict[str, str | None]:
    """The caller's variables that mattered, by hash."""
    names = {name for scope in notes.scopes for name in scope.used} | reader.names | set(cache.ALWAYS)
    return {name: cache.fingerprint(request.environment.get(name)) for name in sorted(names)}
