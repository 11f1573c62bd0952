"""What the road of the files noticed, shared by a project and all that it includes.

Comes in:  whatever a stage has to tell.
Goes out:  warnings, errors, places: for the model, for errors and for ``explain``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from compose.errors import Where
from compose.load.interpolate import Scope
from compose.load.problems import Problems
from compose.load.tree import Map


@dataclass
class Notes:
    """What was noticed.

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
