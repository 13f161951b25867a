"""A full-text index in memory (SQLite FTS5): rows of short texts, found by words and beginnings of words."""

from __future__ import annotations

import sqlite3
import threading
import weakref
from collections.abc import Iterable, Sequence


class FullText:
    """An index that is filled once and then asked, from any thread; it ends with its last user, or by `close`.

    Words count by their stem (Porter's, for English): `delivers` and `delivered` are one word.
    """

    def __init__(self, columns: Sequence[str], weights: Sequence[float], rows: Iterable[Sequence[str]]) -> None:
        """Index `rows`, each with one text a column; a hit in a column counts by its weight."""
        self._db = sqlite3.connect(":memory:", check_same_thread=False, isolation_level=None)
        self._closing = weakref.finalize(self, self._db.close)
        self._lock = threading.Lock()
        named = ", ".join(columns)
        options = "tokenize = 'porter unicode61 remove_diacritics 2', prefix = '1 2 3'"
        self._db.execute(f"CREATE VIRTUAL TABLE texts USING fts5({named}, {options})")
        marks = ", ".join("?" * (len(columns) + 1))
        numbered = ((number, *row) for number, row in enumerate(rows))
        self._db.execute("BEGIN")
        self._db.executemany(f"INSERT INTO texts (rowid, {named}) VALUES ({marks})", numbered)
        self._db.execute("COMMIT")
        self._rank = f"-bm25(texts, {', '.join(map(str, weights))})"

    def score(self, words: Iterable[str], *, whole: bool = False) -> dict[int, float]:
        """The rows that hold any of the words, by number, with how well they do: more than 0, the more the better.

        A word also stands for what begins with it, unless `whole`; a hit of the whole word counts more. Words are
        data: they have no operators, and nothing in them is an error. One that holds no letter or digit finds nothing.
        """
        texts = list(map(quoted, words))
        terms = texts if whole else [term for text in texts for term in (text, f"{text}*")]
        if not terms:
            return {}
        sql = f"SELECT rowid, {self._rank} FROM texts WHERE texts MATCH ?"
        with self._lock:
            return dict(self._db.execute(sql, (" OR ".join(terms),)).fetchall())

    def close(self) -> None:
        self._closing()


def quoted(word: str) -> str:
    """A word as an FTS5 string."""
    plain = word.replace("\0", " ").encode("utf-8", "replace").decode().replace('"', '""')
    return f'"{plain}"'
