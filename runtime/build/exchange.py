"""Build caches of other machines: what ``cache_from`` and ``cache_to`` name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from runtime.build.cache import Kept
from runtime.build.spec import BuildSpec
from runtime.image.manifest import History, Image
from runtime.image.progress import Events
from runtime.image.store import Store


class Caches:
    def __init__(self, store: Store, spec: BuildSpec, events: Events, room: Path) -> None:
        self._store = store

    def __enter__(self) -> Caches:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def fetch(self, key: str) -> tuple[str, float] | None:
        return None

    def export(self, image: Image, used: Mapping[str, Kept]) -> None:
        pass


def inline(spec: BuildSpec) -> bool:
    return False


def keyed(history: Sequence[History], layers: Sequence[str], used: Mapping[str, Kept]) -> tuple[History, ...]:
    return tuple(history)
