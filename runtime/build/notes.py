"""What builds remember besides layers: digests of files, what each step was made from, answers of URLs.

Comes in:  the path of a database.
Goes out:  rows. Losing them costs time and reasons, never a wrong result; so a damaged database is made anew
           and a full disk is not an error.
Not here:  layers and their keys (image.index).
"""

from __future__ import annotations

import contextlib
import sqlite3
import threading
import time
from collections.abc import Sequence
from pathlib import Path

_SCHEMA = """
CREATE TABLE IF NOT EXISTS directories (path TEXT PRIMARY KEY, data BLOB NOT NULL, used REAL NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS notes (
  place TEXT, stage TEXT, number INTEGER, text TEXT NOT NULL, key TEXT NOT NULL, data TEXT NOT NULL,
  files BLOB NOT NULL, used REAL NOT NULL, PRIMARY KEY (place, stage, number)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS answers (url TEXT PRIMARY KEY, data TEXT NOT NULL, used REAL NOT NULL) WITHOUT ROWID;
PRAGMA user_version = 1;
"""  # noqa: E501 - one table, one line
_KEPT = 60 * 86400.0
_TABLES = ("directories", "notes", "answers")

Row = tuple[int, str, str, str]  # number, text, key, data


class Notes:
    """One database, opened once per build and shared by its threads; what is put is written at the end."""

    def __init__(self, path: Path) -> None:
        self._path, self._lock = path, threading.Lock()
        self._db = self._open()
        self._puts: dict[tuple[str, tuple[object, ...]], tuple[object, ...]] = {}

    def _open(self) -> sqlite3.Connection:
        try:
            return self._connect()
        except sqlite3.DatabaseError:
            self._path.unlink(missing_ok=True)
            return self._connect()

    def _connect(self) -> sqlite3.Connection:
        db = sqlite3.connect(self._path, timeout=30, isolation_level=None, check_same_thread=False)
        try:
            if db.execute("PRAGMA user_version").fetchone()[0] != 1:
                db.execute("PRAGMA journal_mode = WAL")
                db.executescript(_SCHEMA)
            db.execute("PRAGMA synchronous = OFF")
        except BaseException:
            db.close()
            raise
        return db

    def __enter__(self) -> Notes:
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(sqlite3.Error):  # a full disk or a busy writer: it will be found out again
            self._write()
        self._db.close()

    def _write(self) -> None:
        if not self._puts:
            return
        self._db.execute("BEGIN IMMEDIATE")
        for (table, _), values in self._puts.items():
            marks = ",".join("?" * (len(values) + 1))
            self._db.execute(f"INSERT OR REPLACE INTO {table} VALUES ({marks})", (*values, time.time()))
        for table in _TABLES:
            self._db.execute(f"DELETE FROM {table} WHERE used < ?", (time.time() - _KEPT,))
        self._db.execute("COMMIT")

    def _get(self, query: str, *values: object) -> list[tuple[object, ...]]:
        with self._lock, contextlib.suppress(sqlite3.Error):
            return self._db.execute(query, values).fetchall()
        return []

    def _put(self, table: str, key: tuple[object, ...], *values: object) -> None:
        with self._lock:
            self._puts[table, key] = (*key, *values)

    def directory(self, path: str) -> bytes:
        """What is known of the files in a directory, b"" for nothing."""
        rows = self._get("SELECT data FROM directories WHERE path = ?", path)
        return rows[0][0] if rows else b""  # type: ignore[return-value]

    def put_directory(self, path: str, data: bytes) -> None:
        """Remember it."""
        self._put("directories", (path,), data)

    def steps(self, place: str, stage: str) -> Sequence[Row]:
        """What the last build of a stage noted, by number."""
        query = "SELECT number, text, key, data FROM notes WHERE place = ? AND stage = ? ORDER BY number"
        return self._get(query, place, stage)  # type: ignore[return-value]

    def files(self, place: str, stage: str, number: int) -> bytes:
        """The files that a step of the last build was made from."""
        query = "SELECT files FROM notes WHERE place = ? AND stage = ? AND number = ?"
        rows = self._get(query, place, stage, number)
        return rows[0][0] if rows else b""  # type: ignore[return-value]

    def put_step(self, where: tuple[str, str, int], text: str, key: str, data: str, files: bytes) -> None:
        """Note what a step was made from; where: place, stage, number."""
        self._put("notes", where, text, key, data, files)

    def answer(self, url: str) -> str:
        """What a server said of a URL the last time, "" for nothing."""
        rows = self._get("SELECT data FROM answers WHERE url = ?", url)
        return rows[0][0] if rows else ""  # type: ignore[return-value]

    def put_answer(self, url: str, data: str) -> None:
        """Remember it."""
        self._put("answers", (url,), data)
