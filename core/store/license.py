"""The license file as it was last read, for a start at which it cannot be read."""

from __future__ import annotations

from sqlite_utils import Database


def kept(db: Database) -> bytes | None:
    """What was in the file; None when there was none."""
    row = db.conn.execute("SELECT document FROM license").fetchone()
    return None if row is None else bytes(row[0])


def keep(db: Database, document: bytes | None) -> None:
    db.conn.execute("DELETE FROM license")
    if document is not None:
        db.conn.execute("INSERT INTO license VALUES (?)", (document,))
