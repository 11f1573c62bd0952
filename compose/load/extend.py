"""``extends``: a service laid over the one it names, in this file or another.

Comes in:  the services of one file, written out; a way to read and write out other files.
Goes out:  one service with everything it extends below it.
Not here:  how two services merge (``merge``).
Source: Compose Specification, services: extends.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from compose.errors import ComposeError, FileInvalid, Where
from compose.load import files
from compose.load.forms import Base
from compose.load.merge import clean, merge
from compose.load.notes import Notes
from compose.load.tree import Map, Reset

REMOTE = re.compile(r"oci://|https?://|git://|ssh://|git@|github\.com/|.*\.git(#|$)")


class Extender:
    """Extends services of one project; other files are read once.

    read:      the documents of a file, by its path. Raises FileInvalid.
    write_out: one document in long form, its paths from a directory.
    """

    def __init__(
        self,
        read: Callable[[str], list[Map]],
        write_out: Callable[[Map, str], Map],
        base: Base,
        cwd: str,
        notes: Notes,
    ) -> None:
        self._read = read
        self._write_out = write_out
        self._directory = base.directory
        self._home = base.home
        self._cwd = cwd
        self._notes = notes
        self._others: dict[str, Map] = {}
        self._raw = "interpolate" in notes.omit

    def extended(
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
            raise circle("extends", [f"{n} in {files.shown(p, self._cwd)}" for p, n in (*chain, here)], where)
        base_name = wanted if isinstance(wanted, str) else wanted.get("service")
        source, base_path = services, path
        if isinstance(wanted, Map) and REMOTE.match(str(wanted.get("file", ""))):
            raise not_local("extends", str(wanted["file"]), where)
        if isinstance(wanted, Map) and "file" in wanted:
            base_path = Base(str(Path(path).parent) if path != "-" else self._directory, self._home).path(
                wanted["file"]
            )
            source = services if base_path == path else self._other(base_path, where)
        if base_name not in source and source is services:
            source = tree.get("services", Map())
        if base_name not in source:
            raise _unknown_base(name, base_name, source, files.shown(base_path, self._cwd), where)
        base = self.extended(source, base_name, base_path, tree, (*chain, here))
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
                tree = merge(tree, self._write_out(document, str(Path(path).parent)), raw=self._raw)
            self._others[path] = tree.get("services") or Map()
        return self._others[path]


def _one(name: str, value: Any) -> Map:
    result = Map()
    result[name] = value
    return result


def not_local(kind: str, name: str, where: Where | None) -> FileInvalid:
    """The error for a file that would have to be fetched."""
    return FileInvalid(
        f"'{kind}' names '{name}': remote files are not supported",
        hint="download it and name the local file",
        where=where,
    )


def circle(kind: str, chain: Sequence[str], where: Where | None) -> ComposeError:
    """The error for files or services that name each other in a circle."""
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
