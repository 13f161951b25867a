"""A full-text index in memory (SQLite FTS5): rows of short texts, found by words and beginnings of words."""

from __future__ import annotations

import sqlite3
import threading
import weakref
from collections.abc import Iterable, Sequence

MAX_WORDS = 16  # of one query; more make it slow and no better


class FullText:
    """An index that is filled once and then asked, from any thread; it ends with its last user, or by `close`."""

    def __init__(self, columns: Sequence[str], weights: Sequence[float], rows: Iterable[Sequence[str]]) -> None:
        """Index `rows`, each with one text a column; a hit in a column counts by its weight."""
        self._db = sqlite3.connect(":memory:", check_same_thread=False, isolation_level=None)
        self._closing = weakref.finalize(self, self._db.close)
        self._lock = threading.Lock()
        named = ", ".join(columns)
        options = "tokenize = 'unicode61 remove_diacritics 2', prefix = '1 2 3'"
        self._db.execute(f"CREATE VIRTUAL TABLE texts USING fts5({named}, {options})")
        marks = ", ".join("?" * (len(columns) + 1))
        numbered = ((number, *row) for number, row in enumerate(rows))
        self._db.execute("BEGIN")
        self._db.executemany(f"INSERT INTO texts (rowid, {named}) VALUES ({marks})", numbered)
        self._db.execute("COMMIT")
        self._rank = f"bm25(texts, {', '.join(map(str, weights))})"

    def search(self, query: str) -> list[int]:
        """Numbers of the rows in which every word of the query begins a word, best match first.

        The query is data: it has no operators, and nothing in it is an error. Words that hold no letter or digit are
        passed over.
        """
        words = list(dict.fromkeys(map(quoted, query.split())))[:MAX_WORDS]
        if not words:
            return []
        # Side by side, not joined by AND: a word without a letter is then passed over instead of matching nothing.
        sql = f"SELECT rowid FROM texts WHERE texts MATCH ? ORDER BY {self._rank}, rowid"
        with self._lock:
            return [row[0] for row in self._db.execute(sql, (" ".join(words),))]

    def close(self) -> None:
        self._closing()


def quoted(word: str) -> str:
    """A word as an FTS5 string that matches what begins with it."""
    plain = word.replace("\0", " ").encode("utf-8", "replace").decode().replace('"', '""')
    return f'"{plain}"*'
