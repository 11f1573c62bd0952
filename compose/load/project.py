"""The front door of the loader: a LoadRequest in, a checked Project out.

Comes in:  what the command line knows (``LoadRequest``), and the files it leads to.
Goes out:  ``Loaded``: the Project, its canonical model, its start order, warnings.
Not here:  the road of one file (``layers``), the rules (``check``), frozen values (``bind``).

A result is cached by everything that went into it (``cache``): a hit imports neither YAML nor schema.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from compose.graph import Order
from compose.load import cache
from compose.load.bind import bind
from compose.load.request import LoadRequest, Reader
from compose.model.project import Project
from schemas.frozen import dataclass, field

__all__ = ["LoadRequest", "Loaded", "load"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """What a load gives.

    canonical: the JSON-able model; ``bind`` makes the Project of it again. It holds values of secrets
               that come from variables: show ``canonical.printed(loaded.canonical)`` instead.
    order:     the start order of the active services.
    warnings:  sentences for the user, each once.
    files:     every file that was looked at, absolute.
    cached:    whether the cache answered.
    """

    project: Project
    canonical: Mapping[str, Any] = field(repr=False)
    order: Order
    warnings: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    cached: bool = False


def load(
    request: LoadRequest, *, stdin: bytes | None = None, store: Path | None = None, order: bool = True
) -> Loaded:
    """Read the project that ``request`` leads to.

    stdin: what ``-f -`` reads; None reads the real standard input.
    store: directory of cached models; None takes ``cache.directory``.
    order: whether the start order is wanted; a circle is an error without it as well.
    Raises ComposeError; Several for independent errors of one stage.
    """
    request = _complete(request)
    directory = cache.directory(request.environment) if store is None else store
    reader = Reader(stdin)
    hit = cache.find(directory, request, reader)
    if hit is not None and (hit.order or not order):
        return _loaded(hit, cached=True)
    from compose.load import resolve

    entry = resolve.resolve(request, reader) if hit is None else hit
    if order:
        entry = resolve.with_order(entry)
    cache.keep(directory, request, entry)
    return _loaded(entry, cached=hit is not None)


def _complete(request: LoadRequest) -> LoadRequest:
    if request.cwd:
        return request
    from dataclasses import replace

    return replace(request, cwd=os.getcwd())


def _loaded(entry: cache.Entry, *, cached: bool) -> Loaded:
    return Loaded(
        project=bind(entry.canonical),
        canonical=entry.canonical,
        order=Order.from_json(entry.order) if entry.order else Order(),
        warnings=tuple(entry.warnings),
        files=tuple(path for path, content in entry.files.items() if content is not None),
        cached=cached,
    )
