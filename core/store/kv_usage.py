"""How much each tenant keeps in the KV store, counted with every write, so that nobody has to look at the rows."""

from __future__ import annotations

from sqlite_utils import Database

ROW_BYTES = 64  # that a row takes besides its texts, so that many empty ones count as well

_CHARGE = "INSERT INTO kv_usage VALUES (?, ?) ON CONFLICT DO UPDATE SET bytes = bytes + excluded.bytes RETURNING bytes"


def used(db: Database, tenant: str) -> int:
    """The bytes that a tenant keeps: texts, and a little for each row."""
    row = db.conn.execute("SELECT bytes FROM kv_usage WHERE tenant = ?", (tenant,)).fetchone()
    return row[0] if row is not None else 0


def charge(db: Database, namespace: str, grown: int) -> int:
    """Count what the tenant of a namespace keeps more (or less); returns what it keeps then."""
    row = db.conn.execute(_CHARGE, (tenant_of(namespace), grown)).fetchone()
    return int(row[0])


def tenant_of(namespace: str) -> str:
    return namespace.partition(":")[0]


def bytes_of(*texts: str) -> int:
    """What a row with these texts counts."""
    return ROW_BYTES + sum(len(text) if text.isascii() else len(text.encode()) for text in texts)
