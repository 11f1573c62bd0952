"""The SQLite index of the store: names, images, layers and steps of builds.

Comes in:  the path of the database.
Goes out:  rows, and transactions that change them all or not at all.
Not here:  files and directories (store).

WAL mode: readers never wait for a writer; a killed writer leaves the last whole transaction.
"""

from __future__ import annotations

import errno
import json
import os
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from runtime.errors import ImageError
from schemas.frozen import dataclass

if TYPE_CHECKING:
    import sqlite3

_SCHEMA = """
CREATE TABLE IF NOT EXISTS images (
  id TEXT PRIMARY KEY, layers TEXT NOT NULL, digests TEXT NOT NULL DEFAULT '[]', size INTEGER NOT NULL
  DEFAULT 0,
  added REAL NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS refs (
  name TEXT PRIMARY KEY, image TEXT NOT NULL REFERENCES images(id), digest TEXT NOT NULL DEFAULT '',
  at REAL NOT NULL) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS refs_by_image ON refs(image);
CREATE TABLE IF NOT EXISTS layers (
  diff_id TEXT PRIMARY KEY, size INTEGER NOT NULL, added REAL NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS compressed (
  digest TEXT PRIMARY KEY, diff_id TEXT NOT NULL, media_type TEXT NOT NULL, size INTEGER NOT NULL) WITHOUT
  ROWID;
CREATE TABLE IF NOT EXISTS steps (
  key TEXT PRIMARY KEY, diff_id TEXT NOT NULL, text TEXT NOT NULL, made REAL NOT NULL, used REAL NOT NULL)
  WITHOUT ROWID;
PRAGMA user_version = 1;
"""


@dataclass(frozen=True, slots=True)
class ImageRow:
    """A row of ``images`` with the names that point to it."""

    id: str
    layers: tuple[str, ...]
    digests: tuple[str, ...]
    size: int
    added: float
    references: tuple[str, ...]


def _full(path: Path) -> bool:
    state = os.statvfs(path.parent)
    return state.f_bavail * state.f_frsize < 1 << 20 or (state.f_files > 0 and state.f_favail == 0)


