"""From file paths to one merged tree: the road of each file, with ``extends`` and ``include``.

Comes in:  paths, the project directory, the environment.
Goes out:  one tree in long form, all files merged; what was noticed on the way.
Not here:  single stages: ``parse``, ``interpolate``, ``validate``, ``long``, ``merge``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from compose.errors import ComposeError, FileInvalid, Where
from compose.load import files
from compose.load.forms import Base, listed
from compose.load.interpolate import BadSyntax, Plain, Scope, interpolate, substitute
from compose.load.long import cut_commands, long_form
from compose.load.merge import clean, merge
from compose.load.parse import parse
from compose.load.problems import Problems
from compose.load.tree import Map, Override, Reset, Seq, place, plain, prune

_REMOTE = re.compile(r"oci://|https?://|git://|ssh://|git@|github\.com/|.*\.git(#|$)")
_SECTIONS = ("services", "networks", "volumes", "configs", "secrets", "models")


@dataclass
class Notes:
    """What the road noticed, shared by a project and all it includes.

    values:   (section, key) -> the value of its ``environment:`` variable, or None.
    scopes:   every Scope that was used, the outermost first.
    partial:  some file lacks a required attribute: the merged tree has to be looked at again.
    problems: the errors of all files; the road goes on without what is wrong.
    omit:     stages that are left out (``LoadRequest.omit``).
    ignored:  sentences about attributes on which nothing acts.
    root:     paths stay relative to this directory, "" makes them absolute.
    layers:   every tree that was merged, in that order: they tell where a value comes from.
    from_files: (path, place, value) of what env files and label files of services say.
    at:       where each active service stands.
    """

    warnings: list[str] = field(default_factory=list)
    values: dict[tuple[str, str], str | None] = field(default_factory=dict)
    scopes: list[Scope] = field(default_factory=list)
    partial: bool = False
    problems: Problems = field(default_factory=Problems)
    omit: tuple[str, ...] = ()
    ignored: list[str] = field(default_factory=list)
    root: str = ""
    layers: list[Map] = field(default_factory=list)
    from_files: list[tuple[tuple[str | int, ...], Where, str | None]] = field(default_factory=list)
    at: Mapping[str, Where] = field(default_factory=dict)


class Assembler:
    """Assembles one project; ``include`` makes another one inside it."""

    def __init__(
        self,
        reader: files.Reader,
        scope: Scope,
        directory: str,
        cwd: str,
        notes: Notes,
        chain: tuple[str, ...] = (),
    ) -> None:
        self._reader = reader
        self._scope = scope
        self._directory = directory
        self._cwd = cwd
        self._notes = notes
        self._chain = chain
        self._home = scope.environment.get("HOME") or str(Path("~").expanduser())
        self._others: dict[str, Map] = {}
        self._raw = "interpolate" in notes.omit
        notes.scopes.append(scope)

    def project(self, paths: Sequence[str]) -> Map:
        """Read ``paths`` in order, the later over the earlier."""
        tree = Map()
        documents = [(document, path) for path in paths for document in self._documents(path)]
        if not self._chain:
            self._name([document for document, _ in documents])
        for document, path in documents:
            alone = len(documents) == 1 and "include" not in document
            layer = self._layer(document, path, tree, alone=alone)
            self._notes.layers.append(layer)
            tree = merge(tree, layer, raw=self._raw)
        if not self._raw:
            self._resolve(tree)
        elif self._chain:
            self._resolve_lists(tree)
        return tree

    def _name(self, documents: Sequence[Map]) -> None:
        """``COMPOSE_PROJECT_NAME`` can be used in every file, wherever the name comes from."""
        if self._scope.environment.get("COMPOSE_PROJECT_NAME"):
            return
        names = [written for one in documents if isinstance(written := one.get("name"), str) and written]
        try:
            name = substitute(names[-1], Plain(self._scope.environment)) if names else ""
        except BadSyntax:
            name = ""  # told where the name is read
        name = name or files.normal_name(Path(self._directory).name)
        self._scope.environment = {**self._scope.environment, "COMPOSE_PROJECT_NAME": name}

    def _resolve_lists(self, tree: Map) -> None:
        """The names without value of an included project have to take them now, from its own env file."""
        for service in (tree.get("services") or Map()).values():
            names = service.get("environment") if isinstance(service, Map) else None
            for index, text in enumerate(names if isinstance(names, Seq) else ()):
                value = self._scope.get(str(text)) if "=" not in str(text) else None
                if value is not None and isinstance(names, Seq):
                    names[index] = f"{text}={value}"

    def _documents(self, path: str) -> list[Map]:
        """The documents of one file; none when it cannot be read, which is noted."""
        try:
            return self._read(path)
        except FileInvalid as error:
            self._notes.problems.note(error)
            return []

    def _read(self, path: str) -> list[Map]:
        name = files.shown(path, self._cwd)
        documents = parse(self._reader.read(path, name), name)
        found = [one for one in documents if one is not None]
        if not any(found):
            hint = "a Compose file begins with 'services:'"
            raise FileInvalid("the file is empty", hint=hint, where=Where(name))
        if len(found) < len(documents):
            number = documents.index(None) + 1
            raise FileInvalid(
                f"document {number} of the file is empty", hint="remove its '---'", where=Where(name)
            )
        return found

    def _layer(self, document: Map, path: str, tree: Map, *, alone: bool) -> Map:
        """One document on its way from text to a tree that can be merged.

        alone: nothing will be laid over or under it, so that what is missing now is missing for good.
        """
        layer = self._written_out(document, self._directory, alone=alone)
        included = self._included(layer.pop("include", None), path)
        services = layer.get("services")
        services = services.value if isinstance(services, Override) else services
        if isinstance(services, Map):
            for name in list(services):
                try:
                    services[name] = self._extended(services, name, path, tree, ())
                except FileInvalid as error:
                    self._notes.problems.note(error, ("services", name))
                    services[name].drop("extends")
        return _imported(included, layer, self._notes.problems) if included else layer

    def _written_out(self, document: Map, directory: str, *, alone: bool = False) -> Map:
        """Interpolated, validated, in long form with absolute paths."""
        from compose.load.validate import validate

        problems = self._notes.problems
        layer = document if self._raw else interpolate(document, self._scope, problems)
        if layer.get("include", "") is None:
            layer.drop("include")
        self._notes.warnings += cut_commands(layer)
        wrong, missing = validate(layer)
        # what is missing may come from another file or a base, but nothing can be done without these
        alone = alone and not _extends(layer)
        wrong += [one for one in missing if alone or _needed(one.error.path)]
        for path, error in wrong:
            if not problems.spoils_in(*path):
                problems.note(error, path)
            prune(layer, _item(path))
        self._notes.partial |= bool(missing)
        version = layer.pop("version", None)
        if version is not None:
            where = layer.at.get("version")
            self._notes.warnings.append(f"{where}: 'version' is obsolete and has no effect: remove it")
        base = Base(directory, self._home, self._notes.root)
        if self._raw:
            from compose.load.raw import ATTRIBUTES, resource

            return long_form(layer, base, problems, ATTRIBUTES, resource)
        return long_form(layer, base, problems)

    def _extended(
        self, services: Map, name: str, path: str, tree: Map, chain: tuple[tuple[str, str], ...]
    ) -> Any:
        """``services[name]`` laid over what it extends, which may extend in its turn."""
        own = services[name]
        if not isinstance(own, Map) or "extends" not in own:
            return own
        wanted, where = clean(own["extends"]), own.at.get("extends")
        if isinstance(wanted, Reset):
            return own
        here = (path, name)
        if here in chain:
            raise _cycle("extends", [f"{n} in {files.shown(p, self._cwd)}" for p, n in (*chain, here)], where)
        base_name = wanted if isinstance(wanted, str) else wanted.get("service")
        source, base_path = services, path
        if isinstance(wanted, Map) and _REMOTE.match(str(wanted.get("file", ""))):
            raise _not_local("extends", str(wanted["file"]), where)
        if isinstance(wanted, Map) and "file" in wanted:
            base_path = Base(str(Path(path).parent) if path != "-" else self._directory, self._home).path(
                wanted["file"]
            )
            source = services if base_path == path else self._other(base_path, where)
        if base_name not in source and source is services:
            source = tree.get("services", Map())
        if base_name not in source:
            raise _unknown_base(name, base_name, source, files.shown(base_path, self._cwd), where)
        base = self._extended(source, base_name, base_path, tree, (*chain, here))
        body = Map()
        for key, value in own.items():
            if key != "extends":
                body.move(own, key, value)
        lower, upper = Map(), Map()
        lower.put("services", _one(name, clean(base)), None)
        upper.put("services", _one(name, body), None)
        self._notes.layers += [lower, upper]
        return merge(lower, upper, raw=self._raw)["services"][name]

    def _other(self, path: str, where: Where | None) -> Map:
        """The services of a file that ``extends`` names, paths relative to that file."""
        if path not in self._others:
            try:
                documents = self._read(path)
            except FileInvalid as error:
                if error.where and error.where.line:
                    raise
                raise FileInvalid(error.message, hint=error.hint, where=where) from None
            tree = Map()
            for document in documents:
                tree = merge(tree, self._written_out(document, str(Path(path).parent)), raw=self._raw)
            self._others[path] = tree.get("services") or Map()
        return self._others[path]

    def _included(self, entries: Any, path: str) -> list[tuple[Map, Where | None]]:
        """Every included project, assembled on its own."""
        entries = entries.value if isinstance(entries, Override) else entries
        if not isinstance(entries, Seq):
            return []
        base = Base(self._directory, self._home)
        result = []
        for entry, where in entries.placed():
            entry = clean(entry)
            if isinstance(entry, Reset):
                continue
            details = entry if isinstance(entry, Map) else Map()
            named = listed(details.get("path") if isinstance(entry, Map) else entry)
            if remote := next((one for one in named if _REMOTE.match(str(one))), ""):
                self._notes.problems.note(_not_local("include", remote, where))
                continue
            if not named:
                error = FileInvalid(
                    "an entry of 'include' names no file", hint="give its 'path'", where=where
                )
                self._notes.problems.note(error)
                continue
            paths = [base.path(one) for one in named]
            if path in paths or set(paths) & set(self._chain):
                chain = [files.shown(p, self._cwd) for p in (*self._chain, path, *paths)]
                self._notes.problems.note(_cycle("include", chain, where))
                continue
            try:
                result.append((self._include(paths, details, path, where), where))
            except FileInvalid as error:
                self._notes.problems.note(error)
        return result

    def _include(self, paths: list[str], details: Map, path: str, where: Where | None) -> Map:
        base = Base(self._directory, self._home)
        for one in paths:
            if not self._reader.exists(one):
                raise FileInvalid(
                    f"the included file '{files.shown(one, self._cwd)}' does not exist", where=where
                )
        directory = str(Path(paths[0]).parent)
        if "project_directory" in details:
            directory = base.path(details["project_directory"])
        environment = dict(self._scope.environment)
        env_files = [base.path(one) for one in listed(details.get("env_file"))]
        default = str(Path(directory, ".env"))
        if not env_files and self._reader.exists(default):
            env_files = [default]
        given = dict(self._scope.where)
        files.complete(environment, env_files, self._reader, self._cwd, given)
        scope = Scope(environment, required=self._scope.required, where=given)
        inner = Assembler(self._reader, scope, directory, self._cwd, self._notes, (*self._chain, path))
        tree = inner.project(paths)
        tree.drop("name")
        return tree

    def _resolve(self, tree: Map) -> None:
        """Names without value in ``environment`` and ``args`` take the value of this project."""
        for service in (tree.get("services") or Map()).values():
            if isinstance(service, Map):
                self._inherit(service.get("environment"))
                if "normalize" not in self._notes.omit:
                    self._inherit((service.get("build") or {}).get("args"))
                for hook in ("post_start", "pre_stop", "pre_start"):
                    for one in service.get(hook) or ():
                        self._inherit(one.get("environment") if isinstance(one, Map) else None)
        for section in ("configs", "secrets"):
            for key, entry in (tree.get(section) or Map()).items():
                if isinstance(entry, Map) and entry.get("environment"):
                    self._notes.values.setdefault((section, key), self._scope.get(entry["environment"]))

    def _inherit(self, pairs: Any) -> None:
        if isinstance(pairs, Map):
            for name, value in pairs.items():
                if value is None:
                    pairs[name] = self._scope.get(name)


def _extends(layer: Map) -> bool:
    services = layer.get("services")
    entries = services.values() if isinstance(services, Map) else ()
    return any(isinstance(entry, Map) and "extends" in entry for entry in entries)


def _item(path: tuple[str | int, ...]) -> tuple[str | int, ...]:
    """``path`` up to the first item of a list: an item is left out as a whole."""
    number = next((n for n, step in enumerate(path, 1) if isinstance(step, int)), len(path))
    return path[:number]


def _needed(path: str) -> bool:
    return ".extends" in path or path.startswith("include")


def _one(name: str, value: Any) -> Map:
    result = Map()
    result[name] = value
    return result


def _imported(included: list[tuple[Map, Where | None]], layer: Map, problems: Problems) -> Map:
    """The layer with the resources of included projects added; equal definitions may meet."""
    for tree, where in included:
        for section in _SECTIONS:
            for key, value in (tree.get(section) or Map()).items():
                if not isinstance(layer.get(section), Map):
                    layer[section] = Map()
                if key in layer[section] and plain(layer[section][key]) != plain(value):
                    conflict = _conflict(section, key, where, place(tree, (section, key)))
                    problems.note(conflict, (section, key))
                layer[section].setdefault(key, value)
                layer[section].at.setdefault(key, tree[section].at.get(key) or where)
    return layer


def _conflict(section: str, key: str, where: Where | None, other: Where | None) -> ComposeError:
    return FileInvalid(
        f"{section}.{key} conflicts with the included resource of that name",
        hint=f"it is included from {other}; rename one, or change it in an override file listed in 'path'",
        where=where,
        path=f"{section}.{key}",
    )


def _not_local(kind: str, name: str, where: Where | None) -> FileInvalid:
    return FileInvalid(
        f"'{kind}' names '{name}': remote files are not supported",
        hint="download it and name the local file",
        where=where,
    )


def _cycle(kind: str, chain: Sequence[str], where: Where | None) -> ComposeError:
    return FileInvalid(f"'{kind}' goes in a circle: {' -> '.join(chain)}", where=where)


def _unknown_base(
    name: str, base: Any, known: Mapping[str, Any], file: str, where: Where | None
) -> ComposeError:
    from difflib import get_close_matches

    close = get_close_matches(str(base), list(known), n=1)
    return FileInvalid(
        f"service '{name}' extends service '{base}', which is not in {file}",
        hint=f"did you mean '{close[0]}'?" if close else "",
        where=where,
        path=f"services.{name}.extends",
    )
