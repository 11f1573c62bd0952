"""From file paths to one merged tree: the road of each file, with ``extends`` and ``include``.

Comes in:  paths, the project directory, the environment.
Goes out:  one tree in long form, all files merged; what was noticed on the way.
Not here:  single stages: ``parse``, ``interpolate``, ``validate``, ``long``, ``extend``, ``merge``.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from compose.errors import FileInvalid, Where
from compose.load import files
from compose.load.extend import REMOTE, Extender, circle, not_local
from compose.load.forms import Base, listed
from compose.load.include import imported
from compose.load.inherit import inherit, inherit_lists
from compose.load.interpolate import BadSyntax, Plain, Scope, interpolate, substitute
from compose.load.long import cut_commands, long_form
from compose.load.merge import clean, merge
from compose.load.notes import Notes
from compose.load.parse import parse
from compose.load.tree import Map, Override, Reset, Seq, prune


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
        self._raw = "interpolate" in notes.omit
        base = Base(directory, self._home)
        self._extender = Extender(self._read, self._written_out, base, cwd, notes)
        notes.scopes.append(scope)

    def project(self, paths: Sequence[str]) -> Map:
        """Read ``paths`` in order, the later over the earlier."""
        tree = Map()
        documents = [(document, path) for path in paths for document in self._documents(path)]
        if not documents and not self._notes.problems.errors:
            hint = "a Compose file begins with 'services:'"
            where = Where(files.shown(paths[0], self._cwd))
            raise FileInvalid("the file is empty", hint=hint, where=where)
        if not self._chain:
            self._name([document for document, _ in documents])
        for document, path in documents:
            alone = len(documents) == 1 and "include" not in document
            layer = self._layer(document, path, tree, alone=alone)
            self._notes.layers.append(layer)
            tree = merge(tree, layer, raw=self._raw)
        if not self._raw:
            inherit(tree, self._scope, self._notes)
        elif self._chain:
            inherit_lists(tree, self._scope)
        return tree

    def _name(self, documents: Sequence[Map]) -> None:
        """``COMPOSE_PROJECT_NAME`` can be used in every file, wherever the name comes from."""
        if self._scope.environment.get("COMPOSE_PROJECT_NAME"):
            return
        name = ""
        for one in documents:
            if isinstance(written := one.get("name"), str) and written:
                with contextlib.suppress(BadSyntax):  # told where the name is read
                    name = substitute(written, Plain(self._scope.environment))
                    one["name"] = name if "COMPOSE_PROJECT_NAME" in written else written
        name = name or files.normal_name(Path(self._directory).name)
        self._scope.environment = {**self._scope.environment, "COMPOSE_PROJECT_NAME": name}

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
            return []
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
                    services[name] = self._extender.extended(services, name, path, tree, ())
                except FileInvalid as error:
                    self._notes.problems.note(error, ("services", name))
                    services[name].drop("extends")
        return imported(included, layer, self._notes.problems) if included else layer

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
            if remote := next((one for one in named if REMOTE.match(str(one))), ""):
                self._notes.problems.note(not_local("include", remote, where))
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
                self._notes.problems.note(circle("include", chain, where))
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