class Index:
    """One database file. Every method opens it, does one transaction and closes it: safe in threads and over
    fork."""

    def __init__(self, path: Path) -> None:
        self._path = path

    @contextmanager
    def _open(self, *, write: bool) -> Iterator[sqlite3.Connection]:
        import sqlite3

        connection = None
        try:
            connection = sqlite3.connect(self._path, timeout=30, isolation_level=None)
            if write:
                connection.execute("PRAGMA synchronous = NORMAL")
                connection.execute("BEGIN IMMEDIATE")
            yield connection
            if write:
                connection.execute("COMMIT")
        except sqlite3.DatabaseError as error:
            raise self._told(error) from error
        finally:
            if connection is not None:
                connection.close()

    def _told(self, error: sqlite3.DatabaseError) -> Exception:
        """The words of the system for what it refused; SQLite calls a full disk an I/O error as well."""
        name = getattr(error, "sqlite_errorname", "")
        if name.startswith(("SQLITE_FULL", "SQLITE_IOERR", "SQLITE_CANTOPEN")) and _full(self._path):
            return OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self._path))
        if name.startswith(("SQLITE_READONLY", "SQLITE_CANTOPEN", "SQLITE_PERM", "SQLITE_AUTH")):
            for path in (self._path, self._path.parent):
                if path.exists() and not os.access(path, os.W_OK):
                    number = errno.EROFS if os.statvfs(path).f_flag & os.ST_RDONLY else errno.EACCES
                    return OSError(number, os.strerror(number), str(path))
        hints = {
            "SQLITE_BUSY": "another command holds it; try again",
            "SQLITE_LOCKED": "another command holds it; try again",
            "SQLITE_CORRUPT": "move it away, pull the images again, or restore it from a backup",
            "SQLITE_NOTADB": "move it away, pull the images again, or restore it from a backup",
        }
        hint = next((text for start, text in hints.items() if name.startswith(start)), "")
        return ImageError(f"the index of images {self._path} cannot be used: {error}", hint=hint)

    def prepare(self) -> None:
        """Make the tables when they are missing."""
        with self._open(write=False) as connection:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.executescript(_SCHEMA)

    def by_reference(self, name: str) -> ImageRow | None:
        """The image that ``name``, in full spelling, points to."""
        return self._one("SELECT image FROM refs WHERE name = ?", name)

    def by_digest(self, repository: str, digest: str) -> ImageRow | None:
        """The image pulled from ``repository`` by the manifest ``digest``."""
        pattern = f"{repository}%"
        return self._one("SELECT image FROM refs WHERE digest = ? AND name LIKE ? LIMIT 1", digest, pattern)

    def by_id(self, prefix: str) -> list[ImageRow]:
        """Images whose id starts with ``prefix`` ("sha256:ab12...")."""
        with self._open(write=False) as db:
            rows = db.execute(
                "SELECT id FROM images WHERE id >= ? AND id < ?", (prefix, prefix + "g")
            ).fetchall()
            return [row for (name,) in rows if (row := self._row(db, name)) is not None]

    def images(self) -> list[ImageRow]:
        """Every image, the newest first."""
        with self._open(write=False) as db:
            names = db.execute("SELECT id FROM images ORDER BY added DESC, id").fetchall()
            return [row for (name,) in names if (row := self._row(db, name)) is not None]

    def _one(self, query: str, *values: str) -> ImageRow | None:
        with self._open(write=False) as db:
            found = db.execute(query, values).fetchone()
            return self._row(db, found[0]) if found else None

    @staticmethod
    def _row(db: sqlite3.Connection, name: str) -> ImageRow | None:
        row = db.execute("SELECT layers, digests, size, added FROM images WHERE id = ?", (name,)).fetchone()
        if row is None:
            return None
        refs = db.execute("SELECT name FROM refs WHERE image = ? ORDER BY name", (name,)).fetchall()
        return ImageRow(
            name,
            tuple(json.loads(row[0])),
            tuple(json.loads(row[1])),
            row[2],
            row[3],
            tuple(r for (r,) in refs),
        )

    def put_image(
        self, name: str, layers: tuple[str, ...], refs: Iterable[str], digest: str = ""
    ) -> ImageRow | None:
        """Record an image and let ``refs`` point to it; known layers only. Repeating it is harmless. Gives
        its row."""
        now = time.time()
        with self._open(write=True) as db:
            marks = ",".join("?" * len(layers))
            size = db.execute(f"SELECT sum(size) FROM layers WHERE diff_id IN ({marks})", layers).fetchone()[
                0
            ]
            old = db.execute("SELECT digests FROM images WHERE id = ?", (name,)).fetchone()
            digests = set(json.loads(old[0]) if old else ()) | ({digest} if digest else set())
            db.execute(
                "INSERT INTO images VALUES (?,?,?,?,?)"
                " ON CONFLICT(id) DO UPDATE SET digests = excluded.digests",
                (name, json.dumps(layers), json.dumps(sorted(digests)), size or 0, now),
            )
            for ref in refs:
                db.execute("INSERT OR REPLACE INTO refs VALUES (?,?,?,?)", (ref, name, digest, now))
            return self._row(db, name)

    def drop_references(self, names: Iterable[str]) -> None:
        """Forget names; images stay."""
        with self._open(write=True) as db:
            db.executemany("DELETE FROM refs WHERE name = ?", [(name,) for name in names])

    def drop_image(self, name: str) -> None:
        """Forget an image and every name of it."""
        with self._open(write=True) as db:
            db.execute("DELETE FROM refs WHERE image = ?", (name,))
            db.execute("DELETE FROM images WHERE id = ?", (name,))

    def put_layer(self, diff_id: str, size: int) -> None:
        """Record an unpacked layer of ``size`` bytes."""
        with self._open(write=True) as db:
            db.execute("INSERT OR IGNORE INTO layers VALUES (?,?,?)", (diff_id, size, time.time()))

    def layers(self) -> dict[str, int]:
        """Every recorded layer and its size."""
        with self._open(write=False) as db:
            return dict(db.execute("SELECT diff_id, size FROM layers").fetchall())

    def drop_layer(self, diff_id: str) -> None:
        """Forget a layer and the steps and compressed forms that lead to it."""
        with self._open(write=True) as db:
            db.execute("DELETE FROM layers WHERE diff_id = ?", (diff_id,))
            db.execute("DELETE FROM steps WHERE diff_id = ?", (diff_id,))
            db.execute("DELETE FROM compressed WHERE diff_id = ?", (diff_id,))

    def compressed_of(self, diff_id: str) -> list[tuple[str, str, int]]:
        """The known compressed forms of a layer as (digest, media type, size)."""
        with self._open(write=False) as db:
            return db.execute(
                "SELECT digest, media_type, size FROM compressed WHERE diff_id = ? ORDER BY digest",
                (diff_id,),
            ).fetchall()

    def named_at(self, name: str) -> float:
        """When ``name``, in full spelling, was last given to an image or looked up in its registry; 0 for
        never."""
        with self._open(write=False) as db:
            row = db.execute("SELECT at FROM refs WHERE name = ?", (name,)).fetchone()
        return float(row[0]) if row else 0.0

    def put_compressed(self, digest: str, diff_id: str, media_type: str, size: int) -> None:
        """Remember that the blob ``digest`` is the compressed form of ``diff_id``."""
        with self._open(write=True) as db:
            db.execute(
                "INSERT OR REPLACE INTO compressed VALUES (?,?,?,?)", (digest, diff_id, media_type, size)
            )

    def step(self, key: str) -> tuple[str, float] | None:
        """The layer that the build step ``key`` made, and when (seconds since the epoch)."""
        with self._open(write=False) as db:
            row = db.execute("SELECT diff_id, made FROM steps WHERE key = ?", (key,)).fetchone()
        return (row[0], row[1]) if row else None

    def put_step(self, key: str, diff_id: str, text: str, now: float) -> None:
        """Remember which layer a build step made; ``text`` is for people."""
        with self._open(write=True) as db:
            db.execute("INSERT OR REPLACE INTO steps VALUES (?,?,?,?,?)", (key, diff_id, text, now, now))

    def touch_steps(self, keys: Iterable[str]) -> None:
        """Note that these steps were used now: the least recently used go first when space is short."""
        with self._open(write=True) as db:
            db.executemany("UPDATE steps SET used = ? WHERE key = ?", [(time.time(), key) for key in keys])

    def steps(self) -> list[tuple[str, str, str, float]]:
        """Every step as (key, diff_id, text, used), the least recently used first."""
        with self._open(write=False) as db:
            return db.execute("SELECT key, diff_id, text, used FROM steps ORDER BY used").fetchall()

    def drop_steps(self, keys: Iterable[str]) -> None:
        """Forget steps of builds; their layers go with the next collection unless an image has them."""
        with self._open(write=True) as db:
            db.executemany("DELETE FROM steps WHERE key = ?", [(key,) for key in keys])
